"""Who is there, and how many hosts there should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.copies import Need, PlacementPolicy, asked_for
from chalicelib.coordinator.reasons import FLEET, Reason, counted, duration
from chalicelib.coordinator.scaling import FleetLoad, ScalingMemory, ScalingPolicy, scale
from chalicelib.coordinator.state import FleetState, Freshness, HostView, Memory, ModelView

_JOINING = (HostState.LAUNCHING, HostState.READY)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts by what may be done with them, each kind sorted by id.

    Attributes:
        members: those that serve or are about to, and have not been let go.
        serving: of these, those that serve.
        dead: silent for too long, or whose registration is all that is left.
        heard: whether any host was heard of lately.
        slots_per_host, memory_bytes_per_host: the mean; as remembered where there is no host.
    """

    members: tuple[HostView, ...]
    serving: tuple[HostView, ...]
    dead: tuple[HostView, ...]
    heard: bool
    slots_per_host: float
    memory_bytes_per_host: int


def mustered(state: FleetState, memory: Memory) -> Fleet:
    hosts = sorted(state.hosts, key=lambda host: host.host_id)
    living = [host for host in hosts if host.freshness is not Freshness.DEAD]
    told = state.capacity.leaving if state.capacity else ()
    members = [
        host
        for host in living
        if host.state in _JOINING
        and host.host_id not in told
        and memory.ending.get(host.host_id) != host.boot_id
    ]
    serving = [host for host in members if host.state is HostState.READY]
    return Fleet(
        members=tuple(members),
        serving=tuple(serving),
        dead=tuple([host for host in hosts if host.freshness is Freshness.DEAD]),
        heard=any(host.freshness is Freshness.FRESH for host in hosts),
        slots_per_host=_mean([host.slots for host in hosts], memory.slots_per_host),
        memory_bytes_per_host=int(
            _mean([host.memory_bytes_max for host in hosts], memory.memory_bytes_per_host)
        ),
    )


@dataclass(frozen=True, slots=True)
class Size:
    """`hosts`: that should be members; `before`: that should have been until now. `known`: whether enough is
    known to let any go."""

    hosts: int
    before: int
    known: bool
    reason: Reason
    scaling: ScalingMemory


def sized(
    state: FleetState,
    fleet: Fleet,
    memory: Memory,
    *,
    needs: Sequence[Need],
    scaling: ScalingPolicy,
    placement: PlacementPolicy,
) -> Size:
    """What the load asks for, unless too little is known to have fewer hosts."""
    before = _desired(state, fleet, memory)
    load = FleetLoad(
        now=state.now,
        samples=state.samples,
        slots_per_host=fleet.slots_per_host,
        hosts_ready=len(fleet.serving),
        hosts_desired=before,
        memory_bytes_hot=_bytes_hot(state.models, needs, most=fleet.memory_bytes_per_host),
        memory_bytes_per_host=fleet.memory_bytes_per_host,
        known=state.demand_known,
    )
    least = _least(state)
    floor = max(scaling.hosts_min, min(1, scaling.hosts_max) if least else 0)
    decision = scale(load, memory.scaling, msgspec.structs.replace(scaling, hosts_min=floor))
    unknown = _unknown(state, fleet, memory, placement)
    hosts, why = decision.hosts, "; ".join(decision.reasons)
    if unknown and hosts < before:
        hosts, why = before, f"{unknown}, so no host goes. Else {hosts}: {why}"
    if least and floor > scaling.hosts_min:
        why = f"{least}, so there is at least one; {why}"
    text = f"{counted(hosts, 'host')}: {why}."
    if state.capacity is None:
        hosts = before
        there = counted(len(fleet.members), "host")
        text = f"{there}, left as they are: nobody says how many were asked for. Else {text}"
    return Size(hosts, before, unknown is None, Reason(FLEET, text), decision.memory)


def _bytes_hot(models: Sequence[ModelView], needs: Sequence[Need], *, most: int) -> int:
    """Of one that is larger than a host only `most`: more hosts would not hold it either."""
    return sum(
        [
            need.copies * min(model.active.memory_bytes, most)
            for model, need in zip(models, needs, strict=True)
            if need.hot
        ]
    )


def _desired(state: FleetState, fleet: Fleet, memory: Memory) -> int:
    """How many members there were to be: hosts that are leaving still run."""
    running = len(fleet.members) if state.capacity is None else state.capacity.desired
    return max(0, running - sum(host.host_id in memory.leaving for host in fleet.members))


def _unknown(state: FleetState, fleet: Fleet, memory: Memory, policy: PlacementPolicy) -> str | None:
    """Why hosts and copies stay; None where they may go."""
    if not state.demand_known:
        return "what the hosts have to do is not known"
    if state.hosts and not fleet.heard:
        return "no host is heard of"
    known_for = state.now - memory.began_at
    if known_for < policy.hold_seconds:
        return f"nothing is known of the time before the last {duration(known_for)}"
    return None


def _least(state: FleetState) -> str | None:
    """Why there should be a host at all."""
    if state.jobs_waiting:
        return f"{counted(state.jobs_waiting, 'version')} to prepare"
    pinned = sum(model.pinned for model in state.models)
    if pinned:
        return f"{counted(pinned, 'model')} pinned"
    asked = sum(asked_for(model) is not None for model in state.models)
    return f"{counted(asked, 'model')} asked for" if asked else None


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
