"""Accounts and their credentials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING

from chalicelib.adapters.mongo.database import Database, insert, read, read_all, required, translated
from chalicelib.records import Account, Token


class MongoAccounts:
    """Implements `ports.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._accounts = database.collection("accounts")
        self._tokens = database.collection("tokens")

    def create_indexes(self) -> None:
        with translated():
            self._accounts.create_index([("name", ASCENDING)], unique=True)
            self._tokens.create_index([("sha256", ASCENDING)], unique=True)
            self._tokens.create_index([("tenant", ASCENDING), ("model_id", ASCENDING)])

    def ensure_account(self, account: Account) -> Account:
        with translated():
            insert(self._accounts, account)
            return required(self._accounts.find_one({"name": account.name}), Account)

    def add_token(self, token: Token) -> bool:
        with translated():
            return insert(self._tokens, token)

    def token(self, sha256: str) -> Token | None:
        with translated():
            return read(self._tokens.find_one({"sha256": sha256}), Token)

    def count_tokens(self, tenant: str, model_id: str) -> int:
        query = {"tenant": tenant, "model_id": model_id}
        with translated():
            return sum(1 for found in self._tokens.find(query) if not found.get("revoked_at"))

    def revoke_model_tokens(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[Token]:
        query = {"tenant": tenant, "model_id": model_id}
        with translated():
            for token in read_all(self._tokens.find(query), Token):
                valid = {"sha256": token.sha256, "revision": token.revision, "revoked_at": None}
                self._tokens.update_one(valid, {"$set": {"revoked_at": at}, "$inc": {"revision": 1}})
            return read_all(self._tokens.find(query), Token)

    def tokens_page(self, after: str, limit: int) -> Sequence[Token]:
        with translated():
            cursor = self._tokens.find({"sha256": {"$gt": after}}).sort("sha256", ASCENDING).limit(limit)
            return read_all(cursor, Token)
