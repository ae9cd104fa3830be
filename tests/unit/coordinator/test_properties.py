"""What no plan may do, whatever happened before: a small world in which anything happens in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, ForgetHost, Plan, Policy, SetCapacity, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelDemand,
    ModelView,
    VersionView,
)
from chalicelib.coordinator.windows import LoadSample
from tests.unit.coordinator.worlds import NOW, active, applied, holders, host, model

HOSTS_MAX = 5
POLICY = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=HOSTS_MAX))
PLACEMENT = POLICY.placement
MODELS_MAX = 12


class World(RuleBasedStateMachine):
    """Hosts and their provider, models and their callers, and what the coordinator remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.hosts: dict[str, HostView] = {}
        self.models: dict[str, ModelView] = {}
        self.ready: dict[str, set[str]] = {}
        self.memory: Memory | None = None
        self.desired = 0
        self.stopping: tuple[str, ...] = ()
        self.names = 0

    # What happens.

    @initialize(hosts=st.integers(0, 4), models=st.integers(0, 6))
    def begin(self, hosts: int, models: int) -> None:
        self.desired = hosts
        for _ in range(hosts):
            self.boot()
        for _ in range(models):
            self.upload(memory_bytes=10)

    @precondition(lambda self: len(self._running()) < self.desired)
    @rule()
    def boot(self) -> None:
        self.names += 1
        name = f"host-{self.names}"
        self.hosts[name] = host(name, memory_bytes_max=100)

    @precondition(lambda self: self.stopping)
    @rule()
    def stop(self) -> None:
        for name in self.stopping:
            self.hosts.pop(name, None)
        self.stopping = ()

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), freshness=st.sampled_from(Freshness))
    def silence(self, data: st.DataObject, freshness: Freshness) -> None:
        name = data.draw(st.sampled_from(sorted(self.hosts)))
        self.hosts[name] = msgspec.structs.replace(self.hosts[name], freshness=freshness)

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), state=st.sampled_from(HostState))
    def turn(self, data: st.DataObject, state: HostState) -> None:
        """A host starts again, or is told by somebody else to stop."""
        name = data.draw(st.sampled_from(sorted(self.hosts)))
        self.hosts[name] = msgspec.structs.replace(self.hosts[name], state=state)

    @precondition(lambda self: len(self.models) < MODELS_MAX)
    @rule(memory_bytes=st.sampled_from([1, 10, 30, 80]))
    def upload(self, memory_bytes: int) -> None:
        self.names += 1
        name = f"model-{self.names}"
        self.models[name] = model(name, memory_bytes=memory_bytes, new=True)

    @precondition(lambda self: self.models)
    @rule(data=st.data(), change=st.sampled_from(["idle", "busy", "used", "pin", "unpin", "old", "follow"]))
    def change(self, data: st.DataObject, change: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.models)))
        changed = self.models[name]
        options: dict[str, dict[str, Any]] = {
            "idle": {"demand": None, "new": False},
            "used": {"demand": ModelDemand(1.0, data.draw(st.sampled_from([0.0, 0.1, 1.0])))},
            "busy": {"demand": ModelDemand(9.0, data.draw(st.sampled_from([3.0, 6.0, 30.0])), 1.0)},
            "pin": {"pinned": True},
            "unpin": {"pinned": False},
            "old": {"new": False},
            "follow": {"following": () if changed.following else (VersionView(f"{name}/2", 10),)},
        }
        self.models[name] = msgspec.structs.replace(changed, **options[change])

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        del self.models[data.draw(st.sampled_from(sorted(self.models)))]

    @rule()
    def load(self) -> None:
        """Hosts hold what they are told to."""
        self.ready = {one.host_id: set(one.assigned) for one in self.hosts.values()}

    @rule()
    def flush(self) -> None:
        self.memory = None

    @rule()
    def flush_all(self) -> None:
        self.memory = None
        self.hosts = {
            name: msgspec.structs.replace(one, assigned=())
            for name, one in self.hosts.items()
            if one.freshness is not Freshness.DEAD
        }

    @rule(seconds=st.sampled_from([0.5, 10, 60, 600, 2000]), ticks=st.integers(1, 4))
    def pass_time(self, seconds: float, ticks: int) -> None:
        for _ in range(ticks):
            self.now += seconds
            self.tick(demand_known=True, answers=True)

    @rule(demand_known=st.booleans(), answers=st.booleans())
    def tick(self, demand_known: bool, answers: bool) -> None:
        self.now += 1
        state = self._state(demand_known=demand_known, answers=answers)
        made = plan(state, POLICY)
        after = applied(state, made)
        check(state, made, after)
        self.hosts = {one.host_id: one for one in after.hosts}
        self.memory = made.memory
        if after.capacity is not None:
            self.desired, self.stopping = after.capacity.desired, after.capacity.leaving

    # What is seen of it.

    def _running(self) -> list[str]:
        return sorted(set(self.hosts).difference(self.stopping))

    def _state(self, *, demand_known: bool, answers: bool) -> FleetState:
        leaving = self.memory.leaving if self.memory else {}
        models = []
        for one in self.models.values():
            held_on = [name for name, held in sorted(self.ready.items()) if one.active.version_id in held]
            told = one.following or leaving
            models.append(msgspec.structs.replace(one, held_on=tuple(held_on) if told else ()))
        load = sum(one.demand.concurrency for one in models if one.demand)
        return FleetState(
            now=self.now,
            hosts=tuple(self.hosts.values()),
            models=tuple(models),
            capacity=CapacityView(self.desired, tuple(self._running()), self.stopping) if answers else None,
            demand_known=demand_known,
            samples=(LoadSample(self.now, load),) if demand_known else (),
            memory=self.memory,
        )


