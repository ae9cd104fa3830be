"""Log-ins that go on."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, DESCENDING

from chalicelib.adapters.mongo.database import Database, insert, read, read_all, translated
from chalicelib.records import Session


class MongoSessions:
    """Implements `ports.SessionStore`. The server removes what has expired, a while later."""

    def __init__(self, database: Database) -> None:
        self._sessions = database.collection("sessions")

    def create_indexes(self) -> None:
        with translated():
            self._sessions.create_index([("sha256", ASCENDING)], unique=True)
            self._sessions.create_index([("tenant", ASCENDING), ("began_at", DESCENDING)])
            self._sessions.create_index([("expires_at", ASCENDING)], expireAfterSeconds=0)

    def add_session(self, session: Session) -> None:
        with translated():
            insert(self._sessions, session)

    def session(self, sha256: str) -> Session | None:
        with translated():
            return read(self._sessions.find_one({"sha256": sha256}), Session)

    def sessions(self, tenant: str, limit: int) -> Sequence[Session]:
        with translated():
            newest_first = self._sessions.find({"tenant": tenant}).sort("began_at", DESCENDING)
            return read_all(newest_first.limit(limit), Session)

    def use_session(self, session: Session) -> None:
        used = {"last_used_at": session.last_used_at, "expires_at": session.expires_at}
        with translated():
            self._sessions.update_one({"_id": session.id, "tenant": session.tenant}, {"$max": used})

    def end_session(self, tenant: str, session_id: str) -> None:
        with translated():
            self._sessions.delete_one({"_id": session_id, "tenant": tenant})

    def end_sessions(self, tenant: str) -> None:
        with translated():
            self._sessions.delete_many({"tenant": tenant})
