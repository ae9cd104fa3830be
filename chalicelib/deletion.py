"""How models and versions go: at once for callers, soon from hosts, from S3 when the retention is over.

    delete   a tombstone in the truth and in the hot state, tokens revoked, hosts told
    finish   what a delete that died halfway had left to do   (the coordinator's passes)
    reap     bytes and documents, after the retention         (the coordinator's passes)

A flushed hot state is told again from the tombstones. Ids are never used again, nor are a model's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chalicelib.audit import Acted, Audit
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.ports import ObjectStore, Store
from chalicelib.records import (
    Model,
    Version,
    deleted,
    routing_record,
    without_version,
)

_TRIES: Final = 10
_FINISHED: Final = timedelta(hours=1)
"""Whatever a delete was still racing with is over by then."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """How many versions went, and behind which id the next page begins; empty for the beginning."""

    count: int
    after: str


class Deletion:
    """The use cases of deleting. `retention_seconds`: how long bytes outlive what was deleted."""

    def __init__(
        self,
        *,
        store: Store,
        objects: ObjectStore,
        hot: HotState,
        audit: Audit,
        now: Callable[[], datetime],
        retention_seconds: float,
    ) -> None:
        self._store = store
        self._objects = objects
        self._audit = audit
        self._hot = hot
        self._now = now
        self._retention = timedelta(seconds=retention_seconds)

    def delete_model(self, principal: Principal, model_id: str) -> None:
        """From now on it answers nobody, and its name is free. Raises NotFound."""
        tombstone = deleted(self._model(principal, model_id), self._now())
        self._store.delete_model(tombstone)
        self._hot.put_model(routing_record(tombstone, {}))
        self._clear(tombstone)

    def delete_version(self, principal: Principal, model_id: str, number: int) -> None:
        """Raises NotFound, and Conflict for one that has traffic or is about to."""
        version = self._store.version(principal.tenant, model_id, number)
        if version is None:
            raise NotFound("There is no such version.")
        _refuse_in_use(self._model(principal, model_id), version)
        if not self._store.delete_version(version, at=self._now()):
            raise _busy()
        for _ in range(_TRIES):
            model = self._model(principal, model_id)
            if version.id in model.version_ids:
                self._store.restore_version(version)
            _refuse_in_use(model, version)
            if self._store.change_model(model, without_version(model, version), None):
                self._hot.drop_versions([version.id])
                return
        raise _busy()

    def finish(self, tombstone: Model) -> None:
        """All that belongs to a deleted model goes with it, also what came while it was deleted."""
        over = self._age(tombstone) >= self._retention
        if over or self._age(tombstone) <= _FINISHED:
            self._store.delete_model(tombstone)
            self._clear(tombstone)
        if over and not self._store.last_number(tombstone.tenant, tombstone.id):
            self._hot.forget_model(tombstone.id)
            self._store.remove_model(tombstone.id)
            self._audit.by_platform(
                Acted(tombstone.tenant, "model.remove", "model", tombstone.id, tombstone.name)
            )

    def reap(self, after: str = "") -> Reaped:
        """Look at a page of what is deleted: remove what is past its retention, tell hosts of the rest."""
        page = self._store.deleted_page(after, limits.PROJECTION_PAGE)
        due = [version for version in page if self._age(version) >= self._retention]
        due = due[: limits.REAPED_PER_TICK_MAX]
        young = [version for version in page if self._age(version) <= _FINISHED]
        kept = self._given_back([*due, *young])
        gone = [version for version in due if version.id not in kept]
        self._hot.drop_versions([one.id for one in page if one not in gone and one.id not in kept])
        for version in gone:
            self._remove(version)
        return Reaped(len(gone), page[-1].id if len(page) == limits.PROJECTION_PAGE else "")

    def _given_back(self, versions: Sequence[Version]) -> frozenset[str]:
        """Ids of those that got traffic while a delete died halfway: they are ready again."""
        models = {one.model_id: self._store.model(one.tenant, one.model_id) for one in versions}
        used = {version_id for model in models.values() if model for version_id in model.version_ids}
        kept = [version for version in versions if version.id in used]
        for version in kept:
            self._store.restore_version(version)
        return frozenset(version.id for version in kept)

    def _clear(self, tombstone: Model) -> None:
        at = tombstone.deleted_at or self._now()
        version_ids = self._store.delete_versions(tombstone.tenant, tombstone.id, at=at)
        tokens = self._store.revoke_model_tokens(tombstone.tenant, tombstone.id, at=at)
        self._hot.put_tokens((token.sha256, token.hot()) for token in tokens)
        self._hot.drop_versions(version_ids)

    def _remove(self, version: Version) -> None:
        """Bytes first: the document is what remembers them."""
        model = self._store.model(version.tenant, version.model_id)
        if model is not None and not self._remembered(model, version):
            return
        self._objects.delete(version.staging_key)
        self._objects.delete_under(version.folder)
        self._hot.forget_versions([version.id])
        self._store.remove_version(version)
        name = f"version {version.number}"
        self._audit.by_platform(Acted(version.tenant, "version.remove", "model", version.model_id, name))

    def _remembered(self, model: Model, version: Version) -> bool:
        """Whether the model will not give the number again. False: try again later."""
        if model.numbers_used >= version.number:
            return True
        return self._store.change_model(model, without_version(model, version), None)

    def _age(self, deleted_one: Model | Version) -> timedelta:
        return self._now() - (deleted_one.deleted_at or self._now())

    def _model(self, principal: Principal, model_id: str) -> Model:
        model = self._store.model(principal.tenant, model_id)
        if model is None:
            raise NotFound("There is no such model.")
        return model


def _refuse_in_use(model: Model, version: Version) -> None:
    """Raises Conflict."""
    roles = {
        model.active_version_id: "is the active one",
        model.candidate.version_id if model.candidate else None: "is on trial",
        model.activation.version_id if model.activation else None: "is about to become active",
    }
    role = roles.get(version.id)
    if role is not None:
        raise Conflict(f"Version {version.number} {role}. Move the traffic away first, or delete the model.")


def _busy() -> Conflict:
    return Conflict("It is being changed at this moment. Try again.")
