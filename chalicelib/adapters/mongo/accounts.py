"""Accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from chalicelib.adapters.mongo.database import (
    Database,
    Document,
    document,
    insert,
    read,
    read_all,
    read_page,
    required,
    translated,
)
from chalicelib.records import Account

_HAS_EMAIL: Final[Document] = {"email": {"$gt": ""}}
_IS_FOUNDER: Final[Document] = {"founder": True}
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class MongoAccounts:
    """Implements `ports.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._accounts = database.collection("accounts")

    def create_indexes(self) -> None:
        with translated():
            for name, which in (("email", _HAS_EMAIL), ("founder", _IS_FOUNDER)):
                self._accounts.create_index(
                    [(name, ASCENDING)], unique=True, partialFilterExpression=which, name=f"{name}_once"
                )
            self._accounts.create_index([("suspended_at", ASCENDING)])

    def ensure_account(self, account: Account) -> Account:
        with translated():
            insert(self._accounts, account)
            return required(self._accounts.find_one({"_id": account.id}), Account)

    def add_account(self, account: Account) -> bool:
        with translated():
            return insert(self._accounts, account)

    def account(self, account_id: str) -> Account | None:
        with translated():
            return read(self._accounts.find_one({"_id": account_id}), Account)

    def account_of(self, email: str) -> Account | None:
        if not email:
            return None
        with translated():  # the index's own condition too: DocumentDB does not see that it follows
            return read(self._accounts.find_one({"$and": [_HAS_EMAIL, {"email": email}]}), Account)

    def has_accounts(self) -> bool:
        with translated():
            return self._accounts.find_one({}, {"_id": 1}) is not None

    def accounts_page(self, after: str, limit: int) -> Sequence[Account]:
        with translated():
            cursor = self._accounts.find({"_id": {"$gt": after}}).sort("_id", ASCENDING)
            return read_page(cursor, Account, limit)

    def suspended_accounts(self) -> Sequence[Account]:
        with translated():
            return read_all(self._accounts.find({"suspended_at": {"$gt": _LONG_AGO}}), Account)

    def change_account(self, seen: Account, changed: Account) -> bool:
        fields = document(changed)
        del fields["_id"]
        query = {"_id": seen.id, "revision": seen.revision}
        with translated():
            try:
                return self._accounts.update_one(query, {"$set": fields}).modified_count == 1
            except DuplicateKeyError:
                return False
