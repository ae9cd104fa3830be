"""Which hosts go, and when they may be stopped."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, Plan, Policy, SetCapacity, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import CapacityView, FleetState, Freshness, HostView, Memory, ModelView
from tests.unit.coordinator.worlds import NOW, applied, fleet, holders, host, later, model, remembered, usage

ONE_HOST = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=1))
"""A ceiling is kept without waiting, so that the second host is one too many."""


def two_hosts(
    *models: ModelView, hosts: tuple[HostView, ...], memory: Memory | None = None, desired: int = 2
) -> FleetState:
    running = tuple(one.host_id for one in hosts)
    return fleet(
        hosts, models, memory=memory or remembered(), capacity=CapacityView(desired, running), concurrency=0
    )


def sizes(made: Plan) -> list[SetCapacity]:
    return [action for action in made.actions if isinstance(action, SetCapacity)]


def test_the_host_with_nothing_in_use_goes_and_at_once() -> None:
    hosts = (host("a", assigned=["idle"]), host("b", assigned=["busy"]))
    made = plan(two_hosts(model("busy", concurrency=1), model("idle"), hosts=hosts), ONE_HOST)
    assert sizes(made) == [SetCapacity(1, ("a",))]
    assert made.memory.ending == {"a": "boot-a"}
    assert not made.memory.leaving


def test_of_equals_the_one_with_fewest_bytes_goes() -> None:
    hosts = (host("a", assigned=["small"]), host("b", assigned=["large"]))
    models = (model("large", memory_bytes=100), model("small"))
    assert sizes(plan(two_hosts(*models, hosts=hosts), ONE_HOST)) == [SetCapacity(1, ("a",))]


def test_of_those_the_one_with_the_highest_id_goes() -> None:
    hosts = (host("a"), host("c"), host("b"))
    assert sizes(plan(two_hosts(hosts=hosts, desired=3), ONE_HOST)) == [SetCapacity(2, ("c",))]


def test_a_host_that_only_starts_goes_first() -> None:
    hosts = (host("a", state=HostState.LAUNCHING), host("b"))
    assert sizes(plan(two_hosts(hosts=hosts), ONE_HOST)) == [SetCapacity(1, ("a",))]


BUSY = (
    host("a", assigned=["one", "two", "three"]),
    host("b", assigned=["four"]),
)
USED = [model(name, concurrency=0.1) for name in ("one", "two", "three", "four")]


def test_what_is_in_use_is_copied_off_a_leaving_host_before_it_may_be_stopped() -> None:
    state = two_hosts(*USED, hosts=BUSY)
    made = plan(state, ONE_HOST)
    assert made.memory.leaving == {"b": NOW}
    assert sizes(made) == [], "it runs on for now"
    after = applied(state, made)
    assert holders(after)["four"] == ("a", "b")

    loading = later(after, 10)
    waiting = plan(loading, ONE_HOST)
    assert waiting.memory.leaving == {"b": NOW}
    assert sizes(waiting) == []

    warm = [msgspec.structs.replace(one, held_on=("a", "b")) for one in loading.models]
    done = plan(msgspec.structs.replace(loading, models=tuple(warm)), ONE_HOST)
    assert sizes(done) == [SetCapacity(1, ("b",))]
    assert done.memory.leaving == {}


def test_it_is_waited_for_two_minutes_and_no_longer() -> None:
    state = two_hosts(*USED, hosts=BUSY, memory=remembered(leaving={"b": NOW - 119}))
    assert sizes(plan(state, ONE_HOST)) == []
    assert sizes(plan(later(state, 1), ONE_HOST)) == [SetCapacity(1, ("b",))]


def test_a_leaving_host_is_told_nothing_and_gets_nothing() -> None:
    memory = remembered(leaving={"b": NOW - 10})
    state = two_hosts(*USED, model("new", new=True), hosts=BUSY, memory=memory)
    assigned = [action.host_id for action in plan(state, ONE_HOST).actions if isinstance(action, Assign)]
    assert assigned == ["a"]


def test_a_host_that_is_leaving_stays_when_it_is_needed_after_all() -> None:
    two = Policy(scaling=ScalingPolicy(hosts_min=2, hosts_max=2))
    made = plan(two_hosts(*USED, hosts=BUSY, memory=remembered(leaving={"b": NOW - 10})), two)
    assert made.memory.leaving == {}
    assert sizes(made) == []
    assert "b stays after all: it is needed." in [reason.text for reason in made.reasons]


def test_a_host_that_was_let_go_does_not_come_back_by_being_counted() -> None:
    two = Policy(scaling=ScalingPolicy(hosts_min=2, hosts_max=2))
    memory = msgspec.structs.replace(remembered(), ending={"b": "boot-b"})
    state = two_hosts(*USED, hosts=BUSY, memory=memory, desired=1)
    made = plan(state, two)
    assert sizes(made) == [SetCapacity(2, ("b",))], "another one is started"
    assert all(hosts != ("b",) for hosts in holders(applied(state, made)).values())


def test_hosts_that_nobody_asked_for_are_left_to_their_provider() -> None:
    hosts = (host("new"), host("newer", state=HostState.LAUNCHING), host("old"))
    made = plan(two_hosts(hosts=hosts, desired=1), ONE_HOST)
    assert (made.memory.leaving, made.memory.ending) == ({}, {})
    assert sizes(made) == []


def test_a_host_that_its_provider_stops_gets_nothing() -> None:
    capacity = CapacityView(1, ("a",), leaving=("b",))
    state = fleet(BUSY, USED, memory=remembered(), capacity=capacity, concurrency=0)
    assert set(holders(applied(state, plan(state, ONE_HOST))).values()) == {("a",), ("a", "b")}


def test_the_last_host_goes_when_nobody_asks_for_anything() -> None:
    none = Policy(scaling=ScalingPolicy(hosts_min=0, hosts_max=0))
    hosts = (host("a", assigned=["m"]),)
    made = plan(two_hosts(model("m"), hosts=hosts, desired=1), none)
    assert sizes(made) == [SetCapacity(0, ("a",))]
    assert "a may be stopped: no host is needed." in [reason.text for reason in made.reasons]


def test_a_new_process_under_the_name_of_one_let_go_is_a_new_host() -> None:
    two = Policy(scaling=ScalingPolicy(hosts_min=2, hosts_max=2))
    memory = msgspec.structs.replace(remembered(), ending={"b": "boot-before"})
    made = plan(two_hosts(*USED, hosts=BUSY, memory=memory), two)
    assert made.memory.ending == {}
    assert sizes(made) == []


def test_nobody_leaves_while_it_is_not_known_what_there_is_to_do() -> None:
    state = msgspec.structs.replace(two_hosts(*USED, hosts=BUSY), demand_known=False)
    assert plan(state, ONE_HOST).memory.leaving == {}


def test_nobody_leaves_while_no_host_is_heard_of() -> None:
    silent = tuple(msgspec.structs.replace(one, freshness=Freshness.SUSPECT) for one in BUSY)
    made = plan(two_hosts(*USED, hosts=silent), ONE_HOST)
    assert (made.actions, made.memory.leaving) == ((), {})
    assert "no host is heard of, so no host goes" in made.reasons[0].text


@pytest.mark.parametrize("age", [0, 299])
def test_nobody_leaves_while_little_is_known_of_the_past(age: float) -> None:
    made = plan(two_hosts(*USED, hosts=BUSY, memory=remembered(age=age)), ONE_HOST)
    assert made.memory.leaving == {}
    assert sizes(made) == []
    assert "no host goes" in made.reasons[0].text


def test_without_a_word_of_who_stops_hosts_those_that_were_leaving_stay_in_the_end() -> None:
    state = fleet(BUSY, USED, memory=remembered(leaving={"b": NOW}))
    made = plan(state, ONE_HOST)
    assert made.memory.leaving == {"b": NOW}
    assert sizes(made) == []
    assert plan(later(state, 301), ONE_HOST).memory.leaving == {}


def test_every_busy_model_is_elsewhere_when_most_of_a_fleet_leaves() -> None:
    names = [f"m{number}" for number in range(12)]
    hosts = tuple(host(f"h{at}", assigned=names[3 * at : 3 * at + 3]) for at in range(4))
    models = [model(name, concurrency=0.05) for name in names]
    state = two_hosts(*models, hosts=hosts, desired=4, memory=remembered(models={"m0": usage()}))
    made = plan(state, ONE_HOST)
    assert len(made.memory.leaving) == 2, "at most half of the fleet at a time"
    staying = {one.host_id for one in hosts} - made.memory.leaving.keys()
    assert all(staying.intersection(held) for held in holders(applied(state, made)).values())


def test_a_host_does_not_go_while_those_that_stay_only_start() -> None:
    hosts = (host("a", assigned=["m"]), host("b", state=HostState.LAUNCHING))
    leaving = remembered(leaving={"a": NOW - 10})
    made = plan(two_hosts(model("m", concurrency=1), hosts=hosts, memory=leaving), ONE_HOST)
    assert sizes(made) == []
    assert made.memory.leaving == {"a": NOW - 10}


def test_a_host_nobody_asked_for_goes_when_its_provider_has_had_time_to_end_it() -> None:
    """One that was forgotten and is back, say, while the fleet was told to have one less."""
    hosts = (host("a"), host("b"), host("c"))
    state = two_hosts(hosts=hosts, desired=1, memory=remembered())
    seen = []
    for _ in range(100):
        made = plan(state, ONE_HOST)
        seen += [(state.now - NOW, action) for action in sizes(made)]
        running = tuple(one for one in "abc" if one not in made.memory.ending)
        state = later(applied(state, made), 10, concurrency=0)
        state = msgspec.structs.replace(
            state,
            hosts=tuple(one for one in state.hosts if one.host_id in running),
            capacity=CapacityView(seen[-1][1].hosts if seen else 1, running),
        )
    assert [action.hosts for _, action in seen][-1] == 1
    assert len(state.hosts) == 1
    assert min(at for at, _ in seen) >= ONE_HOST.placement.beyond_seconds_max
    assert state.memory is not None and state.memory.beyond_since is None
