"""Audit logs: one collection for all, and beside it what is known of each log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING

from chalicelib.adapters.mongo.database import (
    Database,
    Document,
    insert,
    read,
    read_all,
    read_page,
    translated,
)
from chalicelib.records import AuditChain, AuditEntry

_EXPIRED_AT_ONCE: Final = 1_000


class MongoAudit:
    """Implements `ports.AuditStore`."""

    def __init__(self, database: Database) -> None:
        self._audit = database.collection("audit")
        self._chains = database.collection("audit_chains")

    def create_indexes(self) -> None:
        with translated():
            self._audit.create_index([("tenant", ASCENDING), ("number", ASCENDING)], unique=True)
            self._audit.create_index([("tenant", ASCENDING), ("action", ASCENDING), ("number", ASCENDING)])
            self._audit.create_index([("tenant", ASCENDING), ("object_id", ASCENDING), ("number", ASCENDING)])
            self._audit.create_index([("at", ASCENDING)])

    def audit_tail(self, tenant: str) -> tuple[int, str]:
        chain = self.audit_chain(tenant)  # first: what is written meanwhile only makes the last one greater
        with translated():
            found = self._audit.find_one({"tenant": tenant}, sort=[("number", DESCENDING)])
        if found is not None:
            return max(int(found["number"]), chain.last), str(found["hash"])
        return max(chain.anchor, chain.last), chain.anchor_hash

    def add_audit(self, entry: AuditEntry) -> bool:
        with translated():
            if not insert(self._audit, entry):
                return False
            self._chains.update_one({"_id": entry.tenant}, {"$max": {"last": entry.number}}, upsert=True)
            return True

    def has_audit(self, entry_id: str) -> bool:
        with translated():
            return self._audit.find_one({"_id": entry_id}) is not None

    def audit_page(
        self, tenant: str, *, before: int | None, action: str, object_id: str, limit: int
    ) -> Sequence[AuditEntry]:
        query: Document = {"tenant": tenant}
        if before is not None:
            query["number"] = {"$lt": before}
        query |= {name: value for name, value in (("action", action), ("object_id", object_id)) if value}
        with translated():
            return read_page(self._audit.find(query).sort("number", DESCENDING), AuditEntry, limit)

    def audit_range(self, tenant: str, after: int, limit: int) -> Sequence[AuditEntry]:
        query = {"tenant": tenant, "number": {"$gt": after}}
        with translated():
            return read_all(self._audit.find(query).sort("number", ASCENDING).limit(limit), AuditEntry)

    def audit_chain(self, tenant: str) -> AuditChain:
        with translated():
            return read(self._chains.find_one({"_id": tenant}), AuditChain) or AuditChain(id=tenant)

    def expire_audit(self, before: datetime) -> int:
        with translated():
            old = self._audit.find({"at": {"$lt": before}}, {"tenant": 1}).limit(_EXPIRED_AT_ONCE)
            return sum(self._expire(tenant, before) for tenant in {str(one["tenant"]) for one in old})

    def _expire(self, tenant: str, before: datetime) -> int:
        """Up to the first that is to stay. The anchor first: what dies in between is made up for."""
        own = {"tenant": tenant}
        first = self._audit.find_one({**own, "at": {"$gte": before}}, sort=[("number", ASCENDING)])
        gone = {**own, "number": {"$lt": first["number"]}} if first else own
        last = self._audit.find_one(gone, sort=[("number", DESCENDING)])
        if last is None:
            return 0
        change = {"anchor": last["number"], "anchor_hash": last["hash"]}
        self._chains.update_one({"_id": tenant}, {"$max": {"last": last["number"]}}, upsert=True)
        older = {"_id": tenant, "$or": [{"anchor": {"$lt": last["number"]}}, {"anchor": None}]}
        self._chains.update_one(older, {"$set": change})
        return self._audit.delete_many({**own, "number": {"$lte": last["number"]}}).deleted_count
