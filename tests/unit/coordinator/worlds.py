"""Fleets as values, and what becomes of them when a plan is carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, ForgetHost, Plan, Policy, SetCapacity
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelDemand,
    ModelMemory,
    ModelView,
    VersionView,
)
from chalicelib.coordinator.windows import LoadSample

NOW = 1_000_000.0
MEMORY = 1_000
SLOTS = 4.0
POLICY = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=8))


def host(
    name: str,
    *,
    assigned: Iterable[str] = (),
    state: HostState = HostState.READY,
    freshness: Freshness = Freshness.FRESH,
    slots: float = SLOTS,
    memory_bytes_max: int = MEMORY,
) -> HostView:
    """`assigned`: model ids, whose active versions it is told to hold."""
    versions = tuple(sorted(map(active, assigned)))
    return HostView(name, f"boot-{name}", state, freshness, slots, memory_bytes_max, assigned=versions)


def active(model_id: str) -> str:
    return f"{model_id}/1"


def model(
    name: str,
    *,
    concurrency: float | None = None,
    memory_bytes: int = 10,
    following: Sequence[str] = (),
    pinned: bool = False,
    new: bool = False,
    held_on: Iterable[str] = (),
) -> ModelView:
    """`concurrency`: None where nobody asks for it."""
    return ModelView(
        name,
        "tenant",
        VersionView(active(name), memory_bytes, run_ms=10, load_ms=100),
        following=tuple(VersionView(version_id, memory_bytes) for version_id in following),
        pinned=pinned,
        new=new,
        held_on=tuple(held_on),
        demand=None if concurrency is None else ModelDemand(1.0, concurrency),
    )


def remembered(
    *,
    models: Mapping[str, ModelMemory] | None = None,
    age: float = 3600,
    since: float = 10,
    leaving: Mapping[str, float] | None = None,
) -> Memory:
    """That of a coordinator which began `age` seconds ago and ticked last `since` seconds ago."""
    return Memory(
        scaling=None,
        models=dict(models or {}),
        leaving=dict(leaving or {}),
        at=NOW - since,
        began_at=NOW - age,
        changes=100.0,
    )


def usage(
    *, ago: float = 0, peak: float = 0.1, copies: int = 1, unchanged: float = 3600, again: bool = False
) -> ModelMemory:
    """Of a model last used `ago` seconds before now, its copies `unchanged` for so many seconds."""
    used_at = NOW - ago
    return ModelMemory(
        peak=peak,
        used_at=used_at,
        used_before=used_at - 720 if again else used_at,
        copies=copies,
        since=NOW - unchanged,
        again_at=used_at if again else 0.0,
    )


def fleet(
    hosts: Iterable[HostView],
    models: Iterable[ModelView] = (),
    *,
    memory: Memory | None = None,
    capacity: CapacityView | None = None,
    concurrency: float = 1.0,
    demand_known: bool = True,
    jobs_waiting: int = 0,
) -> FleetState:
    """`concurrency`: of the whole fleet, in its one sample."""
    return FleetState(
        now=NOW,
        hosts=tuple(hosts),
        models=tuple(models),
        capacity=capacity,
        demand_known=demand_known,
        samples=(LoadSample(NOW - 1, float(concurrency)),),
        jobs_waiting=jobs_waiting,
        memory=memory,
    )


def applied(state: FleetState, plan: Plan) -> FleetState:
    """The same moment, with the plan carried out."""
    forgotten = {action.host_id for action in plan.actions if isinstance(action, ForgetHost)}
    told = {action.host_id: action.version_ids for action in plan.actions if isinstance(action, Assign)}
    capacity = state.capacity
    for action in plan.actions:
        if isinstance(action, SetCapacity):
            assert capacity is not None, "nobody is there to be told"
            running = capacity.running and tuple(one for one in capacity.running if one not in action.ending)
            capacity = CapacityView(action.hosts, running, action.ending)
    hosts = [
        msgspec.structs.replace(one, assigned=told.get(one.host_id, one.assigned))
        for one in state.hosts
        if one.host_id not in forgotten
    ]
    return msgspec.structs.replace(
        state, hosts=tuple(hosts), capacity=capacity, memory=plan.memory, samples=()
    )


def later(state: FleetState, seconds: float, *, concurrency: float = 1.0) -> FleetState:
    now = state.now + seconds
    return msgspec.structs.replace(state, now=now, samples=(LoadSample(now, float(concurrency)),))


def holders(state: FleetState) -> dict[str, tuple[str, ...]]:
    """Model id to the ids of the hosts that are assigned its active version, in order."""
    found: dict[str, list[str]] = {one.model_id: [] for one in state.models}
    for one in sorted(state.hosts, key=lambda one: one.host_id):
        for version_id in one.assigned:
            model_id = version_id.partition("/")[0]
            if model_id in found and version_id == active(model_id):
                found[model_id].append(one.host_id)
    return {model_id: tuple(hosts) for model_id, hosts in found.items()}
