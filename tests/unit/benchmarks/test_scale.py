"""The fleets that the planner's cost is measured on, and what is made of the figures."""

from __future__ import annotations

from collections import Counter

from benchmarks.simulation.scale import Cost, fleet, measured, shown


def test_every_model_is_on_two_hosts_and_no_two_models_on_the_same() -> None:
    state = fleet(6, 15)
    hosts_of: dict[str, list[str]] = {}
    for host in state.hosts:
        assert host.assigned == tuple(sorted(host.assigned))
        for version_id in host.assigned:
            hosts_of.setdefault(version_id, []).append(host.host_id)
    assert {len(hosts) for hosts in hosts_of.values()} == {2}
    assert len(hosts_of) == 15
    assert max(Counter(map(tuple, hosts_of.values())).values()) <= 2


def test_each_tick_has_something_to_do() -> None:
    settled, lost, flushed = measured(10, 100)
    assert (settled.tick, lost.tick, flushed.tick) == ("settled", "lost", "flushed")
    assert lost.actions > 0
    assert flushed.actions == 10, "every host is told what to hold"
    assert all(cost.cpu_seconds > 0 and cost.memory_mb > 1 for cost in (settled, lost, flushed))


def test_the_goals_are_for_the_most_expensive_tick_of_the_largest_fleet() -> None:
    small = (Cost("settled", 9.0, 900, 1),)
    large = (Cost("settled", 1.0, 100, 1), Cost("lost", 2.5, 50, 1))
    shown_goals = shown({(10, 10): small, (1000, 100): large}).goals
    assert [(goal.value, goal.met) for goal in shown_goals] == [(2.5, False), (100, True)]
