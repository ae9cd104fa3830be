"""The truth in MongoDB."""

from __future__ import annotations

from chalicelib.adapters.mongo.accounts import MongoAccounts
from chalicelib.adapters.mongo.database import Database
from chalicelib.adapters.mongo.models import MongoModels
from chalicelib.adapters.mongo.versions import MongoVersions

_PARTS = (MongoAccounts, MongoModels, MongoVersions)


class MongoStore(MongoAccounts, MongoModels, MongoVersions):
    """Implements `ports.Store`: each part has collections of its own."""

    def __init__(self, url: str, *, database: str) -> None:
        opened = Database(url, database)
        for part in _PARTS:
            part.__init__(self, opened)

    def create_indexes(self) -> None:
        """Idempotent; run at every start of the control plane's bootstrap."""
        for part in _PARTS:
            part.create_indexes(self)
