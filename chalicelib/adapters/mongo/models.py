"""Models and their tombstones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from chalicelib.adapters.mongo.database import (
    CHANGED,
    TIMES,
    Database,
    Document,
    changed_page,
    document,
    read,
    read_all,
    read_page,
    required,
    translated,
)
from chalicelib.contract import limits
from chalicelib.ports import ChangePoint
from chalicelib.records import Model, TrafficChange

_WITHOUT_HISTORY: Final = {"history": 0}
"""Models are read often, and whole pages of them: their history only when somebody looks at it."""


class MongoModels:
    """Implements `ports.ModelStore`."""

    def __init__(self, database: Database) -> None:
        self._models = database.collection("models")
        self._tombstones = database.collection("deleted_models")
        self._tokens = database.collection("tokens")

    def create_indexes(self) -> None:
        with translated():
            self._models.create_index([("tenant", ASCENDING), ("name", ASCENDING)], unique=True)
            self._models.create_index([("tenant", ASCENDING), ("_id", ASCENDING)])
            self._models.create_index([("tenant", ASCENDING), ("pinned", ASCENDING)])
            for collection in (self._models, self._tombstones):
                collection.create_index([("changed_at", ASCENDING), ("_id", ASCENDING)])

    def ensure_model(self, model: Model) -> Model:
        with translated():
            _add(self._models, model)
            return required(self._named(model.tenant, model.name), Model)

    def model(self, tenant: str, model_id: str) -> Model | None:
        with translated():
            found = self._models.find_one({"tenant": tenant, "_id": model_id}, _WITHOUT_HISTORY)
            return read(found, Model)

    def model_named(self, tenant: str, name: str) -> Model | None:
        with translated():
            return read(self._named(tenant, name), Model)

    def count_models(self, tenant: str) -> int:
        with translated():
            return self._models.count_documents({"tenant": tenant})

    def count_pinned(self, tenant: str) -> int:
        with translated():
            return self._models.count_documents({"tenant": tenant, "pinned": True})

    def models(self, tenant: str, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._models, {"tenant": tenant, "_id": {"$gt": after}}, limit)

    def any_model(self, model_id: str) -> Model | None:
        with translated():
            live = self._models.find_one({"_id": model_id}, _WITHOUT_HISTORY)
            return read(live or self._tombstones.find_one({"_id": model_id}), Model)

    def any_models(self, model_ids: Sequence[str]) -> Sequence[Model]:
        with translated():
            return read_all(self._models.find({"_id": {"$in": list(model_ids)}}, _WITHOUT_HISTORY), Model)

    def models_page(self, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._models, {"_id": {"$gt": after}}, limit)

    def change_model(self, seen: Model, changed: Model, entry: TrafficChange | None) -> bool:
        fields = document(changed)
        del fields["_id"]
        change: Document = {"$set": fields, **CHANGED}
        if entry is not None:
            entries = [msgspec.to_builtins(entry, builtin_types=TIMES)]
            change["$push"] = {"history": {"$each": entries, "$slice": -limits.TRAFFIC_HISTORY_MAX}}
        with translated():
            query = {"_id": seen.id, "revision": seen.revision}
            return self._models.update_one(query, change).modified_count == 1

    def history(self, tenant: str, model_id: str) -> Sequence[TrafficChange]:
        with translated():
            found = self._models.find_one({"_id": model_id}, {"tenant": 1, "history": 1}) or {}
        return read_all(found.get("history", ()) if found.get("tenant") == tenant else (), TrafficChange)

    def delete_model(self, tombstone: Model) -> None:
        with translated():
            _add(self._tombstones, tombstone)
            self._models.delete_one({"_id": tombstone.id})

    def tombstones_page(self, after: str, limit: int) -> Sequence[Model]:
        return _models_in(self._tombstones, {"_id": {"$gt": after}}, limit)

    def changed_models(self, after: ChangePoint, limit: int) -> tuple[Sequence[Model], ChangePoint]:
        return _changed(self._models, after, limit)

    def changed_tombstones(self, after: ChangePoint, limit: int) -> tuple[Sequence[Model], ChangePoint]:
        return _changed(self._tombstones, after, limit)

    def remove_model(self, model_id: str) -> None:
        with translated():
            tombstone = read(self._tombstones.find_one({"_id": model_id}), Model)
            if tombstone is not None:
                self._tokens.delete_many({"tenant": tombstone.tenant, "model_id": model_id})
                self._tombstones.delete_one({"_id": model_id})

    def _named(self, tenant: str, name: str) -> Document | None:
        return self._models.find_one({"tenant": tenant, "name": name}, _WITHOUT_HISTORY)


def _models_in(collection: Collection[Document], query: Document, limit: int) -> Sequence[Model]:
    with translated():
        cursor = collection.find(query, _WITHOUT_HISTORY).sort("_id", ASCENDING)
        return read_page(cursor, Model, limit)


def _changed(
    collection: Collection[Document], after: ChangePoint, limit: int
) -> tuple[Sequence[Model], ChangePoint]:
    with translated():
        page, end = changed_page(collection, after, limit, key="_id", fields=_WITHOUT_HISTORY)
    return read_all(page, Model), end


def _add(collection: Collection[Document], model: Model) -> None:
    """Unless one has its id or its name, which then is left as it is."""
    if collection.find_one({"_id": model.id}, {"_id": 1}):
        return
    fields = document(model)
    del fields["_id"]
    with suppress(DuplicateKeyError):
        collection.update_one({"_id": model.id}, {"$setOnInsert": fields, **CHANGED}, upsert=True)
