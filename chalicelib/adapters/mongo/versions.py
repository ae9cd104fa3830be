"""Versions of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
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
from chalicelib.contract.messages import Preparation, PrepareResult, VersionFile, encode
from chalicelib.ports import Kept
from chalicelib.records import VERSION_MOVES, VERSIONS_KEPT, Version, VersionState

_FOUND: Final = ("signature", "passport", "certificate")
"""What a version has from the host that prepared it."""
_SUMS: Final[Document] = {
    "_id": None,
    "versions": {"$sum": 1},
    "graphs": {"$sum": "$bytes"},
    "weights": {"$sum": "$weights.bytes"},
}


_PRESENT: Final = [state.value for state in VersionState if state is not VersionState.DELETED]
_LIGHT: Final = (
    "_id",
    "number",
    "model_id",
    "tenant",
    "state",
    "created_at",
    "bytes",
    "sha256",
    "framework",
    "staging_key",
    "object_key",
    "weights",
    "activation_pending",
    "reason",
)
_NEWEST_FIRST: Final[Document] = {"number": DESCENDING}
_LATEST: Final[Document] = {
    "_id": "$model_id",
    "latest": {"$first": {name: f"${name}" for name in _LIGHT}},
}


class MongoVersions:
    """Implements `ports.VersionStore`."""

    def __init__(self, database: Database) -> None:
        self._versions = database.collection("versions")

    def create_indexes(self) -> None:
        with translated():
            self._versions.create_index(
                [("tenant", ASCENDING), ("model_id", ASCENDING), ("number", ASCENDING)], unique=True
            )
            self._versions.create_index(
                [("state", ASCENDING), ("activation_pending", ASCENDING), ("created_at", ASCENDING)]
            )
            self._versions.create_index([("state", ASCENDING), ("_id", ASCENDING)])
            self._versions.create_index([("tenant", ASCENDING), ("state", ASCENDING)])
            self._versions.create_index(
                [("tenant", ASCENDING), ("model_id", ASCENDING), ("state", ASCENDING)]
            )

    def add_version(self, version: Version) -> bool:
        with translated():
            return insert(self._versions, version)

    def last_number(self, tenant: str, model_id: str) -> int:
        query = {"tenant": tenant, "model_id": model_id}
        with translated():
            found = self._versions.find_one(query, sort=[("number", DESCENDING)])
        return int(found["number"]) if found else 0

    def version(self, tenant: str, model_id: str, number: int) -> Version | None:
        query = {"tenant": tenant, "model_id": model_id, "number": number}
        with translated():
            version = read(self._versions.find_one(query), Version)
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

    def kept(self, tenant: str, *, model_id: str | None = None) -> Kept:
        query: Document = {"tenant": tenant, "state": {"$in": [state.value for state in VERSIONS_KEPT]}}
        if model_id is not None:
            query["model_id"] = model_id
        with translated():
            found = list(self._versions.aggregate([{"$match": query}, {"$group": _SUMS}]))
        return Kept(found[0]["versions"], found[0]["graphs"] + found[0]["weights"]) if found else Kept()

    def stored(self, tenant: str, since: datetime, until: datetime) -> Mapping[str, float]:
        query: Document = {"tenant": tenant, "state": {"$in": [state.value for state in VERSIONS_KEPT]}}
        fields = dict.fromkeys(("model_id", "bytes", "weights.bytes", "created_at"), True)
        sums: dict[str, float] = {}
        with translated():
            for one in self._versions.find(query, fields):
                size = one["bytes"] + (one.get("weights") or {}).get("bytes", 0)
                seconds = max(0.0, (until - max(since, one["created_at"])).total_seconds())
                sums[one["model_id"]] = sums.get(one["model_id"], 0.0) + size * seconds
        return sums

    def any_version(self, version_id: str) -> Version | None:
        with translated():
            return read(self._versions.find_one({"_id": version_id}), Version)

    def any_versions(self, version_ids: Sequence[str]) -> Sequence[Version]:
        with translated():
            return read_all(self._versions.find({"_id": {"$in": list(version_ids)}}), Version)

    def latest_versions(self, tenant: str, model_ids: Sequence[str]) -> Sequence[Version]:
        query = {"tenant": tenant, "model_id": {"$in": list(model_ids)}, "state": {"$in": _PRESENT}}
        with translated():
            found = list(
                self._versions.aggregate([{"$match": query}, {"$sort": _NEWEST_FIRST}, {"$group": _LATEST}])
            )
        return read_all((group["latest"] for group in found), Version)

    def versions_in(self, state: VersionState, *, activation_pending: bool, limit: int) -> Sequence[Version]:
        query = {"state": state.value, "activation_pending": activation_pending}
        with translated():
            return read_page(self._versions.find(query).sort("created_at", ASCENDING), Version, limit)

    def set_upload_id(self, version: Version, file: VersionFile, upload_id: str) -> bool:
        field = f"upload_ids.{file}"
        query = {
            "_id": version.id,
            "state": VersionState.UPLOADING.value,
            field: version.upload_ids.get(file),
        }
        with translated():
            return self._versions.update_one(query, {"$set": {field: upload_id}}).modified_count == 1

    def start_preparing(self, version_id: str) -> bool:
        return self._move(version_id, VersionState.UPLOADING, VersionState.PREPARING, {})

    def delete_version(self, version: Version, *, at: datetime) -> bool:
        gone = {"deleted_at": at, "activation_pending": False}
        return self._move(version.id, version.state, VersionState.DELETED, gone)

    def restore_version(self, version: Version) -> bool:
        return self._move(version.id, VersionState.DELETED, VersionState.READY, {"deleted_at": None})

    def delete_versions(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[str]:
        with translated():
            versions = read_all(self._versions.find({"tenant": tenant, "model_id": model_id}), Version)
        return tuple(
            version.id
            for version in versions
            if version.state is VersionState.DELETED or self.delete_version(version, at=at)
        )

    def deleted_page(self, after: str, limit: int) -> Sequence[Version]:
        query = {"state": VersionState.DELETED.value, "_id": {"$gt": after}}
        with translated():
            return read_page(self._versions.find(query).sort("_id", ASCENDING), Version, limit)

    def remove_version(self, version: Version) -> None:
        with translated():
            self._versions.delete_one({"_id": version.id, "state": VersionState.DELETED.value})

    def _versions_behind(self, tenant: str, model_id: str, after: int, limit: int) -> Sequence[Version]:
        query = {"tenant": tenant, "model_id": model_id, "number": {"$gt": after}}
        with translated():
            return read_page(self._versions.find(query).sort("number", ASCENDING), Version, limit)

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
        with translated():
            self._versions.update_one({"_id": version_id}, {"$set": {"activation_pending": False}})

    def _move(self, version_id: str, old: VersionState, new: VersionState, fields: Document) -> bool:
        if (old, new) not in VERSION_MOVES:
            raise ValueError(f"a version cannot go from {old} to {new}")
        query = {"_id": version_id, "state": old.value}
        change = {"$set": {"state": new.value, **fields}}
        with translated():
            return self._versions.update_one(query, change).modified_count == 1


def _text(preparation: Preparation | None) -> str | None:
    return encode(preparation).decode() if preparation is not None else None
