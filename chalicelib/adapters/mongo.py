"""The truth in MongoDB.

Writes are acknowledged by a majority and journalled. Changes of state compare
and set with `update_one`, so that repeating one is safe. Every query is covered
whole by an index, and pages go by range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.messages import Preparation, PrepareResult, VersionFile, encode
from chalicelib.records import (
    VERSION_MOVES,
    Account,
    Model,
    Token,
    TrafficChange,
    Version,
    VersionState,
)

Document = dict[str, Any]
Record = TypeVar("Record", bound=msgspec.Struct)
_TIMEOUT_MS: Final = 5_000
_DATETIME: Final = (datetime,)
_FOUND: Final = ("signature", "passport", "certificate")
"""What a version has from the host that prepared it."""
_WITHOUT_HISTORY: Final = {"history": 0}
"""Models are read often, and whole pages of them: their history only when somebody looks at it."""


class MongoStore:
    """Implements `ports.Store`."""

    def __init__(self, url: str, *, database: str) -> None:
        client: MongoClient[Document] = MongoClient(
            url,
            tz_aware=True,
            timeoutMS=_TIMEOUT_MS,
            serverSelectionTimeoutMS=_TIMEOUT_MS,
            connect=False,
            appname="modelrocket",
        )
        self._database = client.get_database(database, write_concern=WriteConcern(w="majority", j=True))
        self._accounts = self._collection("accounts")
        self._tokens = self._collection("tokens")
        self._models = self._collection("models")
        self._tombstones = self._collection("deleted_models")
        self._versions = self._collection("versions")

    def create_indexes(self) -> None:
        """Idempotent; run at every start of the control plane's bootstrap."""
        with _translated():
            self._accounts.create_index([("name", ASCENDING)], unique=True)
            self._tokens.create_index([("sha256", ASCENDING)], unique=True)
            self._tokens.create_index([("tenant", ASCENDING), ("model_id", ASCENDING)])
            self._models.create_index([("tenant", ASCENDING), ("name", ASCENDING)], unique=True)
            self._models.create_index([("tenant", ASCENDING), ("_id", ASCENDING)])
            self._versions.create_index(
                [("tenant", ASCENDING), ("model_id", ASCENDING), ("number", ASCENDING)], unique=True
            )
            self._versions.create_index(
                [("state", ASCENDING), ("activation_pending", ASCENDING), ("created_at", ASCENDING)]
            )
            self._versions.create_index([("state", ASCENDING), ("_id", ASCENDING)])

    # Accounts and tokens.

    def ensure_account(self, account: Account) -> Account:
        with _translated():
            _insert(self._accounts, account)
            return _required(self._accounts.find_one({"name": account.name}), Account)

    def add_token(self, token: Token) -> bool:
        with _translated():
            return _insert(self._tokens, token)

    def token(self, sha256: str) -> Token | None:
        with _translated():
            return _read(self._tokens.find_one({"sha256": sha256}), Token)

    def count_tokens(self, tenant: str, model_id: str) -> int:
        query = {"tenant": tenant, "model_id": model_id}
        with _translated():
            return sum(1 for found in self._tokens.find(query) if not found.get("revoked_at"))

    def revoke_model_tokens(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[Token]:
        query = {"tenant": tenant, "model_id": model_id}
        with _translated():
            for token in _read_all(self._tokens.find(query), Token):
                valid = {"sha256": token.sha256, "revision": token.revision, "revoked_at": None}
                self._tokens.update_one(valid, {"$set": {"revoked_at": at}, "$inc": {"revision": 1}})
            return _read_all(self._tokens.find(query), Token)

    def tokens_page(self, after: str, limit: int) -> Sequence[Token]:
        with _translated():
            cursor = self._tokens.find({"sha256": {"$gt": after}}).sort("sha256", ASCENDING).limit(limit)
            return _read_all(cursor, Token)

    # Models.

    def ensure_model(self, model: Model) -> Model:
        with _translated():
            _insert(self._models, model)
            query = {"tenant": model.tenant, "name": model.name}
            return _required(self._models.find_one(query, _WITHOUT_HISTORY), Model)

    def model(self, tenant: str, model_id: str) -> Model | None:
        with _translated():
            found = self._models.find_one({"tenant": tenant, "_id": model_id}, _WITHOUT_HISTORY)
            return _read(found, Model)

    def models(self, tenant: str, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._models, {"tenant": tenant, "_id": {"$gt": after}}, limit)

    def any_model(self, model_id: str) -> Model | None:
        with _translated():
            live = self._models.find_one({"_id": model_id}, _WITHOUT_HISTORY)
            return _read(live or self._tombstones.find_one({"_id": model_id}), Model)

    def models_page(self, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._models, {"_id": {"$gt": after}}, limit)

    def change_model(self, seen: Model, changed: Model, entry: TrafficChange | None) -> bool:
        fields = _document(changed)
        del fields["_id"]
        change: Document = {"$set": fields}
        if entry is not None:
            entries = [msgspec.to_builtins(entry, builtin_types=_DATETIME)]
            change["$push"] = {"history": {"$each": entries, "$slice": -limits.TRAFFIC_HISTORY_MAX}}
        with _translated():
            query = {"_id": seen.id, "revision": seen.revision}
            return self._models.update_one(query, change).modified_count == 1

    def history(self, tenant: str, model_id: str) -> Sequence[TrafficChange]:
        with _translated():
            found = self._models.find_one({"_id": model_id}, {"tenant": 1, "history": 1}) or {}
        return _read_all(found.get("history", ()) if found.get("tenant") == tenant else (), TrafficChange)

    def delete_model(self, tombstone: Model) -> None:
        with _translated():
            _insert(self._tombstones, tombstone)
            self._models.delete_one({"_id": tombstone.id})

    def tombstones_page(self, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._tombstones, {"_id": {"$gt": after}}, limit)

    def remove_model(self, model_id: str) -> None:
        with _translated():
            tombstone = _read(self._tombstones.find_one({"_id": model_id}), Model)
            if tombstone is not None:
                self._tokens.delete_many({"tenant": tombstone.tenant, "model_id": model_id})
                self._tombstones.delete_one({"_id": model_id})

    # Versions.

    def add_version(self, version: Version) -> bool:
        with _translated():
            return _insert(self._versions, version)

    def last_number(self, tenant: str, model_id: str) -> int:
        query = {"tenant": tenant, "model_id": model_id}
        with _translated():
            found = self._versions.find_one(query, sort=[("number", DESCENDING)])
        return int(found["number"]) if found else 0

    def version(self, tenant: str, model_id: str, number: int) -> Version | None:
        query = {"tenant": tenant, "model_id": model_id, "number": number}
        with _translated():
            version = _read(self._versions.find_one(query), Version)
        return None if version and version.state is VersionState.DELETED else version

    def versions(self, tenant: str, model_id: str, after: int, limit: int) -> Sequence[Version]:
        found: list[Version] = []
        while len(found) < limit:
            page = self._versions_behind(tenant, model_id, after, limit)
            found += [version for version in page if version.state is not VersionState.DELETED]
            if len(page) < limit:
                break
            after = page[-1].number
        return tuple(found[:limit])

    def any_version(self, version_id: str) -> Version | None:
        with _translated():
            return _read(self._versions.find_one({"_id": version_id}), Version)

    def any_versions(self, version_ids: Sequence[str]) -> Sequence[Version]:
        with _translated():
            return _read_all(self._versions.find({"_id": {"$in": list(version_ids)}}), Version)

    def versions_in(self, state: VersionState, *, activation_pending: bool, limit: int) -> Sequence[Version]:
        query = {"state": state.value, "activation_pending": activation_pending}
        with _translated():
            return _read_all(self._versions.find(query).sort("created_at", ASCENDING).limit(limit), Version)

    def set_upload_id(self, version: Version, file: VersionFile, upload_id: str) -> bool:
        field = f"upload_ids.{file}"
        query = {
            "_id": version.id,
            "state": VersionState.UPLOADING.value,
            field: version.upload_ids.get(file),
        }
        with _translated():
            return self._versions.update_one(query, {"$set": {field: upload_id}}).modified_count == 1

    def start_preparing(self, version_id: str) -> bool:
        return self._move(version_id, VersionState.UPLOADING, VersionState.PREPARING, {})

    def delete_version(self, version: Version, *, at: datetime) -> bool:
        gone = {"deleted_at": at, "activation_pending": False}
        return self._move(version.id, version.state, VersionState.DELETED, gone)

    def restore_version(self, version: Version) -> bool:
        return self._move(version.id, VersionState.DELETED, VersionState.READY, {"deleted_at": None})

    def delete_versions(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[str]:
        with _translated():
            versions = _read_all(self._versions.find({"tenant": tenant, "model_id": model_id}), Version)
        return tuple(
            version.id
            for version in versions
            if version.state is VersionState.DELETED or self.delete_version(version, at=at)
        )

    def deleted_page(self, after: str, limit: int) -> Sequence[Version]:
        query = {"state": VersionState.DELETED.value, "_id": {"$gt": after}}
        with _translated():
            return _read_all(self._versions.find(query).sort("_id", ASCENDING).limit(limit), Version)

    def remove_version(self, version: Version) -> None:
        with _translated():
            self._versions.delete_one({"_id": version.id, "state": VersionState.DELETED.value})

    def _versions_behind(self, tenant: str, model_id: str, after: int, limit: int) -> Sequence[Version]:
        query = {"tenant": tenant, "model_id": model_id, "number": {"$gt": after}}
        with _translated():
            return _read_all(self._versions.find(query).sort("number", ASCENDING).limit(limit), Version)

    def finish_ready(self, result: PrepareResult) -> bool:
        found = {name: msgspec.to_builtins(getattr(result, name)) for name in _FOUND}
        found["preparation"] = _text(result.preparation)
        return self._move(result.version_id, VersionState.PREPARING, VersionState.READY, found)

    def finish_failed(
        self, version_id: str, *, state: VersionState, reason: str, preparation: Preparation | None = None
    ) -> bool:
        failed = {
            "reason": reason,
            "activation_pending": False,
            "preparation": _text(preparation),
        }
        return self._move(version_id, state, VersionState.FAILED, failed)

    def activation_done(self, version_id: str) -> None:
        with _translated():
            self._versions.update_one({"_id": version_id}, {"$set": {"activation_pending": False}})

    def _move(self, version_id: str, old: VersionState, new: VersionState, fields: Document) -> bool:
        if (old, new) not in VERSION_MOVES:
            raise ValueError(f"a version cannot go from {old} to {new}")
        query = {"_id": version_id, "state": old.value}
        change = {"$set": {"state": new.value, **fields}}
        with _translated():
            return self._versions.update_one(query, change).modified_count == 1

    def _collection(self, name: str) -> Collection[Document]:
        return self._database.get_collection(name)


def _text(preparation: Preparation | None) -> str | None:
    return encode(preparation).decode() if preparation is not None else None


def _insert(collection: Collection[Document], record: Account | Token | Model | Version) -> bool:
    """False when a unique index has it already."""
    try:
        collection.insert_one(_document(record))
    except DuplicateKeyError:
        return False
    return True


def _models_in(collection: Collection[Document], query: Document, limit: int) -> Sequence[Model]:
    with _translated():
        cursor = collection.find(query, _WITHOUT_HISTORY).sort("_id", ASCENDING).limit(limit)
        return _read_all(cursor, Model)


def _document(record: Account | Token | Model | Version) -> Document:
    document: Document = msgspec.to_builtins(record, builtin_types=_DATETIME)
    document["_id"] = document.pop("id")
    return document


def _read(document: Mapping[str, Any] | None, kind: type[Record]) -> Record | None:
    """A document that does not fit its schema reads as absent: never as something else."""
    if document is None:
        return None
    fields = {("id" if name == "_id" else name): value for name, value in document.items()}
    try:
        return msgspec.convert(fields, kind, builtin_types=_DATETIME)
    except msgspec.ValidationError:
        return None


def _required(document: Mapping[str, Any] | None, kind: type[Record]) -> Record:
    record = _read(document, kind)
    if record is None:
        raise DependencyFailed("The platform's records do not answer as expected. Try again shortly.")
    return record


def _read_all(documents: Any, kind: type[Record]) -> tuple[Record, ...]:
    return tuple(record for document in documents if (record := _read(document, kind)) is not None)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise DependencyFailed("The platform's records do not answer. Try again shortly.") from error
