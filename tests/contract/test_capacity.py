"""What stands in the hot state of how many hosts there should be and are; and who wakes whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.contract.errors import DependencyFailed, StaleEpoch
from chalicelib.contract.hotstate import CapacityStatus, CapacityWish, HotState
from chalicelib.contract.limits import BOOT_SECONDS_DEFAULT
from chalicelib.contract.messages import Heartbeat, HostState
from chalicelib.coordinator.state import CapacityView
from tests.support.coordinating import take_over

HOST = Heartbeat("host-1", "boot", "127.0.0.1", 1, HostState.READY, 1, 0, 0, 0)


@pytest.fixture
def local(hot: HotState) -> LocalCapacity:
    take_over(hot, epoch=7)
    return LocalCapacity(hot)


def test_s8_a_wish_of_an_epoch_that_is_over_changes_nothing(hot: HotState, local: LocalCapacity) -> None:
    local.set(3, ending=("host-2", "host-1"), epoch=7)
    for over in (6, 8):
        with pytest.raises(StaleEpoch):
            local.set(9, ending=(), epoch=over)
    assert hot.capacity_wish() == CapacityWish(3, ("host-1", "host-2"), 7)


def test_the_status_is_what_runs_and_what_was_wished(hot: HotState, local: LocalCapacity) -> None:
    assert local.status() is None  # nobody says that it starts hosts

    hot.put_capacity_status(CapacityStatus(running=("host-3",), starting=("host-1",), ending=("host-2",)))
    assert local.status() == CapacityView(2, ("host-1", "host-3"), leaving=("host-2",))

    local.set(5, ending=("host-2",), epoch=7)
    assert local.status() == CapacityView(5, ("host-1", "host-3"), leaving=("host-2",))


def test_it_says_nothing_while_redis_is_away() -> None:
    away = LocalCapacity(HotState.connect("redis://127.0.0.1:1/0", timeout_seconds=0.2))
    assert away.status() is None
    with pytest.raises(DependencyFailed):
        away.set(1, ending=(), epoch=1)


def test_how_long_a_host_takes_is_measured_from_the_wish(
    hot: HotState, local: LocalCapacity, raw_redis: Any
) -> None:
    assert hot.outlook() is None  # nobody starts hosts
    hot.put_capacity_status(CapacityStatus())
    outlook = hot.outlook()
    assert outlook is not None and (outlook.boot_seconds, outlook.waited) == (BOOT_SECONDS_DEFAULT, 0)

    local.set(1, ending=(), epoch=7)
    began = read(raw_redis, "began")
    hot.beat(msgspec.structs.replace(HOST, state=HostState.LAUNCHING))
    local.status()
    assert read(raw_redis, "began") == began > 0
    hot.beat(HOST)
    local.status()

    outlook = hot.outlook()
    assert outlook is not None and outlook.waited == 0
    assert outlook.boot_seconds == read(raw_redis, "seconds") > 0
    assert outlook.boot_seconds != BOOT_SECONDS_DEFAULT


def read(raw_redis: Any, name: str) -> float:
    return float(msgspec.json.decode(raw_redis.get("mr:capacity:boot"))[name])


def test_however_often_it_is_woken_a_coordinator_looks_once(hot: HotState) -> None:
    for _ in range(3):
        hot.wake()
    hot.count_unmet("model")
    assert hot.wait_for_wake(0.6)
    assert not hot.wait_for_wake(0.1)


def test_junk_reads_as_nothing(hot: HotState, local: LocalCapacity, raw_redis: Any) -> None:
    for key in ("mr:capacity", "mr:capacity:status", "mr:capacity:boot"):
        raw_redis.set(key, b"\xffjunk")
    assert (hot.capacity_wish(), hot.capacity_status(), local.status()) == (None, None, None)
    outlook = hot.outlook()
    assert outlook is None or outlook.boot_seconds == BOOT_SECONDS_DEFAULT
    local.set(1, ending=(), epoch=7)
    assert hot.capacity_wish() == CapacityWish(1, (), 7)
