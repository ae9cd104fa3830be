"""The arithmetic behind the table."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Measurement, Place, Spread, median_and_p99, percentile, row, spread
from benchmarks.report import line

PLACE = Place(model="tiny", target="ours", protocol="json", connections=8)
GOOD = Measurement(seconds=2.0, count=1000, cpu_seconds=0.1, latencies_ms=(1.0, 4.0))
RAW = Measurement(seconds=2.0, count=1000, cpu_seconds=0.01, latencies_ms=(0.01, 0.02))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([7], 0.99, 7, id="one value is every percentile"),
        pytest.param([1, 2, 3, 4], 0.5, 2, id="nearest rank, not interpolated"),
        pytest.param(range(1, 101), 0.99, 99, id="the 99th of a hundred"),
        pytest.param(range(1, 201), 0.99, 198, id="two of two hundred are slower"),
    ],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_no_answers_have_no_percentile() -> None:
    assert all(math.isnan(value) for value in median_and_p99([]))


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_values_that_were_seen_and_in_order(values: list[float]) -> None:
    p50, p99 = median_and_p99(values)
    assert p50 in values
    assert p99 in values
    assert min(values) <= p50 <= p99 <= max(values)


def test_a_spread_is_the_median_with_the_extremes() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(median=3.0, low=1.0, high=5.0)


def test_a_spread_leaves_out_rounds_without_a_figure() -> None:
    assert spread([math.nan, 2.0]) == Spread(2.0, 2.0, 2.0)
    assert spread([math.nan]) == Spread(None, None, None)


def test_cpu_per_request_and_throughput() -> None:
    assert GOOD.cpu_us == pytest.approx(100)
    assert GOOD.throughput == 500


def test_the_ratio_is_taken_within_each_round() -> None:
    """A machine twice as slow in the second round changes microseconds, not the ratio."""
    slow, slow_raw = replace(GOOD, cpu_seconds=0.2), replace(RAW, cpu_seconds=0.02)
    made = row(PLACE, [GOOD, slow], raw=[RAW, slow_raw])
    assert astuple(made.cpu_us) == pytest.approx((150, 100, 200))
    assert astuple(made.ratio) == pytest.approx((10, 10, 10))


def test_what_helps_the_server_is_shown_beside_it() -> None:
    helped = replace(GOOD, beside_cpu_seconds={"valkey": 0.05})
    made = row(PLACE, [helped, helped], raw=[RAW, RAW])
    assert made.beside_us == {"valkey": pytest.approx(50)}
    assert made.cpu_us.median == pytest.approx(100)


def test_one_wrong_answer_in_one_round_invalidates_the_row() -> None:
    wrong = replace(GOOD, problems={"status 503": 1})
    made = row(PLACE, [GOOD, wrong], raw=[RAW, RAW])
    assert not made.valid
    assert line(made)[3] == "INVALID: 1 x status 503"
    assert "100" not in line(made), "an invalid row shows no figures"


def test_problems_add_up_over_rounds() -> None:
    rounds = [replace(GOOD, problems={"status 503": 2}), replace(GOOD, problems={"status 503": 3, "x": 1})]
    assert row(PLACE, rounds, raw=[RAW, RAW]).problems == {"status 503": 5, "x": 1}


def test_a_round_without_answers_invalidates_the_row() -> None:
    silent = replace(GOOD, count=0)
    assert row(PLACE, [silent], raw=[RAW]).problems == {"a round without answers": 1}


def test_a_row_without_problems_is_valid_and_shows_its_figures() -> None:
    made = row(PLACE, [GOOD], raw=[RAW])
    assert made.valid
    assert line(made)[:7] == ("ours", "json", "8", "100", "10", "500", "1")
