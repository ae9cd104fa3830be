"""What the autoscaler remembers: means by length, trends beyond noise, bounded windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.coordinator.windows import (
    LoadSample,
    Peak,
    Step,
    highest,
    lowest,
    mean,
    peaked,
    sampled,
    slope,
    stepped,
)


@pytest.mark.parametrize(
    ("samples", "seconds", "expected"),
    [
        pytest.param([(100, 5)], 60, 5, id="the only one"),
        pytest.param([(80, 2), (100, 8)], 20, 8, id="the one that fills the window"),
        pytest.param([(90, 2), (100, 8)], 20, 5, id="each for half of it"),
        pytest.param([(50, 9), (70, 2), (100, 8)], 40, 6.5, id="one that begins before the window"),
        pytest.param([(95, 0), (97, 4), (100, 10)], 5, 7.6, id="by their lengths"),
    ],
)
def test_samples_count_for_as_long_as_they_last(
    samples: list[tuple[float, float]], seconds: float, expected: float
) -> None:
    over = mean([LoadSample(at, level) for at, level in samples], now=100, seconds=seconds)
    assert over is not None
    assert over.concurrency == pytest.approx(expected)


def test_a_window_without_samples_has_no_mean() -> None:
    assert mean([LoadSample(10, 5.0)], now=100, seconds=60) is None


@given(st.lists(st.tuples(st.floats(0.05, 5), st.floats(0, 100)), min_size=1, max_size=80))
def test_samples_that_are_merged_have_the_same_mean(drawn: list[tuple[float, float]]) -> None:
    now, kept, every = 1000.0, tuple[LoadSample, ...](), []
    for seconds, level in drawn:
        now += seconds
        every.append(LoadSample(now, level))
        kept = sampled(kept, every[-1:], now=now, seconds=500)
    whole = now - every[0].at + 1
    merged, plain = mean(kept, now=now, seconds=whole), mean(every, now=now, seconds=whole)
    assert merged is not None
    assert plain is not None
    assert merged.concurrency == pytest.approx(plain.concurrency)


def test_samples_come_once_and_in_order() -> None:
    new = [LoadSample(30, 3.0), LoadSample(10, 1.0), LoadSample(20, 2.0), LoadSample(99, 9.0)]
    kept = sampled((LoadSample(10, 1.0),), new, now=40, seconds=60)
    assert kept == (LoadSample(10, 1.0), LoadSample(20, 2.0), LoadSample(30, 3.0))
    assert sampled(kept, new, now=40, seconds=60) == kept
    assert sampled(kept, (), now=85, seconds=60) == (LoadSample(20, 2.0), LoadSample(30, 3.0))


@pytest.mark.parametrize(
    ("sample", "slots"),
    [
        pytest.param(LoadSample(0, 30.0), 30, id="nothing known but the number"),
        pytest.param(LoadSample(0, 30.0, waiting=20.0), 30, id="nothing begins: each waits for a slot"),
        pytest.param(LoadSample(0, 30.0, waiting=20.0, begun=100.0), 10.2, id="short runs"),
        pytest.param(LoadSample(0, 30.0, waiting=20.0, begun=0.5), 30, id="runs longer than the patience"),
        pytest.param(LoadSample(0, 30.0, begun=100.0), 30, id="nothing waits"),
    ],
)
def test_what_waits_takes_a_slot_for_as_long_as_it_will_run(sample: LoadSample, slots: float) -> None:
    assert sample.slots(drain_seconds=10) == pytest.approx(slots)


def test_a_trend_is_its_slope_and_noise_is_none() -> None:
    line = [LoadSample(10.0 * number, 3.0 + 5.0 * number) for number in range(7)]
    noise = [LoadSample(10.0 * number, 50.0 + (-1) ** number) for number in range(7)]
    falling = [LoadSample(10.0 * number, 90.0 - number) for number in range(7)]
    slopes = [slope(one, now=60, seconds=60, drain_seconds=10) for one in (line, noise, falling, line[:3])]
    assert slopes == [pytest.approx(0.5), 0.0, 0.0, 0.0]


def test_peaks_keep_the_most_of_an_interval_until_it_is_over_for_long() -> None:
    peaks = peaked((), 5, now=1001, seconds=300)
    for now, hosts in ((1003, 9), (1008, 2), (1011, 4)):
        peaks = peaked(peaks, hosts, now=now, seconds=300)
    assert peaks == (Peak(1008, 9), Peak(1011, 4))
    assert peaked(peaks, 1, now=1308, seconds=300) == (Peak(1011, 4), Peak(1308, 1))


def test_steps_remember_what_the_hosts_were_between() -> None:
    steps = stepped((), now=100, before=5, after=9, seconds=60)
    steps = stepped(steps, now=101, before=9, after=3, seconds=60)
    steps = stepped(steps, now=104, before=3, after=3, seconds=60)
    assert steps == (Step(101, 3, 9),)
    assert (lowest(steps, 7, now=110, seconds=10), highest(steps, 7, now=110, seconds=10)) == (3, 9)
    assert (lowest(steps, 7, now=111, seconds=10), highest(steps, 7, now=111, seconds=10)) == (7, 7)
    assert stepped(steps, now=161, before=3, after=3, seconds=60) == ()
