"""What the fleet is doing, and why: for operators all of it, for a model's owner what concerns the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.capacity import CapacityStatus, CapacityWish
from chalicelib.contract.messages import Heartbeat
from chalicelib.coordinator.planner import Reason
from chalicelib.coordinator.state import Freshness
from chalicelib.ports import Store
from chalicelib.records import Decision, Model
from chalicelib.world import freshness, read_remembered

_MODEL_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ANOTHER: Final = "another model"


@dataclass(frozen=True, slots=True)
class HostShown:
    """`assigned`: how many versions it is to hold. `leaving`: no model comes to it any more."""

    beat: Heartbeat
    freshness: Freshness
    silent_seconds: float
    assigned: int
    leaving: bool


@dataclass(frozen=True, slots=True)
class FleetShown:
    """All there is now.

    Attributes:
        wanted: how many hosts there should be; None where nobody starts hosts.
        starting, ending: ids of hosts that whoever starts them says to be on the way here, or away.
        boot_seconds: how long one takes to come; None where nobody starts hosts.
        jobs_unfinished: preparations of versions that wait for a host, or that one is about.
        last: the latest decision, whether it changed something or not.
    """

    hosts: tuple[HostShown, ...]
    wanted: int | None
    starting: tuple[str, ...]
    ending: tuple[str, ...]
    boot_seconds: float | None
    jobs_unfinished: int
    last: Decision | None


@dataclass(frozen=True, slots=True)
class Explained:
    """Decisions as somebody may see them: `reasons` by the number of each, `names` of models by id."""

    decisions: Sequence[Decision]
    reasons: Mapping[int, tuple[Reason, ...]]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Who shares hosts with a model: by the number of hosts, the owner's own by name, and how many others."""

    model: Model
    hosts: tuple[str, ...]
    own: Mapping[int, tuple[str, ...]]
    others: Mapping[int, int]


