"""API keys and model tokens.

Each document also says by the server's clock when it last changed, so that what is new can be asked for
without going through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from chalicelib.adapters.mongo.database import (
    CHANGED,
    Database,
    Document,
    changed_page,
    document,
    read,
    read_all,
    read_page,
    translated,
)
from chalicelib.ports import ChangePoint
from chalicelib.records import Token

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SUSPENDED: Final[Document] = {"suspended": True}
_CLOCK: Final = "server"


class MongoTokens:
    """Implements `ports.TokenStore`."""

    def __init__(self, database: Database) -> None:
        self._tokens = database.collection("tokens")
        self._clocks = database.collection("clocks")

    def create_indexes(self) -> None:
        with translated():
            self._tokens.create_index([("sha256", ASCENDING)], unique=True)
            self._tokens.create_index([("tenant", ASCENDING), ("model_id", ASCENDING)])
            self._tokens.create_index(
                [("tenant", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]
            )
            self._tokens.create_index([("changed_at", ASCENDING), ("sha256", ASCENDING)])
            self._tokens.create_index([("revoked_at", ASCENDING)])
            self._tokens.create_index([("expires_at", ASCENDING)])
            self._tokens.create_index(
                [("tenant", ASCENDING)], partialFilterExpression=_SUSPENDED, name="suspended"
            )

    def add_token(self, token: Token) -> bool:
        fields = document(token)
        found = {name: fields.pop(name) for name in ("_id", "sha256")}
        with translated():
            try:
                added = self._tokens.update_one(found, {"$setOnInsert": fields, **CHANGED}, upsert=True)
            except DuplicateKeyError:  # under another id, or two at once
                return False
        return added.upserted_id is not None

    def token(self, sha256: str) -> Token | None:
        with translated():
            return read(self._tokens.find_one({"sha256": sha256}), Token)

    def own_token(self, tenant: str, token_id: str) -> Token | None:
        with translated():
            return read(self._tokens.find_one({"_id": token_id, "tenant": tenant}), Token)

    def tokens(self, tenant: str, *, model_id: str | None, after: str, limit: int) -> Sequence[Token]:
        query: Document = {"tenant": tenant} | ({"model_id": model_id} if model_id else {})
        with translated():
            last = (
                self._tokens.find_one({"_id": after, "tenant": tenant}, {"created_at": 1}) if after else None
            )
            if after and last is None:
                return ()
            if last is not None:
                older = {"created_at": {"$lt": last["created_at"]}}
                query["$or"] = [older, {"created_at": last["created_at"], "_id": {"$lt": after}}]
            newest_first = [("created_at", DESCENDING), ("_id", DESCENDING)]
            return read_page(self._tokens.find(query).sort(newest_first), Token, limit)

    def count_tokens(self, tenant: str, model_id: str | None, *, at: datetime) -> int:
        unexpired = [{"expires_at": None}, {"expires_at": {"$gt": at}}]
        query = {"tenant": tenant, "model_id": model_id, "revoked_at": None, "$or": unexpired}
        with translated():
            return self._tokens.count_documents(query)

    def change_token(self, seen: Token, changed: Token) -> bool:
        fields = document(changed)
        for unchanged in ("_id", "last_used_at"):
            del fields[unchanged]
        query = {"_id": seen.id, "tenant": seen.tenant, "revision": seen.revision}
        with translated():
            return self._tokens.update_one(query, {"$set": fields, **CHANGED}).modified_count == 1

    def mark_used(self, used: Mapping[str, datetime]) -> None:
        """Acknowledged by one server alone: a minute that is lost is no loss."""
        writes = [UpdateOne({"_id": one}, {"$max": {"last_used_at": at}}) for one, at in used.items()]
        if writes:
            with translated():
                self._tokens.with_options(write_concern=WriteConcern(w=1)).bulk_write(writes, ordered=False)

    def revoke_model_tokens(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[Token]:
        query = {"tenant": tenant, "model_id": model_id}
        revoked: Document = {"$set": {"revoked_at": at}, "$inc": {"revision": 1}, **CHANGED}
        with translated():
            self._tokens.update_many({**query, "revoked_at": None}, revoked)
            return read_all(self._tokens.find(query), Token)

    def mark_suspended(self, tenant: str, suspended: bool) -> None:
        marked: Document = {"$set": {"suspended": suspended}, "$inc": {"revision": 1}, **CHANGED}
        with translated():
            self._tokens.update_many({"tenant": tenant, "suspended": not suspended}, marked)

    def suspended_tenants(self) -> frozenset[str]:
        with translated():
            found = self._tokens.aggregate([{"$match": _SUSPENDED}, {"$group": {"_id": "$tenant"}}])
            return frozenset(one["_id"] for one in found)

    def tokens_page(self, after: str, limit: int) -> Sequence[Token]:
        with translated():
            cursor = self._tokens.find({"sha256": {"$gt": after}}).sort("sha256", ASCENDING)
            return read_page(cursor, Token, limit)

    def changed_tokens(self, after: ChangePoint, limit: int) -> tuple[Sequence[Token], ChangePoint]:
        with translated():
            page, end = changed_page(self._tokens, after, limit, key="sha256")
        return read_all(page, Token), end

    def ended_tokens(self, before: datetime, limit: int) -> Sequence[Token]:
        then = {"$gt": _LONG_AGO, "$lt": before}
        with translated():
            found = list(self._tokens.find({"revoked_at": then}).limit(limit))
            if len(found) < limit:
                found += self._tokens.find({"expires_at": then}).limit(limit - len(found))
        return tuple({token.id: token for token in read_all(found, Token)}.values())

    def remove_token(self, token: Token) -> None:
        with translated():
            self._tokens.delete_one({"_id": token.id, "revision": token.revision})

    def clock(self) -> datetime:
        """What `changed_at` is written by: not every server says the time when it is asked for it."""
        with translated():
            found: Any = self._clocks.find_one_and_update(
                {"_id": _CLOCK}, CHANGED, upsert=True, return_document=ReturnDocument.AFTER
            )
        now: datetime = found["changed_at"]
        return now
