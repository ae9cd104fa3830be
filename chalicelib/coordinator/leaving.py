"""Which hosts go when there are to be fewer, and when each may be stopped.

A host that is to leave gets nothing new, and serves on until what callers need of it is ready elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.copies import Need, PlacementPolicy
from chalicelib.coordinator.fleet import Fleet, Size
from chalicelib.coordinator.reasons import Reason, counted, duration
from chalicelib.coordinator.state import FleetState, HostView, Memory, ModelView


@dataclass(frozen=True, slots=True)
class Departures:
    """`leaving` and `beyond_since` as in `Memory`; `ended` may be stopped from now on; `staying` are the
    other members.
    """

    leaving: dict[str, float]
    ended: tuple[HostView, ...]
    staying: tuple[HostView, ...]
    reasons: tuple[Reason, ...]
    beyond_since: float | None


def departures(
    state: FleetState,
    fleet: Fleet,
    size: Size,
    *,
    memory: Memory,
    needs: Sequence[Need],
    policy: PlacementPolicy,
) -> Departures:
    """As many leave as there are too many; where there are too few, those that are leaving stay after all.

    Hosts beyond what their provider was told are its own for a while: see `beyond_seconds_max`.
    """
    held = _Held(state.models, needs)
    leaving = _still_leaving(state, fleet, memory, policy)
    reasons = []
    there = len(fleet.members) - len(leaving)
    beyond_since = _beyond_since(state, there, size, memory)
    if beyond_since is None or state.now - beyond_since < policy.beyond_seconds_max:
        there = min(there, size.before)
    surplus = there - size.hosts
    if surplus < 0:
        latest = sorted(leaving, key=lambda host_id: (-leaving[host_id], host_id))
        for host_id in latest[:-surplus]:
            del leaving[host_id]
            reasons.append(Reason(host_id, f"{host_id} stays after all: it is needed."))
    elif surplus and size.known and state.capacity is not None:
        for host in held.least_lost(_without(fleet.members, leaving))[:surplus]:
            leaving[host.host_id] = state.now
            reasons.append(Reason(host.host_id, f"{host.host_id} is to leave: {held.lost(host)}."))
    staying = _without(fleet.members, leaving)
    ended = []
    may_end = fleet.members if size.known and state.capacity is not None else ()
    for host in [host for host in may_end if host.host_id in leaving]:
        waited = state.now - leaving[host.host_id]
        missing = held.missing_elsewhere(host, staying)
        if not missing or waited >= policy.leave_seconds_max:
            ended.append(host)
            del leaving[host.host_id]
            why = _why_now(missing, waited) if staying else "no host is needed"
            reasons.append(Reason(host.host_id, f"{host.host_id} may be stopped: {why}."))
    return Departures(leaving, tuple(ended), staying, tuple(reasons), beyond_since)


def _beyond_since(state: FleetState, there: int, size: Size, memory: Memory) -> float | None:
    if there <= size.before:
        return None
    return state.now if memory.beyond_since is None else memory.beyond_since


class _Held:
    """What hosts hold, by the versions they are assigned. Only looked at when one of them goes."""

    def __init__(self, models: Sequence[ModelView], needs: Sequence[Need]) -> None:
        self._models = models
        self._needs = needs

    def least_lost(self, hosts: Sequence[HostView]) -> list[HostView]:
        """Hosts that only start first; then by fewest models in use with no other copy, bytes, highest id."""
        if not hosts:
            return []
        copies = Counter([at for host in hosts for at in self._on(host)])

        def loss(host: HostView) -> tuple[bool, int, int]:
            held = self._on(host)
            sole = sum([copies[at] == 1 and self._needs[at].copies > 0 for at in held])
            stored = sum([self._models[at].active.memory_bytes for at in held])
            return host.state is HostState.READY, sole, stored

        return sorted(sorted(hosts, key=lambda host: host.host_id, reverse=True), key=loss)

    def lost(self, host: HostView) -> str:
        held = self._on(host)
        needed = sum([self._needs[at].copies > 0 for at in held])
        return f"it has least to lose, {counted(len(held), 'model')}, {needed} of them in use"

    def missing_elsewhere(self, host: HostView, staying: Sequence[HostView]) -> int:
        """Of its models that callers need, those that are not ready on as many others as they need."""
        ready = {other.host_id for other in staying if other.state is HostState.READY}
        missing = 0
        for at in self._on(host):
            wanted = min(self._needs[at].copies, len(staying))
            missing += len(ready.intersection(self._models[at].held_on)) < wanted
        return missing

    def _on(self, host: HostView) -> list[int]:
        return [self._positions[one] for one in host.assigned if one in self._positions]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {model.active.version_id: at for at, model in enumerate(self._models)}


def _still_leaving(
    state: FleetState, fleet: Fleet, memory: Memory, policy: PlacementPolicy
) -> dict[str, float]:
    """Without a word of who stops hosts, for so long, those that were to leave stay."""
    return {
        host.host_id: memory.leaving[host.host_id]
        for host in fleet.members
        if host.host_id in memory.leaving
        and (state.capacity is not None or state.now - memory.leaving[host.host_id] < policy.hold_seconds)
    }


def _without(members: Sequence[HostView], leaving: dict[str, float]) -> tuple[HostView, ...]:
    return tuple([host for host in members if host.host_id not in leaving])


def _why_now(missing: int, waited: float) -> str:
    if not missing:
        return "whatever is in use there is ready elsewhere"
    return f"it waited for {duration(waited)}, though {counted(missing, 'model')} in use would be cold"
