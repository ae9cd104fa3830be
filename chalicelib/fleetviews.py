"""How the fleet, and what was decided about it, look as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chalicelib import fleet
from chalicelib.contract.messages import HostState, ReplicaState
from chalicelib.coordinator.planner import Action, Assign, ForgetHost, Reason, SetCapacity
from chalicelib.coordinator.state import Freshness
from chalicelib.inventory import Quarantined, Stock, Stocked
from chalicelib.records import Decision as Decided

_FLEET = "fleet"


class Host(msgspec.Struct, frozen=True):
    """One host.

    Attributes:
        heard_of: fresh, suspect or dead, by how long it has been silent.
        slots: requests that it runs well at once; in_flight: those it has now.
        versions_assigned: how many it is to hold; versions_ready: how many answer there without a load.
        leaving: no model comes to it any more.
    """

    id: str
    state: HostState
    heard_of: Freshness
    silent_seconds: float
    slots: float
    in_flight: int
    memory_bytes_max: int
    memory_bytes_used: int
    versions_assigned: int
    versions_ready: int
    leaving: bool


class HostedVersion(msgspec.Struct, frozen=True):
    """A version that a host is to hold.

    Attributes:
        state: of the replica there; null where there is none yet.
        memory_bytes: what the host reserves for it; null where that was not measured.
    """

    model_id: str
    name: str
    account_id: str
    number: int
    state: ReplicaState | None
    memory_bytes: int | None


class HostedVersions(msgspec.Struct, frozen=True):
    """What a host is to hold. `next`: what to send as `after` for the rest; null at the end."""

    versions: list[HostedVersion]
    next: str | None


class QuarantinedVersion(msgspec.Struct, frozen=True):
    """A version that ended its process twice: no host runs it until then."""

    model_id: str
    name: str
    account_id: str
    number: int
    until: datetime


class ReasonLine(msgspec.Struct, frozen=True):
    """One sentence.

    Attributes:
        about: fleet, or the id of a model or a host.
        name: of the model, where it is one that the caller may see.
    """

    about: str
    name: str | None
    text: str


class Fleet(msgspec.Struct, frozen=True):
    """The hosts there are, and how many there should be.

    Attributes:
        wanted: null where nobody starts hosts.
        starting, ending: ids of hosts that are on the way here, or away.
        boot_seconds: how long a host takes to come; null where nobody starts hosts.
        jobs_unfinished: preparations of versions that wait for a host, or that one is about.
        decided_at: when it was last decided on; why: what was said then.
        epoch: of the coordinator that decided; each one that takes over has a higher one.
        quarantined: at most a hundred, those that end last first.
    """

    hosts: list[Host]
    wanted: int | None
    starting: list[str]
    ending: list[str]
    boot_seconds: float | None
    jobs_unfinished: int
    decided_at: datetime | None
    epoch: int | None
    why: list[ReasonLine]
    quarantined: list[QuarantinedVersion]


class Did(msgspec.Struct, frozen=True):
    """One thing that was done.

    Attributes:
        kind: assign, forget or capacity.
        host_id: which host was assigned versions, or forgotten.
        versions: how many it is to hold now.
        hosts: how many there should be.
        ending: ids of those that may be stopped.
    """

    kind: str
    host_id: str | None = None
    versions: int | None = None
    hosts: int | None = None
    ending: list[str] | None = None


class Decision(msgspec.Struct, frozen=True):
    """What the coordinator did at one time, and why."""

    number: int
    at: datetime
    did: list[Did]
    reasons: list[ReasonLine]


class Decisions(msgspec.Struct, frozen=True):
    """Newest first. `next`: what to send as `before` for those that came earlier; null at the end."""

    decisions: list[Decision]
    next: int | None


class ModelDecision(msgspec.Struct, frozen=True):
    """What the coordinator had to say of the model at one time."""

    number: int
    at: datetime
    reasons: list[str]


class ModelDecisions(msgspec.Struct, frozen=True):
    """Where a model is, and why. Newest first; `hosts` and `next` as elsewhere."""

    model_id: str
    hosts: list[str]
    decisions: list[ModelDecision]
    next: int | None


class Sharing(msgspec.Struct, frozen=True):
    """Who shares so many hosts with the model: your own by name, and how many of others."""

    hosts: int
    own: list[str]
    others: int


class BlastRadius(msgspec.Struct, frozen=True):
    """Whom the model could disturb, and who could disturb it: they are loaded on the same hosts."""

    model_id: str
    name: str
    hosts: int
    sharing: list[Sharing]


def shown(seen: fleet.FleetShown, quarantined: Sequence[Quarantined]) -> Fleet:
    last = seen.last
    return Fleet(
        hosts=[_host(one) for one in seen.hosts],
        wanted=seen.wanted,
        starting=list(seen.starting),
        ending=list(seen.ending),
        boot_seconds=seen.boot_seconds,
        jobs_unfinished=seen.jobs_unfinished,
        decided_at=last.at if last else None,
        epoch=last.epoch if last else None,
        why=[_reason(one, None) for one in last.reasons if one.subject == _FLEET] if last else [],
        quarantined=[
            QuarantinedVersion(one.model.id, one.model.name, one.model.tenant, one.version.number, one.until)
            for one in quarantined
        ],
    )


def hosted(stock: Stock) -> HostedVersions:
    return HostedVersions([_hosted(one) for one in stock.versions], stock.next)


def decisions(explained: fleet.Explained, *, limit: int) -> Decisions:
    names = explained.names
    return Decisions(
        decisions=[
            Decision(
                number=one.id,
                at=one.at,
                did=[_did(action) for action in one.actions],
                reasons=[_reason(reason, names.get(reason.subject)) for reason in explained.reasons[one.id]],
            )
            for one in explained.decisions
        ],
        next=_next(explained.decisions, limit),
    )


def model_decisions(
    model_id: str, hosts: Sequence[str], explained: fleet.Explained, *, limit: int
) -> ModelDecisions:
    return ModelDecisions(
        model_id=model_id,
        hosts=list(hosts),
        decisions=[
            ModelDecision(one.id, one.at, [reason.text for reason in explained.reasons[one.id]])
            for one in explained.decisions
        ],
        next=_next(explained.decisions, limit),
    )


def blast_radius(seen: fleet.BlastRadius) -> BlastRadius:
    return BlastRadius(
        model_id=seen.model.id,
        name=seen.model.name,
        hosts=len(seen.hosts),
        sharing=[
            Sharing(count, list(seen.own.get(count, ())), seen.others.get(count, 0))
            for count in sorted({*seen.own, *seen.others}, reverse=True)
        ],
    )


def _next(found: Sequence[Decided], limit: int) -> int | None:
    return found[-1].id if len(found) == limit else None


def _host(one: fleet.HostShown) -> Host:
    beat = one.beat
    return Host(
        id=beat.host_id,
        state=beat.state,
        heard_of=one.freshness,
        silent_seconds=round(one.silent_seconds, 1),
        slots=beat.slots,
        in_flight=beat.in_flight,
        memory_bytes_max=beat.memory_bytes_max,
        memory_bytes_used=beat.memory_bytes_used,
        versions_assigned=one.assigned,
        versions_ready=beat.versions_ready,
        leaving=one.leaving,
    )


def _hosted(one: Stocked) -> HostedVersion:
    model, version = one.model, one.version
    memory_bytes = version.passport.memory_bytes if version.passport else None
    return HostedVersion(model.id, model.name, model.tenant, version.number, one.state, memory_bytes)


def _reason(reason: Reason, name: str | None) -> ReasonLine:
    return ReasonLine(reason.subject, name, reason.text)


def _did(action: Action) -> Did:
    match action:
        case Assign(host_id, version_ids):
            return Did("assign", host_id=host_id, versions=len(version_ids))
        case ForgetHost(host_id):
            return Did("forget", host_id=host_id)
        case SetCapacity(hosts, ending):
            return Did("capacity", hosts=hosts, ending=list(ending))
