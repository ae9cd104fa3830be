"""What a run of the coordinator is said to have come to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chalicelib.contract.errors import CODES
from chalicelib.contract.latency import bucket
from chalicelib.contract.messages import HostState
from chalicelib.contract.metering import MEMORY, NOBODY, Measures, MinuteOfUsage, Usage, UsageKey
from chalicelib.coordinator.planner import Policy, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import CapacityView, FleetState, Freshness, HostView
from chalicelib.tally import HostsSeen, Tally, hosts_seen
from tests.unit.coordinator.worlds import NOW, host

ONE = UsageKey("alice", "key", "model", 1)
OURS = {"internal", "dependency", "overloaded", "draining", "model_loading", "deadline_exceeded"}


def minute(**counted: Measures) -> MinuteOfUsage:
    keys = {"served": ONE, "refused": UsageKey("alice", "key", "", 0), "held": UsageKey("a", NOBODY, "m", 1)}
    return MinuteOfUsage(1, "alice", b"1", {keys[name]: measures for name, measures in counted.items()})


def counted(*minutes: MinuteOfUsage) -> Tally:
    tally = Tally()
    for one in minutes:
        tally.count(one)
    return tally


def seen(hosts: list[HostView], capacity: CapacityView | None, policy: Policy) -> HostsSeen:
    state = FleetState(now=NOW, hosts=tuple(hosts), models=(), capacity=capacity)
    return hosts_seen(state, plan(state, policy))


# Requests


def test_requests_of_all_accounts_and_minutes_are_added_up() -> None:
    asked = minute(served=Measures(Usage(requests=10, errors_caller=3, errors_model=2, errors_platform=1)))
    tally = counted(asked, asked)
    assert (tally.requests, tally.errors) == (20, 2)


@pytest.mark.parametrize("code", sorted(CODES))
def test_of_what_was_refused_only_the_platforms_own_failures_are_errors(code: str) -> None:
    """Where there was no host is told by itself; that the model failed is its owner's affair."""
    tally = counted(minute(refused=Measures(counters={f"code:{code}": 4})))
    assert (tally.requests, tally.errors) == (4, 4 if code in OURS else 0)


def test_an_error_that_was_dispatched_is_counted_once() -> None:
    tally = counted(
        minute(served=Measures(Usage(requests=1, errors_platform=1), {"code:deadline_exceeded": 1}))
    )
    assert (tally.requests, tally.errors) == (1, 1)


def test_the_slowest_hundredth_is_of_everything_that_was_answered() -> None:
    fast, slow = (f"total{bucket(us)}" for us in (2_000, 900_000))
    times: Mapping[str, int] = {fast: 90, "run40": 90, f"queue{bucket(5_000_000)}": 90}
    tally = counted(minute(served=Measures(counters=times)), minute(served=Measures(counters={slow: 10})))
    assert tally.latency_p99_ms == pytest.approx(900, rel=0.1)
    assert counted(minute(held=Measures(counters={MEMORY: 5}))).latency_p99_ms is None


# Hosts


def test_hosts_are_ready_that_serve_were_heard_of_and_may_stay() -> None:
    hosts = [
        host("a"),
        host("b", state=HostState.LAUNCHING),
        host("c", state=HostState.DRAINING),
        host("d", freshness=Freshness.SUSPECT),
        host("e", freshness=Freshness.DEAD),
    ]
    assert seen(hosts, None, Policy()) == HostsSeen(wanted=None, running=None, ready=1)


def test_wanted_is_what_the_plan_asks_for_and_else_what_was_asked_for() -> None:
    floor = Policy(scaling=ScalingPolicy(hosts_min=3, hosts_max=3))
    asked = CapacityView(desired=0, running=())
    assert seen([], asked, floor) == HostsSeen(wanted=3, running=0, ready=0)
    assert seen([], CapacityView(desired=3, running=("x",)), floor) == HostsSeen(3, running=1, ready=0)
    assert seen([], CapacityView(desired=3), floor) == HostsSeen(3, running=None, ready=0)
