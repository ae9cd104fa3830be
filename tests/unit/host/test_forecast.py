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


def record(load_ms: float, version_id: str = "v1") -> VersionRecord:
    passport = msgspec.structs.replace(PASSPORT, load_ms=load_ms)
    return msgspec.structs.replace(RECORD, version_id=version_id, passport=passport)


def test_a_download_takes_longer_by_its_bytes() -> None:
    forecast = Forecast()
    there, away = (forecast.seconds(record(500), on_disk=on_disk) for on_disk in (True, False))
    assert there == pytest.approx(0.58, rel=0.01)
    assert away - there == pytest.approx(2, rel=0.05)


def test_what_this_process_has_used_before_it_does_not_hash_again() -> None:
    forecast = Forecast()
    new = forecast.seconds(record(500), on_disk=True)
    forecast.saw(record(500), on_disk=True, seconds=new)
    assert forecast.seconds(record(500), on_disk=True) == pytest.approx(new - 0.0667, rel=0.01)
    assert forecast.seconds(record(500, "v2"), on_disk=True) == pytest.approx(new)


@pytest.mark.parametrize(
    ("slower", "more"),
    [
        pytest.param(1, 0.015, id="as expected"),
        pytest.param(1, 0.3, id="something that every load waits for"),
        pytest.param(6, 0.1, id="a machine that is busy"),
        pytest.param(0.2, 0.01, id="a faster machine"),
    ],
)
@pytest.mark.parametrize("on_disk", [True, False])
def test_it_learns_what_loads_take_here(slower: float, more: float, on_disk: bool) -> None:
    fetching = 0 if on_disk else 2

    def seconds(load_ms: float) -> float:
        return more + slower * (fetching + load_ms / 1000)

    forecast = Forecast()
    for load_ms in (1, 1, 2, 300, 1, 40, 1000, 2, 3, 1, 2, 300, 1, 40, 1000, 2):
        forecast.saw(record(load_ms), on_disk=on_disk, seconds=seconds(load_ms))
    for load_ms in (1, 500, 2000):
        told = forecast.seconds(record(load_ms), on_disk=on_disk)
        assert told == pytest.approx(seconds(load_ms), rel=0.05)


@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_loads_that_are_all_alike_are_told_as_they_were(seconds: float) -> None:
    forecast = Forecast()
    for _ in range(20):
        forecast.saw(record(500), on_disk=True, seconds=seconds)
    assert forecast.seconds(record(500), on_disk=True) == pytest.approx(seconds, rel=0.01)


def test_small_models_say_nothing_against_large_ones() -> None:
    forecast = Forecast()
    for _ in range(20):
        forecast.saw(record(1), on_disk=True, seconds=0.005)
    assert forecast.seconds(record(2000), on_disk=True) == pytest.approx(2.0, rel=0.05)


def test_loads_that_were_held_up_say_nothing_of_the_next() -> None:
    forecast = Forecast()
    for seconds in (3.0, 3.0, 3.0, 60.0, 3.0, 20.0, 3.0):
        forecast.saw(record(500), on_disk=True, seconds=seconds)
    assert forecast.seconds(record(500), on_disk=True) == pytest.approx(3.0, rel=0.01)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)), min_size=1, max_size=30))
def test_whatever_was_seen_a_forecast_is_a_time(seen: list[tuple[float, float]]) -> None:
    forecast = Forecast()
    for load_ms, seconds in seen:
        forecast.saw(record(load_ms), on_disk=True, seconds=seconds)
    assert 0 < forecast.seconds(record(500), on_disk=True) < 50 * (0.6 + 50 * 1100)


def test_what_waits_for_a_slot_waits_for_those_before_it() -> None:
    running = [Load(name, 10.0, began=0.0) for name in "ab"]
    waiting = [Load(name, 5.0) for name in "cde"]
    loads = [*running, *waiting]
    assert limits.LOAD_SLOTS == 2
    assert [ready_in(name, loads, now=4.0) for name in "abcde"] == [6, 6, 11, 11, 16]
    assert ready_in("a", loads, now=40.0) == 0, "it is overdue: any moment"
    assert ready_in("c", [*waiting[::-1], *running], now=4.0) == 16


def test_what_waits_for_a_slot_is_told_by_what_waited_before() -> None:
    forecast = Forecast()
    for _ in range(5):
        for beside, seconds in ((0, 1.0), (1, 1.5), (2, 0.75), (3, 0.75)):
            forecast.saw(record(500), on_disk=True, seconds=seconds, beside=beside)
    told = [forecast.seconds(record(500), on_disk=True, beside=beside) for beside in (0, 1, 2, 7)]
    assert told == pytest.approx([1.25, 1.25, 0.75, 0.75], abs=0.03)


def test_what_loads_take_now_outweighs_what_they_took() -> None:
    forecast = Forecast()
    for seconds in [1.0] * 9 + [3.0] * 5:
        forecast.saw(record(500), on_disk=True, seconds=seconds)
    assert forecast.seconds(record(500), on_disk=True) == pytest.approx(3.0, rel=0.01)
