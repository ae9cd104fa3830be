"""What the coordinator decides."""

from __future__ import annotations

from typing import TypeGuard

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.messages import Heartbeat
from chalicelib.coordinator.placement import place
from chalicelib.coordinator.planner import Assign, ForgetHost, Policy, plan
from chalicelib.coordinator.state import FleetState, ModelState
from tests.unit.test_choice import NOW, host

POLICY = Policy(replicas_per_model=2, host_dead_seconds=15)
names = st.lists(st.uuids().map(str), max_size=8, unique=True)


def fleet(hosts: list[Heartbeat], models: list[str]) -> FleetState:
    return FleetState(
        now=NOW, hosts=tuple(hosts), models=tuple(ModelState(name, f"version of {name}") for name in models)
    )


@given(names, names)
def test_every_model_is_on_as_many_hosts_as_wanted(hosts: list[str], models: list[str]) -> None:
    actions = plan(fleet([host(name) for name in hosts], models), POLICY)
    held = [version for action in actions if isinstance(action, Assign) for version in action.version_ids]
    copies = min(len(hosts), POLICY.replicas_per_model)
    assert sorted(held) == sorted(f"version of {name}" for name in models for _ in range(copies))


@given(names, names)
def test_planning_twice_gives_the_same_plan(hosts: list[str], models: list[str]) -> None:
    beats = [host(name) for name in hosts]
    assert plan(fleet(beats, models), POLICY) == plan(fleet(beats[::-1], models[::-1]), POLICY)


def test_a_dead_host_is_forgotten_and_holds_nothing() -> None:
    actions = plan(fleet([host("a"), host("b", age=16)], ["m"]), POLICY)
    assert actions == (ForgetHost("b", "boot-b"), Assign("a", ("version of m",)))


def test_a_suspect_host_is_neither_forgotten_nor_given_anything() -> None:
    assert plan(fleet([host("a"), host("b", age=6)], ["m"]), POLICY) == (Assign("a", ("version of m",)),)


def test_without_any_heartbeat_nothing_is_touched() -> None:
    assert plan(fleet([], ["m"]), POLICY) == ()


@given(names, st.uuids().map(str), names)
def test_a_new_host_moves_no_model_between_the_others(
    hosts: list[str], newcomer: str, models: list[str]
) -> None:
    states = [ModelState(name, name) for name in models]
    before = place(states, hosts, replicas_per_model=2)
    after = place(states, [*hosts, newcomer], replicas_per_model=2)
    for host_id in hosts:
        assert set(after[host_id]) <= set(before[host_id])


def test_what_follows_the_active_version_goes_to_where_that_is_held_as_well() -> None:
    hosts = [host(name) for name in "abcdef"]
    shard = {action.host_id for action in plan(fleet(hosts, ["m"]), POLICY) if assigned(action)}
    [elsewhere, *_] = sorted({one.host_id for one in hosts} - shard)
    model = ModelState("m", "old", ("new",), frozenset({elsewhere, "gone"}))
    actions = plan(FleetState(now=NOW, hosts=tuple(hosts), models=(model,)), POLICY)
    held = {action.host_id: action.version_ids for action in actions if assigned(action)}
    assert held == {name: ("new", "old") for name in shard} | {elsewhere: ("new",)}


def assigned(action: object) -> TypeGuard[Assign]:
    return isinstance(action, Assign) and bool(action.version_ids)
