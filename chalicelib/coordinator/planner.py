"""`plan(state, policy)`: what to do now, why, and what to remember. Pure, and *set*, never *change by*.

    muster   who is there                                              fleet.py
    use      how each model was used, and so how many copies it needs  copies.py
    size     how many hosts there should be                            fleet.py, scaling.py
    depart   which hosts go, and when they may be stopped              leaving.py
    place    which hosts hold which models                             placement.py, layout.py, shards.py

Planning again, at the same time, on what a plan made of the world gives no action. What is not known is left
alone: hosts and copies go only while it is known what there is to do, and has been for some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from math import inf

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.messages import HostState
from chalicelib.coordinator.copies import PlacementPolicy, need, used
from chalicelib.coordinator.fleet import Fleet, Size, mustered, sized
from chalicelib.coordinator.layout import Layout
from chalicelib.coordinator.leaving import Departures, departures
from chalicelib.coordinator.placement import Before, Placement
from chalicelib.coordinator.reasons import Reason, duration
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelMemory,
)

__all__ = ["Action", "Assign", "ForgetHost", "Plan", "Policy", "Reason", "SetCapacity", "plan"]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an operator may change of the decisions."""

    scaling: ScalingPolicy = ScalingPolicy()
    placement: PlacementPolicy = PlacementPolicy()


class Assign(msgspec.Struct, frozen=True, tag=True):
    """This host should hold exactly these versions."""

    host_id: str
    version_ids: tuple[str, ...]


class ForgetHost(msgspec.Struct, frozen=True, tag=True):
    """This host is dead: its registration goes."""

    host_id: str
    boot_id: str


class SetCapacity(msgspec.Struct, frozen=True, tag=True):
    """So many hosts are to run in all; those of `ending` may be stopped now."""

    hosts: int
    ending: tuple[str, ...] = ()


Action = Assign | ForgetHost | SetCapacity


class Plan(msgspec.Struct, frozen=True):
    """In a stable order. Reasons are given where something changes or is held back, and for the fleet."""

    actions: tuple[Action, ...]
    reasons: tuple[Reason, ...]
    memory: Memory


def plan(state: FleetState, policy: Policy) -> Plan:
    """One tick. The order of hosts and models in `state` makes no difference."""
    memory = _recalled(state)
    models = sorted(state.models, key=lambda model: model.model_id)
    state = msgspec.structs.replace(state, models=tuple(models))
    fleet = mustered(state, memory)
    uses = [
        used(model, memory.models.get(model.model_id), now=state.now, policy=policy.placement)
        for model in models
    ]
    needs = [
        need(model, use, slots_per_host=fleet.slots_per_host, now=state.now, policy=policy.placement)
        for model, use in zip(models, uses, strict=True)
    ]
    size = sized(state, fleet, memory, needs=needs, scaling=policy.scaling, placement=policy.placement)
    going = departures(state, fleet, size, memory=memory, needs=needs, policy=policy.placement)
    layout = Layout(_serving(going.staying), models, needs, policy.placement)
    before = Before(state.now, uses, began_at=memory.began_at, may_drop=size.known)
    allowance = _allowance(layout, state, memory, policy.placement)
    changes = int(allowance) if state.now > memory.at else 0
    placement = Placement(layout, before, policy.placement, changes=changes)
    placement.run()
    forgotten = tuple(_forgotten(state, fleet))
    capacity = tuple(_capacity(state, size, going, memory))
    awaited = _awaited(state, memory)
    return Plan(
        actions=(*forgotten, *_assigned(layout), *capacity),
        reasons=(
            size.reason,
            *_deaths(fleet, forgotten),
            *_overdue(state, awaited, policy),
            *going.reasons,
            *placement.reasons,
        ),
        memory=Memory(
            at=state.now,
            began_at=memory.began_at,
            scaling=size.scaling,
            models=_remembered(layout, uses, now=state.now, policy=policy.placement),
            leaving=going.leaving,
            changes=allowance - changes + placement.changes,
            ending=_ending(state, going, memory),
            awaited=awaited,
            slots_per_host=fleet.slots_per_host,
            memory_bytes_per_host=fleet.memory_bytes_per_host,
            beyond_since=going.beyond_since,
        ),
    )


def _recalled(state: FleetState) -> Memory:
    """What is remembered. As good as lost where the clock went back: times mean nothing then."""
    memory = state.memory
    if memory is not None and memory.at <= state.now:
        return memory
    fresh = Memory(scaling=None, models={}, leaving={}, began_at=state.now, changes=inf)
    if memory is None:
        return fresh
    return msgspec.structs.replace(
        fresh,
        ending=memory.ending,
        slots_per_host=memory.slots_per_host,
        memory_bytes_per_host=memory.memory_bytes_per_host,
    )


