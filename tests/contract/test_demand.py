"""What hosts tell of their load, and gateways of what found no host."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.fleet import read_heartbeat
from chalicelib.contract.messages import Heartbeat, HostLoad, HostState, VersionLoad

ONE = HostLoad(2.0, {"v1": VersionLoad(3, 1.5)})


def beat(hot: HotState, host_id: str, load: HostLoad, *, number: int) -> None:
    hot.beat(
        Heartbeat(host_id, f"boot {host_id}", "127.0.0.1", 1, HostState.READY, 1, 0, 0, 0),
        load,
        number=number,
    )


def test_what_hosts_tell_is_read_in_the_order_it_was_told(hot: HotState) -> None:
    beat(hot, "a", ONE, number=1)
    beat(hot, "b", HostLoad(2.0, {}), number=1)
    beat(hot, "a", HostLoad(2.0, {"v2": VersionLoad(1, 0.25)}), number=2)
    demand = hot.demand_since(0)
    told = [(sample.host_id, sample.beat, sample.load.versions) for sample in demand.samples]
    assert told == [
        ("a", 1, {"v1": VersionLoad(3, 1.5)}),
        ("b", 1, {}),
        ("a", 2, {"v2": VersionLoad(1, 0.25)}),
    ]
    assert demand.samples[0].boot_id == "boot a"
    assert all(sample.at <= demand.now for sample in demand.samples)


def test_only_what_is_new_is_read(hot: HotState) -> None:
    beat(hot, "a", ONE, number=1)
    seen = hot.demand_since(0).samples[-1].at
    beat(hot, "a", ONE, number=2)
    assert [sample.beat for sample in hot.demand_since(seen).samples] == [2]


def test_what_is_told_again_under_its_number_counts_once(hot: HotState) -> None:
    beat(hot, "a", ONE, number=1)
    beat(hot, "a", HostLoad(4.0, {"v1": VersionLoad(5, 2.5)}), number=1)
    assert [sample.load.seconds for sample in hot.demand_since(0).samples] == [4.0]


def test_requests_that_found_no_host_are_counted_and_wake_the_coordinator_once(
    hot: HotState, raw_redis: Any
) -> None:
    for _ in range(3):
        hot.count_unmet("m1")
    hot.count_unmet("m2")
    assert hot.demand_since(0).unmet == {"m1": 3, "m2": 1}
    assert raw_redis.llen("mr:wake") == 1


def test_s9_a_request_that_found_no_host_is_told_once(hot: HotState) -> None:
    hot.count_unmet("m1")
    seen = hot.demand_since(0)
    assert seen.unmet == {"m1": 1}
    assert hot.demand_since(seen.now).unmet == {}
    hot.count_unmet("m2")
    assert hot.demand_since(seen.now).unmet == {"m2": 1}


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{}",
        b"soon|{}",
        b"\xff|\xff",
        b'1.5|{"seconds":0,"versions":{}}',
        b'1.5|{"seconds":1e-300,"versions":{}}',
        b'1.5|{"seconds":2,"versions":{},"front_seconds":-1}',
        b'1.5|{"seconds":2,"versions":{"v":[1,1e300]}}',
        b'1.5|{"seconds":2,"versions":{"v":[-1]}}',
    ],
)
def test_f54_what_cannot_be_read_is_left_out(hot: HotState, raw_redis: Any, junk: bytes) -> None:
    beat(hot, "a", ONE, number=1)
    (window,) = raw_redis.keys("mr:demand:*")
    raw_redis.hset(window, "b/boot/1", junk)
    raw_redis.hset(window, "unmet/m", junk)
    raw_redis.hset(window, junk, b"1.5|" + junk)
    assert [sample.host_id for sample in hot.demand_since(0).samples] == ["a"]
    assert hot.demand_since(0).unmet == {}


@pytest.mark.parametrize(("slots", "believed"), [(0.3, True), (0.0, False), (-1.0, False), (1e300, False)])
def test_a_host_of_impossible_slots_is_none(slots: float, believed: bool) -> None:
    told = Heartbeat("a", "boot a", "127.0.0.1", 1, HostState.READY, 1, 0, 0, 0, slots=slots)
    assert (read_heartbeat(b"1.5|" + msgspec.json.encode(told)) is not None) == believed


def test_a_window_that_is_none_is_made_anew(hot: HotState, raw_redis: Any) -> None:
    beat(hot, "a", ONE, number=1)
    (window,) = raw_redis.keys("mr:demand:*")
    raw_redis.set(window, "junk")
    assert hot.demand_since(0).samples == ()
    beat(hot, "a", ONE, number=2)
    raw_redis.set(window, "junk")
    hot.count_unmet("m")
    assert hot.demand_since(0).unmet == {"m": 1}


def test_windows_are_forgotten(hot: HotState, raw_redis: Any) -> None:
    beat(hot, "a", ONE, number=1)
    hot.count_unmet("m")
    assert all(0 < raw_redis.ttl(key) <= 120 for key in raw_redis.keys("mr:demand:*"))


@pytest.mark.parametrize(
    ("waited", "ran", "requests", "wakes"),
    [
        pytest.param(8.0, 2.0, 2, True, id="four wait, for a second each"),
        pytest.param(8.0, 0.002, 2_000, False, id="four wait, and will be done in no time"),
        pytest.param(0.2, 2.0, 2, False, id="hardly anything waits"),
        pytest.param(8.0, 0.0, 0, True, id="none has ended"),
    ],
)
def test_a_host_that_is_overloaded_wakes_the_coordinator(
    hot: HotState, raw_redis: Any, waited: float, ran: float, requests: int, wakes: bool
) -> None:
    load = HostLoad(2.0, {"v1": VersionLoad(requests, waited + ran, ran)})
    for number in (1, 2):
        beat(hot, "a", load, number=number)
    assert raw_redis.llen("mr:wake") == wakes