class Fleet:
    """The reading use cases."""

    def __init__(self, *, store: Store, hot: HotState) -> None:
        self._store = store
        self._hot = hot

    def show(self) -> FleetShown:
        now, beats = self._hot.hosts()
        remembered = read_remembered(self._hot.memory())
        leaving = frozenset(remembered.memory.leaving if remembered else ())
        assigned = self._hot.assignments(beat.host_id for beat in beats)
        wish, status = self._hot.capacity_wish(), self._hot.capacity_status()
        outlook = self._hot.outlook()
        last = self._store.decisions(before=None, limit=1, changes_only=False)
        return FleetShown(
            hosts=tuple(
                HostShown(
                    beat=beat,
                    freshness=freshness(beat, now),
                    silent_seconds=max(0.0, now - beat.at),
                    assigned=len(assigned[beat.host_id]),
                    leaving=beat.host_id in leaving,
                )
                for beat in sorted(beats, key=lambda beat: beat.host_id)
            ),
            wanted=_wanted(wish, status),
            starting=status.starting if status else (),
            ending=status.ending if status else (),
            boot_seconds=outlook.boot_seconds if outlook else None,
            jobs_unfinished=self._hot.jobs_unfinished(),
            last=last[0] if last else None,
        )

    def decisions(self, *, before: int | None, limit: int, model_id: str = "") -> Explained:
        """Newest first, those that changed something; of one model, also those that only speak of it."""
        found = self._decisions(before, limit, model_id)
        reasons = {decision.id: decision.reasons for decision in found}
        return self._explained(found, reasons, tenant=None)

    def decisions_of(
        self, principal: Principal, model_id: str, *, before: int | None, limit: int
    ) -> Explained:
        """What they say of the owner's model. Raises NotFound."""
        self._model(principal, model_id)
        found = self._decisions(before, limit, model_id)
        reasons = {
            decision.id: tuple(reason for reason in decision.reasons if reason.subject == model_id)
            for decision in found
        }
        return self._explained(found, reasons, tenant=principal.tenant)

    def hosts_of(self, principal: Principal, model_id: str) -> tuple[str, ...]:
        """Ids of the hosts that are to hold the active version of the owner's model. Raises NotFound."""
        return self._holders(self._model(principal, model_id), self._assignments())

    def blast_radius(self, principal: Principal, model_id: str) -> BlastRadius:
        """Raises NotFound."""
        model = self._model(principal, model_id)
        assignments = self._assignments()
        hosts = self._holders(model, assignments)
        shared = self._shared([assignments[host_id] for host_id in hosts])
        shared.pop(model_id, None)
        names = {one.id: one.name for one in self._own(principal.tenant, shared)}
        own: dict[int, list[str]] = {}
        others: dict[int, int] = {}
        for other, count in shared.items():
            if other in names:
                own.setdefault(count, []).append(names[other])
            else:
                others[count] = others.get(count, 0) + 1
        return BlastRadius(
            model, hosts, {count: tuple(sorted(found)) for count, found in own.items()}, others
        )

    def _decisions(self, before: int | None, limit: int, subject: str) -> Sequence[Decision]:
        """Raises InvalidRequest."""
        if not 1 <= limit <= limits.PAGE_SIZE_MAX:
            raise InvalidRequest(f"limit: from 1 to {limits.PAGE_SIZE_MAX} expected, got {limit}")
        return self._store.decisions(before=before, limit=limit, subject=subject, changes_only=not subject)

    def _explained(
        self, found: Sequence[Decision], reasons: Mapping[int, Sequence[Reason]], *, tenant: str | None
    ) -> Explained:
        """With names for ids. A tenant does not see those of another."""
        said = [reason for some in reasons.values() for reason in some]
        ids = {
            one
            for reason in said
            for text in (reason.subject, reason.text)
            for one in _MODEL_ID.findall(text)
        }
        models = self._any(sorted(ids))
        names = {one.id: one.name for one in models if tenant is None or one.tenant == tenant}
        strange = _ANOTHER if tenant is not None else None
        return Explained(
            found,
            {
                number: tuple(Reason(one.subject, _named(one.text, names, strange)) for one in some)
                for number, some in reasons.items()
            },
            names,
        )

    def _holders(self, model: Model, assignments: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        version_id = model.active_version_id
        return tuple(sorted(host for host, versions in assignments.items() if version_id in versions))

    def _assignments(self) -> dict[str, tuple[str, ...]]:
        return self._hot.assignments(beat.host_id for beat in self._hot.hosts()[1])

    def _shared(self, held: Sequence[Sequence[str]]) -> dict[str, int]:
        """By model id, on how many of these hosts it is."""
        models_of = self._hot.models_of(sorted(frozenset().union(*held)))
        shared: dict[str, int] = {}
        for versions in held:
            for model_id in {models_of[version_id] for version_id in versions if version_id in models_of}:
                shared[model_id] = shared.get(model_id, 0) + 1
        return shared

    def _own(self, tenant: str, model_ids: Iterable[str]) -> list[Model]:
        return [model for model in self._any(sorted(model_ids)) if model.tenant == tenant]

    def _any(self, model_ids: Sequence[str]) -> list[Model]:
        pages = range(0, len(model_ids), limits.PROJECTION_PAGE)
        return [
            model
            for first in pages
            for model in self._store.any_models(model_ids[first : first + limits.PROJECTION_PAGE])
        ]

    def _model(self, principal: Principal, model_id: str) -> Model:
        model = self._store.model(principal.tenant, model_id)
        if model is None:
            raise NotFound("There is no such model.")
        return model


def _wanted(wish: CapacityWish | None, status: CapacityStatus | None) -> int | None:
    """Until something else is wished, those that there are."""
    if wish is not None:
        return wish.hosts
    return len(status.running) + len(status.starting) if status is not None else None


def _named(text: str, names: Mapping[str, str], strange: str | None) -> str:
    """With names in the place of ids; `strange` in that of an id without one, where it is to be hidden."""
    return _MODEL_ID.sub(lambda found: names.get(found[0], strange or found[0]), text)
