"""What the coordinator decides of the fleet as a whole; models are in `test_placement`, leaving hosts in
`test_leaving`, and what may never happen in `test_properties`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, ForgetHost, Plan, Policy, SetCapacity, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import CapacityView, FleetState, Freshness, Memory, ModelDemand
from tests.unit.coordinator.worlds import NOW, POLICY, applied, fleet, host, later, model, remembered, usage

DEAD = Freshness.DEAD
ZERO = Policy(scaling=ScalingPolicy(hosts_min=0, hosts_max=3))
REPOSITORY = Path(__file__).resolve().parents[3]


def size(made: Plan) -> int | None:
    found = [action.hosts for action in made.actions if isinstance(action, SetCapacity)]
    return found[0] if found else None


def forgotten(made: Plan) -> list[str]:
    return [action.host_id for action in made.actions if isinstance(action, ForgetHost)]


def test_a_dead_host_is_forgotten_and_its_models_go_elsewhere() -> None:
    state = fleet([host("a"), host("b", assigned=["m"], freshness=DEAD)], [model("m", concurrency=0.1)])
    made = plan(state, POLICY)
    assert made.actions == (ForgetHost("b", "boot-b"), Assign("a", ("m/1",)))
    said = [reason.text for reason in made.reasons]
    assert "Model m gets a copy on a: it is asked for and had none." in said
    assert "b has been silent for more than 15 seconds; it is forgotten." in said


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        pytest.param(None, [], id="its provider does not say"),
        pytest.param(("a", "b"), [], id="it is said to run"),
        pytest.param(("a",), ["b"], id="it is said to be gone"),
    ],
)
def test_where_no_host_is_heard_of_only_those_known_to_be_gone_are_forgotten(
    running: tuple[str, ...] | None, expected: list[str]
) -> None:
    hosts = [host("a", freshness=Freshness.SUSPECT), host("b", assigned=["m"], freshness=DEAD)]
    made = plan(fleet(hosts, [model("m")], capacity=CapacityView(2, running)), POLICY)
    assert forgotten(made) == expected
    assert not any(isinstance(action, Assign) for action in made.actions)


@pytest.mark.parametrize("state", [HostState.LAUNCHING, HostState.DRAINING])
def test_only_hosts_that_serve_are_told_what_to_hold(state: HostState) -> None:
    hosts = [host("a"), host("b", assigned=["m"], state=state)]
    made = plan(fleet(hosts, [model("m", concurrency=0.1)]), POLICY)
    assert made.actions == (Assign("a", ("m/1",)),)
    assert "Model m gets a copy on a: it is asked for and had none." in [one.text for one in made.reasons]


def test_without_any_host_and_provider_nothing_is_done() -> None:
    assert plan(fleet([], [model("m")]), POLICY).actions == ()


@pytest.mark.parametrize(
    ("models", "jobs", "policy", "expected"),
    [
        pytest.param([], 0, ZERO, None, id="nothing to do"),
        pytest.param([model("m")], 0, ZERO, None, id="nobody asks"),
        pytest.param([model("m", concurrency=0.0)], 0, ZERO, 1, id="somebody asks"),
        pytest.param([model("m", pinned=True)], 0, ZERO, 1, id="a model is pinned"),
        pytest.param([], 1, ZERO, 1, id="a version is to be prepared"),
        pytest.param([], 0, POLICY, 1, id="there is a floor"),
    ],
)
def test_the_first_host_is_started_for_a_reason(
    models: list[object], jobs: int, policy: Policy, expected: int | None
) -> None:
    views = tuple(one for one in models if one)
    state = fleet([], views, jobs_waiting=jobs, capacity=CapacityView(0, ()), concurrency=0)  # type: ignore[arg-type]
    assert size(plan(state, policy)) == expected


def test_the_first_host_is_not_asked_for_twice() -> None:
    state = fleet([], [model("m", concurrency=0.1)], capacity=CapacityView(1, ("h",)), concurrency=0)
    assert size(plan(state, ZERO)) is None


def test_a_host_that_was_started_for_a_job_does_not_go_as_soon_as_it_has_taken_it() -> None:
    empty = fleet([], jobs_waiting=1, capacity=CapacityView(0, ()), concurrency=0, memory=remembered())
    asked = applied(empty, plan(empty, ZERO))
    assert asked.capacity is not None
    serving = msgspec.structs.replace(
        asked, hosts=(host("a"),), jobs_waiting=0, capacity=CapacityView(1, ("a",))
    )
    for _ in range(29):
        serving = later(serving, 10, concurrency=0)
        made = plan(serving, ZERO)
        assert size(made) is None
        serving = applied(serving, made)
    for _ in range(10):
        serving = later(serving, 10, concurrency=0)
        made = plan(serving, ZERO)
        if size(made) == 0:
            return
        serving = applied(serving, made)
    raise AssertionError("it goes in the end")


def test_more_load_asks_for_more_hosts_at_once() -> None:
    state = fleet([host("a")], capacity=CapacityView(1, ("a",)), concurrency=8)
    made = plan(state, POLICY)
    assert size(made) == 3
    assert made.reasons[0].subject == "fleet"
    assert made.reasons[0].text.startswith("3 hosts: 8.0 requests in flight")


@pytest.mark.parametrize(
    ("ago", "pinned", "expected"),
    [
        pytest.param(599, False, 2, id="lately"),
        pytest.param(601, False, None, id="not for ten minutes"),
        pytest.param(601, True, 2, id="pinned"),
    ],
)
def test_models_in_use_need_hosts_that_can_hold_them(ago: float, pinned: bool, expected: int | None) -> None:
    """At most four fifths of a host are planned for them."""
    models = [model(name, memory_bytes=500, pinned=pinned) for name in "xy"]
    memory = remembered(models={name: usage(ago=ago) for name in "xy"})
    state = fleet([host("a")], models, memory=memory, capacity=CapacityView(1, ("a",)))
    assert size(plan(state, POLICY)) == expected


def test_a_model_that_no_host_can_hold_does_not_buy_a_fleet() -> None:
    huge = model("huge", memory_bytes=50_000, pinned=True)
    state = fleet([host("a")], [huge], capacity=CapacityView(1, ("a",)), concurrency=0)
    assert size(plan(state, POLICY)) == 2


def test_where_nobody_starts_hosts_the_fleet_is_left_as_it_is() -> None:
    made = plan(fleet([host("a"), host("b")], concurrency=90, memory=remembered()), POLICY)
    assert not any(isinstance(action, SetCapacity) for action in made.actions)
    assert made.reasons[0].text.startswith("2 hosts, left as they are")


def test_a_host_that_never_registers_is_reported_and_not_made_up_for() -> None:
    state = fleet([host("a")], capacity=CapacityView(2, ("a", "late")), concurrency=5, memory=remembered())
    first = plan(state, POLICY)
    waiting = later(applied(state, first), 59, concurrency=5)
    assert not any(reason.subject == "late" for reason in plan(waiting, POLICY).reasons)
    overdue = plan(later(waiting, 2, concurrency=5), POLICY)
    [reason] = [reason.text for reason in overdue.reasons if reason.subject == "late"]
    assert reason.startswith("late is said to run, and has not registered for 61 seconds")
    assert size(overdue) is None


def test_the_most_recently_used_models_are_remembered_when_there_are_too_many() -> None:
    few = msgspec.structs.replace(POLICY.placement, models_remembered_max=2)
    uses = {"a": usage(ago=30), "b": usage(ago=20), "c": usage(ago=10)}
    state = fleet([host("h")], [model(name) for name in "abc"], memory=remembered(models=uses))
    made = plan(state, msgspec.structs.replace(POLICY, placement=few))
    assert list(made.memory.models) == ["b", "c"]


def test_a_clock_that_went_back_is_a_memory_lost() -> None:
    memory = msgspec.structs.replace(
        remembered(leaving={"a": NOW + 10}), at=NOW + 3600, ending={"b": "boot-b"}, slots_per_host=8.0
    )
    made = plan(fleet([], memory=memory), POLICY)
    assert made.memory.began_at == NOW
    assert made.memory.leaving == {}
    assert made.memory.slots_per_host == 8.0


def busy_world() -> FleetState:
    hosts = [host(f"h{at}", assigned=[f"m{at}", f"m{at + 1}"]) for at in range(9)]
    hosts[4] = msgspec.structs.replace(hosts[4], freshness=DEAD)
    models = [
        model(f"m{at}", concurrency=0.3 * at if at % 3 else None, memory_bytes=30 * at, new=at == 7)
        for at in range(40)
    ]
    uses = {f"m{at}": usage(ago=100 * at, again=at % 2 == 0) for at in range(0, 40, 4)}
    memory: Memory = remembered(models=uses, leaving={"h1": NOW - 20})
    return fleet(hosts, models, memory=memory, capacity=CapacityView(9), concurrency=20)


def test_a_recorded_tick_is_planned_again_bit_for_bit_in_another_process() -> None:
    """String hashes differ between processes, and so does the order of sets."""
    recorded = msgspec.msgpack.encode(busy_world())
    script = (
        "import sys, msgspec\n"
        "from chalicelib.coordinator.planner import plan\n"
        "from chalicelib.coordinator.state import FleetState\n"
        "from tests.unit.coordinator.worlds import POLICY\n"
        "state = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=FleetState)\n"
        "sys.stdout.buffer.write(msgspec.msgpack.encode(plan(state, POLICY)))\n"
    )
    replayed = [
        subprocess.run(
            [sys.executable, "-c", script],
            input=recorded,
            capture_output=True,
            check=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    made = plan(busy_world(), POLICY)
    assert len(made.actions) > 5
    assert replayed == [msgspec.msgpack.encode(made)] * 2
    read = msgspec.msgpack.decode(replayed[0], type=Plan)
    assert (read, msgspec.msgpack.encode(read)) == (made, replayed[0])


def test_an_operator_may_set_one_number_and_no_other_name() -> None:
    policy = msgspec.json.decode(b'{"scaling": {"hosts_min": 2, "hosts_max": 3}}', type=Policy)
    assert (policy.scaling.hosts_min, policy.scaling.hosts_max) == (2, 3)
    assert policy.placement == POLICY.placement
    for wrong in (
        b'{"placement": {"utilization": 0.5}}',
        b'{"hosts": 3}',
        b'{"placement": {"utilisation": 0}}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Policy)


def test_callers_who_find_no_host_ask_for_one_and_no_more_while_it_starts() -> None:
    policy = Policy(scaling=ScalingPolicy(hosts_min=0, hosts_max=8))
    waiting = msgspec.structs.replace(model("m"), demand=ModelDemand(0.0, 0.0, unmet_per_second=100.0))
    state = fleet([], [waiting], concurrency=0, capacity=CapacityView(0, ()), memory=remembered())
    asked = []
    for _ in range(20):
        made = plan(state, policy)
        asked += [action.hosts for action in made.actions if isinstance(action, SetCapacity)]
        state = later(applied(state, made), 10, concurrency=0)
    assert asked == [1]
