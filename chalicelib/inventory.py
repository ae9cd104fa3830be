"""What is on the hosts, for operators: the versions of one of them, and those that none may run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chalicelib.contract import limits
from chalicelib.contract.errors import NotFound
from chalicelib.contract.hotstate import Glance, HotState
from chalicelib.contract.messages import Replica, ReplicaState
from chalicelib.ports import Store
from chalicelib.records import Model, Version, VersionState


@dataclass(frozen=True, slots=True)
class Stocked:
    """A version that a host is to hold. `state`: of its replica there; None where there is none yet."""

    version: Version
    model: Model
    state: ReplicaState | None


@dataclass(frozen=True, slots=True)
class Stock:
    """`next`: what to ask behind for the rest; None at the end."""

    versions: tuple[Stocked, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """No host may run it until then."""

    version: Version
    model: Model
    until: datetime


class Inventory:
    """The reading use cases. What was deleted by now is left out."""

    def __init__(self, *, store: Store, hot: HotState) -> None:
        self._store = store
        self._hot = hot

    def of_host(self, host_id: str, *, after: str) -> Stock:
        """In order of version id. Raises NotFound."""
        assigned = sorted(self._hot.assignments([host_id])[host_id])
        page = [version_id for version_id in assigned if version_id > after][: limits.PAGE_SIZE_MAX]
        versions, models = self._known(page)
        seen = self._hot.glance(model_ids=sorted(models), version_ids=())
        boots = {beat.host_id: beat.boot_id for beat in seen.hosts}
        if host_id not in boots:
            raise NotFound("There is no such host.")
        here = _replicas_at(host_id, boots[host_id], seen)
        return Stock(
            tuple(Stocked(one, models[one.model_id], here.get(one.id)) for one in versions),
            page[-1] if len(page) == limits.PAGE_SIZE_MAX else None,
        )

    def quarantined(self) -> tuple[Quarantined, ...]:
        """The latest to end first."""
        until = {one.version_id: one.until for one in self._hot.quarantines()}
        versions, models = self._known(until)
        found = (
            Quarantined(one, models[one.model_id], datetime.fromtimestamp(until[one.id], UTC))
            for one in versions
        )
        return tuple(sorted(found, key=lambda one: (one.until, one.version.id), reverse=True))

    def _known(self, version_ids: Iterable[str]) -> tuple[Sequence[Version], Mapping[str, Model]]:
        """Those of models that are there, in order of id, and these models by id."""
        ids = sorted(version_ids)
        versions = self._store.any_versions(ids) if ids else ()
        model_ids = sorted({one.model_id for one in versions})
        models = {one.id: one for one in self._store.any_models(model_ids)} if model_ids else {}
        known = (one for one in versions if one.model_id in models and one.state is not VersionState.DELETED)
        return sorted(known, key=lambda one: one.id), models


def _replicas_at(host_id: str, boot_id: str, seen: Glance) -> dict[str, ReplicaState]:
    """By version id, of this run of the host."""
    replicas: Iterable[tuple[str, Replica]] = (one for found in seen.replicas.values() for one in found)
    return {
        version_id: replica.state
        for version_id, replica in replicas
        if (replica.host_id, replica.boot_id) == (host_id, boot_id)
    }
