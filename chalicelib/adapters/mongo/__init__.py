"""The truth in MongoDB."""

from __future__ import annotations

from chalicelib.adapters.mongo.accounts import MongoAccounts
from chalicelib.adapters.mongo.attempts import MongoAttempts
from chalicelib.adapters.mongo.audit import MongoAudit
from chalicelib.adapters.mongo.coordination import MongoCoordination
from chalicelib.adapters.mongo.database import Database
from chalicelib.adapters.mongo.models import MongoModels
from chalicelib.adapters.mongo.sessions import MongoSessions
from chalicelib.adapters.mongo.site import MongoSite
from chalicelib.adapters.mongo.tokens import MongoTokens
from chalicelib.adapters.mongo.usage import MongoUsage
from chalicelib.adapters.mongo.versions import MongoVersions

_PARTS = (
    MongoAccounts,
    MongoSessions,
    MongoTokens,
    MongoModels,
    MongoVersions,
    MongoAttempts,
    MongoSite,
    MongoUsage,
    MongoAudit,
    MongoCoordination,
)


class MongoStore(
    MongoAccounts,
    MongoSessions,
    MongoTokens,
    MongoModels,
    MongoVersions,
    MongoAttempts,
    MongoSite,
    MongoUsage,
    MongoAudit,
    MongoCoordination,
):
    """Implements `ports.Store`: each part has collections of its own."""

    def __init__(self, url: str, *, database: str, silence_ms: int | None = None) -> None:
        """`silence_ms`: as `Database` has it."""
        opened = Database(url, database, silence_ms=silence_ms)
        for part in _PARTS:
            part.__init__(self, opened)

    def create_indexes(self) -> None:
        """Idempotent; run at every start of the control plane's bootstrap."""
        for part in _PARTS:
            part.create_indexes(self)