def check(state: FleetState, made: Plan, after: FleetState) -> None:
    settled(state, made, after)
    served(made, after)
    careful(state, made, after)
    sticky(state, made, after)
    bounded(state, made, after)
    orderly(state, made)


def settled(state: FleetState, made: Plan, after: FleetState) -> None:
    """Planning again changes nothing, the order in which things are listed neither."""
    again = plan(after, POLICY)
    assert again.actions == ()
    assert again.memory == made.memory
    mirrored = msgspec.structs.replace(state, hosts=state.hosts[::-1], models=state.models[::-1])
    assert msgspec.msgpack.encode(plan(mirrored, POLICY)) == msgspec.msgpack.encode(made)


def serving(made: Plan, state: FleetState) -> list[HostView]:
    """Hosts that serve and will."""
    told = state.capacity.leaving if state.capacity else ()
    gone = {*made.memory.leaving, *made.memory.ending, *told}
    return [
        one
        for one in state.hosts
        if one.state is HostState.READY and one.freshness is not Freshness.DEAD and one.host_id not in gone
    ]


def open_hosts(made: Plan, state: FleetState) -> list[HostView]:
    """Of these, those that can be told something."""
    return [one for one in serving(made, state) if one.freshness is Freshness.FRESH]


def served(made: Plan, after: FleetState) -> None:
    """No model that is asked for, pinned, new or about to change is without a host, if there is one."""
    if not open_hosts(made, after):
        return
    staying = {one.host_id for one in serving(made, after)}
    for one in after.models:
        if one.demand or one.pinned or one.new or one.following:
            assert staying.intersection(holders(after)[one.model_id]), f"{one.model_id} has no host"
        for version in one.following:
            told = [other.host_id for other in after.hosts if version.version_id in other.assigned]
            fresh = {other.host_id for other in open_hosts(made, after)}
            assert fresh.intersection(holders(after)[one.model_id]) <= set(told)


