"""What buckets of times must do: be close, add up, and read as what they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.latency import (
    Phase,
    Took,
    bucket,
    by_phase,
    is_counter,
    latencies,
    middle_ms,
    seconds,
)

times = st.integers(8, 900_000_000)
tooks = st.builds(Took, total=times, queue=times, batch=times, load=times | st.just(0), run=times)


def counters(took: Iterable[Took]) -> Counter[str]:
    """By phase and bucket, as they are written down."""
    found: Counter[str] = Counter()
    for one in took:
        found.update(by_phase(one.counter))
    return found


@given(times)
def test_a_time_is_at_most_a_tenth_off(us: int) -> None:
    assert middle_ms(bucket(us)) * 1000 == pytest.approx(us, rel=0.091)


@given(times, times)
def test_longer_is_never_a_smaller_bucket(one: int, other: int) -> None:
    assert (bucket(one) <= bucket(other)) or one > other


@pytest.mark.parametrize("us", [-1, 0, 1, 7, 8])
def test_what_is_too_short_to_tell_is_the_first_bucket(us: int) -> None:
    assert bucket(us) == bucket(8) == 12


def test_what_is_too_long_to_tell_is_the_last_bucket() -> None:
    assert bucket(10**15) == bucket(2**30) == 119


@given(st.lists(times, min_size=1, max_size=300))
def test_percentiles_and_the_mean_are_at_most_a_tenth_off(took: list[int]) -> None:
    found = latencies(counters(Took(total=us, run=us) for us in took))[Phase.RUN]
    ordered = sorted(took)
    assert found.count == len(took)
    assert found.mean_ms * 1000 == pytest.approx(sum(took) / len(took), rel=0.1)
    for percent, shown in ((50, found.p50_ms), (90, found.p90_ms), (99, found.p99_ms)):
        rank = math.ceil(len(took) * percent / 100)
        assert shown * 1000 == pytest.approx(ordered[rank - 1], rel=0.1), percent


@given(st.lists(tooks, max_size=30), st.lists(tooks, max_size=30))
def test_counters_of_two_minutes_add_up_to_those_of_both(one: list[Took], other: list[Took]) -> None:
    assert counters(one) + counters(other) == counters(one + other)


@given(tooks)
def test_what_a_request_is_counted_as_says_where_its_time_went(took: Took) -> None:
    found = latencies(counters([took]))
    for phase, shown in found.items():
        us = getattr(took, phase)
        if phase in (Phase.QUEUE, Phase.BATCH) and us < 100:
            assert shown.p50_ms == 0
        else:
            assert shown.p50_ms * 1000 == pytest.approx(us, rel=0.1)
    assert (Phase.LOAD in found) == (took.load > 0)
    assert seconds(counters([took]), Phase.TOTAL) == pytest.approx(took.total / 1e6, rel=0.1)


def test_who_did_not_wait_is_among_those_of_whom_waiting_is_told() -> None:
    """Else the one request of ten that queued would look like all of them. Loads are those of cold starts."""
    took = [Took(total=2_000, run=1_000)] * 9 + [Took(total=90_000, queue=80_000, load=5_000, run=1_000)]
    found = latencies(counters(took))
    queue, load = found[Phase.QUEUE], found[Phase.LOAD]
    assert (queue.count, queue.p50_ms, queue.p90_ms) == (10, 0.0, 0.0)
    assert queue.p99_ms == pytest.approx(80, rel=0.1)
    assert queue.mean_ms == pytest.approx(8, rel=0.1)
    assert load.count == 1
    assert load.p50_ms == pytest.approx(5, rel=0.1)


def test_nothing_measured_is_no_percentiles() -> None:
    assert latencies({"code:rate_limited": 3, "memory": 7, "run40": 0}) == {}


@pytest.mark.parametrize("counter", ["", "~", "40....40", "~40...40", "~40.....40", "~x....40"])
def test_what_is_no_counter_of_a_request_is_told_apart(counter: str) -> None:
    assert not is_counter(counter)
    with pytest.raises(ValueError):
        by_phase(counter)