def _serving(hosts: Sequence[HostView]) -> tuple[HostView, ...]:
    return tuple([host for host in hosts if host.state is HostState.READY])


def _allowance(layout: Layout, state: FleetState, memory: Memory, policy: PlacementPolicy) -> float:
    """How many copies may come or go, in steps of the fleet's size and of time."""
    most = max(float(policy.changes_min), policy.changes_ratio * len(layout.hosts))
    return min(most, memory.changes + most * (state.now - memory.at) / policy.changes_seconds)


def _assigned(layout: Layout) -> Iterator[Assign]:
    """What hosts are not told yet. Whoever was not heard of lately is told nothing."""
    for host, version_ids in zip(layout.hosts, layout.version_ids(), strict=True):
        if host.freshness is Freshness.FRESH and version_ids != host.assigned:
            yield Assign(host.host_id, version_ids)


def _forgotten(state: FleetState, fleet: Fleet) -> Iterator[ForgetHost]:
    """Dead hosts, where others are heard or their provider says that they are gone."""
    running = state.capacity.running if state.capacity else None
    for host in fleet.dead:
        if fleet.heard or (running is not None and host.host_id not in running):
            yield ForgetHost(host.host_id, host.boot_id)


def _deaths(fleet: Fleet, forgotten: Sequence[ForgetHost]) -> Iterator[Reason]:
    gone = {host.host_id for host in forgotten}
    for host in fleet.dead:
        silent = f"{host.host_id} has been silent for more than {limits.HOST_DEAD_SECONDS:g} seconds"
        then = "it is forgotten" if host.host_id in gone else "so has every host: none is forgotten"
        yield Reason(host.host_id, f"{silent}; {then}.")


def _capacity(state: FleetState, size: Size, going: Departures, memory: Memory) -> Iterator[SetCapacity]:
    """Absolute. Hosts that are still to be emptied run on, and count."""
    capacity = state.capacity
    if capacity is None:
        return
    hosts = size.hosts + len(going.leaving)
    ending = _ending(state, going, memory)
    untold = [host_id for host_id in ending if _runs_on(host_id, capacity)]
    if hosts != capacity.desired or untold:
        yield SetCapacity(hosts, tuple(ending))


def _runs_on(host_id: str, capacity: CapacityView) -> bool:
    """Whether its provider has yet to hear that it may be stopped."""
    if host_id in capacity.leaving:
        return False
    return capacity.running is None or host_id in capacity.running


def _ending(state: FleetState, going: Departures, memory: Memory) -> dict[str, str]:
    """Hosts that may be stopped, until they are gone or somebody else goes by their name."""
    ended = {host.host_id for host in going.ended}
    return {
        host.host_id: host.boot_id
        for host in sorted(state.hosts, key=lambda host: host.host_id)
        if host.freshness is not Freshness.DEAD
        and (host.host_id in ended or memory.ending.get(host.host_id) == host.boot_id)
    }


def _awaited(state: FleetState, memory: Memory) -> dict[str, float]:
    """Hosts that are said to run and have not registered, and since when."""
    if state.capacity is None:
        return memory.awaited
    registered = {host.host_id for host in state.hosts if host.freshness is not Freshness.DEAD}
    return {
        host_id: memory.awaited.get(host_id, state.now)
        for host_id in sorted(state.capacity.running or ())
        if host_id not in registered
    }


def _overdue(state: FleetState, awaited: dict[str, float], policy: Policy) -> Iterator[Reason]:
    boot = policy.scaling.boot_seconds
    for host_id, since in awaited.items():
        if state.now - since > policy.placement.boots_max * boot:
            waited = f"is said to run, and has not registered for {duration(state.now - since)}"
            usual = f"hosts take {duration(boot)} to start"
            yield Reason(host_id, f"{host_id} {waited}; {usual}. No other is started in its place.")


def _remembered(
    layout: Layout, uses: Sequence[ModelMemory | None], *, now: float, policy: PlacementPolicy
) -> dict[str, ModelMemory]:
    """With the copies that there are now. The most recently used, if there are too many."""
    kept = [
        (model.model_id, _counted(use, len(copies), now=now))
        for model, use, copies in zip(layout.models, uses, layout.copies, strict=True)
        if use is not None
    ]
    if len(kept) > policy.models_remembered_max:
        latest = nlargest(policy.models_remembered_max, kept, key=lambda one: (one[1].used_at, one[1].peak))
        kept = sorted(latest)
    return dict(kept)


def _counted(use: ModelMemory, copies: int, *, now: float) -> ModelMemory:
    return use if use.copies == copies else msgspec.structs.replace(use, copies=copies, since=now)
