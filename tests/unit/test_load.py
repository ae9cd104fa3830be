"""What hosts told, as the planner reads it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chalicelib.contract.hotstate import Demand, HostSample
from chalicelib.contract.messages import Heartbeat, HostLoad, HostState, VersionLoad
from chalicelib.coordinator.state import ModelDemand
from chalicelib.load import Told, fleet_sample, model_demands, told

NOW = 50.0
DRAIN = 10.0


def sample(
    host_id: str,
    versions: Mapping[str, VersionLoad],
    *,
    beat: int = 1,
    front: float = 0.0,
    seconds: float = 2.0,
) -> HostSample:
    return HostSample(host_id, "boot", beat, NOW - 1, HostLoad(seconds, dict(versions), front))


def hosts(*samples: HostSample) -> dict[str, Told]:
    return told(samples, model_of={"v1": "m1", "v2": "m2"}.get)


def silent(in_flight: int) -> Heartbeat:
    return Heartbeat("silent", "boot", "127.0.0.1", 1, HostState.READY, 1, 0, in_flight, 0, at=NOW)


def test_what_a_host_told_in_several_beats_adds_up() -> None:
    heard = hosts(
        sample("a", {"v1": VersionLoad(2, 1, 0.5)}), sample("a", {"v1": VersionLoad(1, 3, 1)}, beat=2)
    )
    assert (heard["a"].seconds, heard["a"].models) == (4, {"m1": VersionLoad(3, 4, 1.5)})
    assert heard["a"].concurrency == 1


def test_what_does_not_run_waits() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(10, 16, 4)}), sample("b", {"v1": VersionLoad(10, 4, 4)}))
    seen = fleet_sample(heard, (), {"a": 4.0, "b": 4.0}, Demand(NOW))
    assert (seen.concurrency, seen.waiting, seen.begun) == (10, 6, 10)


def test_a_front_that_is_busier_than_the_models_fills_its_host() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(30_000, 64, 0.2)}, front=1.5))
    seen = fleet_sample(heard, (), {"a": 4.0}, Demand(NOW))
    assert seen.concurrency - seen.waiting == pytest.approx(0.75 * 4)


def test_a_front_that_nobody_asks_is_not_busy() -> None:
    seen = fleet_sample(hosts(sample("a", {}, front=0.02)), (), {"a": 4.0}, Demand(NOW))
    assert (seen.concurrency, seen.begun) == (0, 0)


def test_hosts_that_have_not_told_count_with_what_they_have_in_flight() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(1, 2, 2)}))
    assert fleet_sample(heard, [silent(3)], {"a": 4.0}, Demand(NOW)).concurrency == 1 + 3


def test_requests_that_found_no_host_count_by_the_second() -> None:
    demands = model_demands({}, {}, Demand(NOW, 5.0, unmet={"m1": 5}), drain_seconds=DRAIN)
    assert demands == {"m1": ModelDemand(0.0, 0.0, 1.0)}


def test_a_models_slots_are_those_it_runs_in_and_those_that_work_off_what_waits() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(2, 24, 4), "v2": VersionLoad(2, 2, 2)}))
    demands = model_demands(heard, {"a": 4.0}, Demand(NOW), drain_seconds=DRAIN)
    assert demands["m1"].requests_per_second == 1
    assert demands["m1"].concurrency == pytest.approx(2 + 10 * (2 / 1) / DRAIN)
    assert demands["m2"].concurrency == 1


def test_what_the_front_takes_is_the_models_by_their_requests() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(300, 0.1, 0.1), "v2": VersionLoad(100, 0.1, 0.1)}, front=1))
    demands = model_demands(heard, {"a": 4.0}, Demand(NOW), drain_seconds=DRAIN)
    assert demands["m1"].concurrency == pytest.approx((0.1 + 3.8 * 3 / 4) / 2)
    assert demands["m1"].concurrency + demands["m2"].concurrency == pytest.approx(4 * 1 / 2)


def test_what_nobody_asked_for_has_no_demand() -> None:
    heard = hosts(sample("a", {"v1": VersionLoad(0, 0, 0), "unknown": VersionLoad(1, 1, 1)}))
    assert model_demands(heard, {"a": 4.0}, Demand(NOW), drain_seconds=DRAIN) == {}


def test_a_model_that_has_answered_nobody_counts_for_one_host() -> None:
    """Callers of a loop without end are no reason to run it everywhere."""
    heard = hosts(
        sample("a", {"v1": VersionLoad(0, 28, 0), "v2": VersionLoad(1, 28, 26)}),
        sample("b", {"v1": VersionLoad(0, 28, 0)}),
    )
    demands = model_demands(heard, {"a": 4.0, "b": 4.0}, Demand(NOW), drain_seconds=DRAIN)
    assert demands["m1"].concurrency == 4
    assert demands["m2"].concurrency > 4