def careful(state: FleetState, made: Plan, after: FleetState) -> None:
    """Nothing goes while it is not known what there is to do."""
    heard = any(one.freshness is Freshness.FRESH for one in state.hosts)
    young = state.memory is None or state.now - state.memory.began_at < PLACEMENT.hold_seconds
    if not heard:
        assert not any(isinstance(action, Assign) for action in made.actions)
    if state.demand_known and heard and not young and state.capacity is not None:
        return
    before = state.memory.leaving if state.memory else {}
    assert made.memory.leaving.keys() <= before.keys()
    if state.capacity is None:
        assert not any(isinstance(action, SetCapacity) for action in made.actions)
    elif after.capacity is not None and state.hosts:
        assert after.capacity.desired >= min(state.capacity.desired, HOSTS_MAX)
    if state.demand_known and heard and not young:
        return
    held = holders(after)
    for model_id, hosts in holders(state).items():
        known = {one.host_id for one in after.hosts}
        assert known.intersection(hosts) <= set(held[model_id]), "a copy went"


def sticky(state: FleetState, made: Plan, after: FleetState) -> None:
    """A copy goes from a full host, or where there are more than two; for no other reason."""
    hosts = {one.host_id: one for one in open_hosts(made, after)}
    held = {one.host_id: one for one in state.hosts}
    sizes = {
        one.active.version_id: one.active.memory_bytes + sum(other.memory_bytes for other in one.following)
        for one in state.models
    }
    added = {name: set(hosts[name].assigned).difference(held[name].assigned) for name in hosts}
    now = holders(after)
    for model_id, before in holders(state).items():
        for name in set(before).intersection(hosts).difference(now[model_id]):
            version_ids = {*held[name].assigned, *added[name]}
            full = (
                sum(sizes.get(one, 0) for one in version_ids) > PLACEMENT.full * hosts[name].memory_bytes_max
            )
            assert full or len(before) > PLACEMENT.copies_plentiful, f"{model_id} left {name}"
            if not full:
                assert len(now[model_id]) >= PLACEMENT.copies_plentiful


def bounded(state: FleetState, made: Plan, after: FleetState) -> None:
    """Few copies come or go at a time, first ones aside, and few hosts."""
    hosts = serving(made, after)
    before, now = holders(state), holders(after)
    names = {one.host_id for one in hosts}
    changed = 0
    for model_id, held in now.items():
        had = names.intersection(before[model_id])
        has = names.intersection(held)
        first = int(not had and bool(has))
        changed += len(had ^ has) - first
    assert changed <= max(PLACEMENT.changes_min, PLACEMENT.changes_ratio * len(hosts))
    if after.capacity is not None and state.capacity is not None:
        assert after.capacity.desired <= max(HOSTS_MAX, state.capacity.desired)
        assert after.capacity.desired >= math.floor(state.capacity.desired / 2)


def orderly(state: FleetState, made: Plan) -> None:
    """Only hosts that are heard and stay are told what to hold; only the dead are forgotten; no host is
    stopped before what is in use there is ready elsewhere, or two minutes have passed."""
    hosts = {one.host_id: one for one in state.hosts}
    ready = {one.host_id for one in open_hosts(made, state)}
    for action in made.actions:
        if isinstance(action, Assign):
            assert action.host_id in ready
        if isinstance(action, ForgetHost):
            assert hosts[action.host_id].freshness is Freshness.DEAD
    before = state.memory or made.memory
    for host_id in made.memory.ending.keys() - before.ending.keys():
        if state.now - before.leaving.get(host_id, state.now) < PLACEMENT.leave_seconds_max:
            assert not _only_there(hosts[host_id], serving(made, state), state.models)


def _only_there(one: HostView, others: Sequence[HostView], models: Sequence[ModelView]) -> list[str]:
    """Models that are asked for now and ready on none of the others."""
    names = {other.host_id for other in others}
    return [
        held.model_id
        for held in models
        if held.demand and active(held.model_id) in one.assigned and not names.intersection(held.held_on)
    ]


World.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestWorld = World.TestCase
