"""Requests under an Idempotency-Key."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from pymongo import ASCENDING
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError

from chalicelib.adapters.mongo.database import TIMES, Database, insert, required, translated
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.patience import once_more
from chalicelib.records import Answered, AttemptRecord


class MongoAttempts:
    """Implements `ports.AttemptStore`."""

    def __init__(self, database: Database) -> None:
        self._attempts = database.collection("attempts")

    def create_indexes(self) -> None:
        with translated():
            kept = limits.IDEMPOTENCY_SECONDS
            self._attempts.create_index([("began_at", ASCENDING)], expireAfterSeconds=kept)

    def begin_attempt(self, record: AttemptRecord) -> AttemptRecord | None:
        with translated():
            try:
                if insert(self._attempts, record):
                    return None
                return required(self._attempts.find_one({"_id": record.id}), AttemptRecord)
            except ServerSelectionTimeoutError:
                raise
            except PyMongoError:  # it may have been written: then the next try is not to wait for it
                with suppress(DependencyFailed):
                    self.forget_attempt(record)
                raise

    def take_attempt(self, seen: AttemptRecord, record: AttemptRecord) -> bool:
        with translated():
            query = {"_id": seen.id, "began_at": seen.began_at, "repeatable": False, "answered": None}
            change = {"$set": {"began_at": record.began_at}}
            return self._attempts.update_one(query, change).modified_count == 1

    def finish_attempt(self, record: AttemptRecord, answered: Answered | None) -> None:
        kept = msgspec.to_builtins(answered, builtin_types=TIMES)
        with translated():
            change = {"$set": {"answered": kept, "repeatable": answered is None}}
            self._attempts.update_one({"_id": record.id, "request": record.request}, change)

    def forget_attempt(self, record: AttemptRecord) -> None:
        with once_more(), translated():
            mine = {"_id": record.id, "began_at": record.began_at, "repeatable": False, "answered": None}
            self._attempts.delete_one(mine)
