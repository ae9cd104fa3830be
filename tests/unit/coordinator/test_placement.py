"""Which hosts get and lose which models, and why."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.coordinator.planner import Plan, plan
from chalicelib.coordinator.state import FleetState, Freshness, ModelMemory, ModelView
from tests.unit.coordinator.worlds import (
    NOW,
    POLICY,
    SLOTS,
    active,
    applied,
    fleet,
    holders,
    host,
    later,
    model,
    remembered,
    usage,
)

HOSTS = [host(name) for name in "abcd"]


def names(count: int) -> list[str]:
    return [str(uuid.UUID(int=seed * 7919)) for seed in range(count)]


def carried_on(state: FleetState, *, ticks: int) -> FleetState:
    """After so many ticks, ten seconds apart, in which everybody is asked for as before."""
    for _ in range(ticks):
        state = later(applied(state, plan(state, POLICY)), 10)
    return state


def held(state: FleetState) -> dict[str, tuple[str, ...]]:
    """Who holds what after one tick."""
    return holders(applied(state, plan(state, POLICY)))


def told(made: Plan, subject: str) -> str:
    [text] = [reason.text for reason in made.reasons if reason.subject == subject]
    return text


def test_all_models_in_use_have_a_copy_after_one_tick_however_many() -> None:
    state = fleet(HOSTS, [model(name, concurrency=0.01, memory_bytes=1) for name in names(500)])
    assert all(held(state).values())


def test_idle_models_get_copies_a_few_at_a_time() -> None:
    state = fleet(HOSTS, [model(name) for name in names(6)])
    assert sum(map(len, held(state).values())) == 2
    settled = carried_on(state, ticks=12)
    assert all(len(hosts) == 2 for hosts in holders(settled).values())
    assert plan(settled, POLICY).actions == ()


def test_idle_models_get_none_when_memory_is_short() -> None:
    busy = model("busy", concurrency=1, memory_bytes=2_900)
    assert held(fleet(HOSTS, [busy, model("idle")]))["idle"] == ()


def test_a_busy_model_that_fits_nowhere_is_placed_nonetheless() -> None:
    assert held(fleet(HOSTS, [model("huge", concurrency=1, memory_bytes=10_000)]))["huge"]


def test_what_is_in_use_goes_where_there_is_room() -> None:
    hosts = [host(name, assigned=["filling"] if name != "c" else []) for name in "abcd"]
    filling = model("filling", memory_bytes=890, concurrency=1)
    state = fleet(hosts, [filling, *(model(name, concurrency=0.1, memory_bytes=80) for name in names(8))])
    after = held(state)
    assert {after[name][0] for name in names(8)} == {"c"}


def test_nothing_more_goes_to_a_host_with_more_than_its_share_of_the_load() -> None:
    hosts = [host("a", assigned=["hot"]), *(host(name) for name in "bcd")]
    others = [model(name, concurrency=0.01, memory_bytes=1) for name in names(16)]
    after = held(fleet(hosts, [model("hot", concurrency=2.7), *others], memory=remembered()))
    assert after.pop("hot")[0] == "a"
    assert not any("a" in shard for shard in after.values())


def test_a_copy_stays_when_hosts_come_and_go() -> None:
    before = carried_on(fleet(HOSTS, [model(name, concurrency=0.1) for name in names(12)]), ticks=20)
    joined = msgspec.structs.replace(before, hosts=(*before.hosts, host("0"), host("z")))
    assert holders(carried_on(joined, ticks=5)) == holders(before)
    dead = msgspec.structs.replace(before.hosts[0], freshness=Freshness.DEAD)
    lost = msgspec.structs.replace(before, hosts=(dead, *before.hosts[1:]))
    after = holders(carried_on(lost, ticks=20))
    for name, hosts in holders(before).items():
        assert set(hosts) - {dead.host_id} <= set(after[name])
        assert len(after[name]) == 2


@pytest.mark.parametrize("freshness", [Freshness.SUSPECT, Freshness.DEAD])
def test_only_hosts_heard_of_lately_get_anything(freshness: Freshness) -> None:
    hosts = [host("a"), host("b", freshness=freshness), host("c", freshness=freshness)]
    state = fleet(hosts, [model(name, concurrency=0.1) for name in names(8)])
    assert set(held(state).values()) == {("a",)}


def test_copies_on_a_suspect_host_count() -> None:
    hosts = [host("a"), host("b", assigned=["m"], freshness=Freshness.SUSPECT)]
    state = fleet(hosts, [model("m", concurrency=0.1, memory_bytes=800)], memory=remembered())
    assert held(state)["m"] == ("b",)


def test_a_model_gets_as_many_copies_as_its_load_needs_and_a_few_at_a_time() -> None:
    state = fleet([host(name) for name in "abcdef"], [model("hot", concurrency=14)])
    assert len(held(state)["hot"]) == 3, "the first one and two more"
    assert len(holders(carried_on(state, ticks=3))["hot"]) == 5


def shrinking(uses: ModelMemory, *, concurrency: float | None) -> tuple[int, str]:
    """Copies of a model that has five, after one tick, and what was said of it."""
    hosts = [host(name, assigned=["m"]) for name in "abcde"]
    view = model("m", concurrency=concurrency)
    state = fleet(hosts, [view], memory=remembered(models={"m": uses}))
    made = plan(state, POLICY)
    said = [reason.text for reason in made.reasons if reason.subject == "m"]
    return len(holders(applied(state, made))["m"]), " ".join(said)


@pytest.mark.parametrize(
    ("concurrency", "unchanged", "expected"),
    [
        pytest.param(11.0, 3600, 5, id="four would carry it, and be busy"),
        pytest.param(7.5, 3600, 5, id="three would carry it, four would be less than two thirds busy"),
        pytest.param(7.3, 3600, 4, id="four are enough"),
        pytest.param(7.3, 1799, 5, id="too soon"),
        pytest.param(1.0, 3600, 3, id="at most two at a time"),
    ],
)
def test_copies_go_when_the_others_are_not_busy_and_half_an_hour_passed(
    concurrency: float, unchanged: float, expected: int
) -> None:
    uses = usage(peak=concurrency, copies=5, unchanged=unchanged)
    assert shrinking(uses, concurrency=concurrency)[0] == expected


def test_a_model_has_two_copies_in_the_end_while_there_is_memory() -> None:
    hosts = [host(name, assigned=["m"]) for name in "abcde"]
    state = fleet(hosts, [model("m")], memory=remembered())
    assert len(holders(carried_on(state, ticks=6))["m"]) == 2


def test_a_full_host_loses_what_was_used_least_recently() -> None:
    models = ["never", "old", "older", "now"]
    uses = {"old": usage(ago=2000), "older": usage(ago=3000), "now": usage()}
    state = fleet(
        [host("a", assigned=models, memory_bytes_max=100)],
        [model(name, memory_bytes=35) for name in models],
        memory=remembered(models=uses),
    )
    assert {name for name, hosts in held(state).items() if hosts} == {"old", "now"}


@pytest.mark.parametrize(
    ("known", "age", "expected"),
    [
        pytest.param(True, 300, 2, id="known"),
        pytest.param(False, 300, 3, id="not known"),
        pytest.param(True, 299, 3, id="known for too short a time"),
    ],
)
def test_nothing_is_dropped_while_it_is_not_known_what_there_is_to_do(
    known: bool, age: float, expected: int
) -> None:
    full = host("a", assigned="xyz", memory_bytes_max=100)
    models = [model(name, memory_bytes=32) for name in "xyz"]
    state = fleet([full], models, memory=remembered(age=age), demand_known=known)
    assert sum(map(len, held(state).values())) == expected


def test_what_is_in_use_on_a_full_host_is_copied_before_it_goes() -> None:
    hosts = [host("a", assigned=["x", "y", "z"], memory_bytes_max=100), host("b", memory_bytes_max=100)]
    models = [model(name, concurrency=0.1, memory_bytes=47) for name in "xyz"]
    state = fleet(hosts, models, memory=remembered(models={name: usage() for name in "xyz"}))
    first = applied(state, plan(state, POLICY))
    assert sorted(holders(first).values()) == [("a",), ("a",), ("a", "b")]
    last = carried_on(first, ticks=14)
    assert sum("a" in hosts for hosts in holders(last).values()) == 2
    assert all(holders(last).values())


def test_a_tick_run_twice_leaves_what_follows_from_it_to_the_next() -> None:
    hosts = [
        host("a", assigned=["hot"], memory_bytes_max=100),
        host("b", assigned=["idle"], memory_bytes_max=100),
    ]
    hot, idle = model("hot", concurrency=3, memory_bytes=60), model("idle", memory_bytes=50)
    state = fleet(hosts, [hot, idle], memory=remembered())
    grown = applied(state, plan(state, POLICY))
    assert holders(grown) == {"hot": ("a", "b"), "idle": ("b",)}
    assert plan(grown, POLICY).actions == ()
    assert held(later(grown, 10)) == {"hot": ("a", "b"), "idle": ()}


def test_a_busy_host_gets_help_for_what_weighs_most() -> None:
    hosts = [host("a", assigned=["x", "y"]), host("b"), host("c")]
    models = [model("x", concurrency=2.0, memory_bytes=1), model("y", concurrency=1.5, memory_bytes=1)]
    made = plan(fleet(hosts, models, memory=remembered()), POLICY)
    assert told(made, "a") == "a has 3.5 requests at once, more than its share."
    assert told(made, "x").endswith(": a has more than its share of the requests.")


@pytest.mark.parametrize("following", [["m/2"], ["m/2", "m/3"]])
def test_what_follows_goes_where_the_active_version_is_assigned_or_ready(following: Sequence[str]) -> None:
    hosts = [host("a", assigned=["m"]), host("b"), host("c")]
    view = model("m", following=following, held_on=["c", "gone"], memory_bytes=460)
    state = fleet(hosts, [view], memory=remembered())
    after = {one.host_id: set(one.assigned) for one in applied(state, plan(state, POLICY)).hosts}
    assert after == {"a": {active("m"), *following}, "b": set(), "c": set(following)}


def test_versions_of_no_model_go_at_once() -> None:
    state = fleet([host("a", assigned=["deleted", "m"])], [model("m", concurrency=1)])
    assert applied(state, plan(state, POLICY)).hosts[0].assigned == (active("m"),)


def test_a_host_that_holds_a_model_by_chance_is_assigned_it() -> None:
    for name in "abcd":
        assert name in held(fleet(HOSTS, [model("m", concurrency=0.1, held_on=[name])]))["m"]


@given(st.integers(3, 8), st.lists(st.uuids().map(str), min_size=1, max_size=7, unique=True))
def test_no_two_models_have_the_same_hosts_where_there_are_fewer_models_than_hosts(
    hosts: int, models: list[str]
) -> None:
    """Whatever their first host is, one of the others makes a pair that nobody has."""
    state = fleet(
        [host(f"h{number}") for number in range(hosts)],
        [model(name, new=True, concurrency=0.1) for name in models[: hosts - 1]],
    )
    shards = Counter(holders(carried_on(state, ticks=5)).values())
    assert max(shards.values()) == 1
    assert all(len(shard) == 2 for shard in shards)


def placed(models: int, *, hosts: int) -> Counter[tuple[str, ...]]:
    views: list[ModelView] = [
        model(name, new=True, concurrency=0.001, memory_bytes=1) for name in names(models)
    ]
    state = fleet([host(f"h{number}") for number in range(hosts)], views)
    return Counter(holders(carried_on(state, ticks=models)).values())


@pytest.mark.parametrize(("models", "most"), [(14, 1), (28, 2), (112, 5)])
def test_shards_are_as_different_as_the_fleet_allows(models: int, most: int) -> None:
    """Eight hosts make 28 pairs."""
    shards = placed(models, hosts=8)
    assert all(len(shard) == 2 for shard in shards)
    assert max(shards.values()) <= most


def test_people_are_told_why() -> None:
    uses = {"digits": usage(again=True)}
    hosts = [host("a", assigned=["digits"], memory_bytes_max=100), host("b", memory_bytes_max=200)]
    digits = model("digits", memory_bytes=41, concurrency=0.1)
    fresh = model("fresh", concurrency=2, memory_bytes=60)
    made = plan(fleet(hosts, [digits, fresh], memory=remembered(models=uses)), POLICY)
    assert told(made, "digits") == (
        "Model digits gets a second copy on b: used again after 12 minutes, and there is room "
        "(30 % of its memory is taken)."
    )
    assert told(made, "fresh") == "Model fresh gets a copy on b: it is asked for and had none."


def test_a_copy_lost_and_given_back_within_the_same_minute_is_no_reason_to_drop_one() -> None:
    uses = usage(peak=1, copies=5, unchanged=10)
    assert shrinking(uses, concurrency=1) == (5, "")
    assert NOW - uses.since == 10


def test_what_relieves_a_busy_host_is_not_taken_away_again() -> None:
    weights = [rank**-1.1 for rank in range(1, 13)]
    each = 0.6 * 6 * SLOTS / sum(weights)
    busy = [model(name, concurrency=each * one) for name, one in zip(names(12), weights, strict=True)]
    state = carried_on(fleet([host(name) for name in "abcdef"], busy), ticks=400)
    for _ in range(20):
        made = plan(later(state, 10), POLICY)
        assert made.actions == ()
        assert [reason.subject for reason in made.reasons] == ["fleet"], made.reasons
        state = applied(later(state, 10), made)


def test_a_copy_on_a_full_host_is_not_dropped_for_a_load_that_only_just_fell() -> None:
    """Nor is a reason given that sounds like another."""
    hosts = [host("a", assigned=["busy", "filling"]), host("b", assigned=["busy"])]
    filling = model("filling", concurrency=0.1, memory_bytes=950)

    def after(peak: float) -> FleetState:
        uses = {"busy": usage(peak=peak, copies=2), "filling": usage()}
        return fleet(hosts, [model("busy", concurrency=peak), filling], memory=remembered(models=uses))

    assert held(after(peak=2.7))["busy"] == ("a", "b")
    made = plan(after(peak=0.1), POLICY)
    full = "the memory there is full (96 %), and its callers need no more than 1 host"
    assert told(made, "busy") == f"Model busy loses its copy on a: {full}."
