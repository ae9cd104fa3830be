"""When a version will be loaded."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract import limits
from chalicelib.contract.messages import VersionRecord
from host_container.forecast import Forecast, Load, ready_in
from tests.support.uploads import PASSPORT, SIGNATURE

RECORD = VersionRecord("v1", "m1", "alice", 1, "00" * 32, 100_000_000, "models/v1", SIGNATURE, PASSPORT)


def record(load_ms: float) -> VersionRecord:
    return msgspec.structs.replace(RECORD, passport=msgspec.structs.replace(PASSPORT, load_ms=load_ms))


def test_a_download_takes_longer_by_its_bytes() -> None:
    forecast = Forecast()
    there, away = (forecast.seconds(record(500), on_disk=on_disk) for on_disk in (True, False))
    assert there == pytest.approx(0.6)
    assert away - there == pytest.approx(2, rel=0.1)


def test_it_learns_what_loads_take_here() -> None:
    forecast = Forecast()
    for _ in range(20):
        forecast.saw(record(500), on_disk=True, seconds=3.0)
    assert forecast.seconds(record(500), on_disk=True) == pytest.approx(3.0, rel=0.01)
    assert forecast.seconds(record(1100), on_disk=True) == pytest.approx(6.0, rel=0.01)
    assert forecast.seconds(record(500), on_disk=False) == pytest.approx(2.65, rel=0.05)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_no_single_load_spoils_it(seen: list[float]) -> None:
    forecast = Forecast()
    for seconds in seen:
        forecast.saw(record(500), on_disk=True, seconds=seconds)
    assert 0.6 / 51 <= forecast.seconds(record(500), on_disk=True) <= 0.6 * 51


def test_what_waits_for_a_slot_waits_for_those_before_it() -> None:
    running = [Load(name, 10.0, began=0.0) for name in "ab"]
    waiting = [Load(name, 5.0) for name in "cde"]
    loads = [*running, *waiting]
    assert limits.LOAD_SLOTS == 2
    assert [ready_in(name, loads, now=4.0) for name in "abcde"] == [6, 6, 11, 11, 16]
    assert ready_in("a", loads, now=40.0) == 0, "it is overdue: any moment"
    assert ready_in("c", [*waiting[::-1], *running], now=4.0) == 16
