"""How often somebody may ask, by one process's count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.limiting import LocalRates, Rate, arrive, request_cost

rates = st.builds(Rate, st.floats(0.1, 5_000), st.floats(1, 10_000))


@given(rates, st.lists(st.tuples(st.floats(0, 2), st.integers(1, 18)), max_size=200))
def test_never_more_than_the_burst_and_the_rate(rate: Rate, steps: list[tuple[float, int]]) -> None:
    arrival = now = taken = 0.0
    for pause, cost in steps:
        now += pause
        wait, after = arrive(arrival, rate, cost=cost, now=now)
        if not wait:
            arrival, taken = after, taken + min(cost, rate.burst)
        assert taken <= rate.burst + rate.per_second * now + 1e-6 * (1 + taken)


@given(rates, st.integers(1, 18), st.floats(0, 100))
def test_who_waits_as_long_as_told_gets_in(rate: Rate, cost: int, now: float) -> None:
    arrival, wait = now, 0.0
    while not wait:
        wait, after = arrive(arrival, rate, cost=cost, now=now)
        arrival = arrival if wait else after
    assert arrive(arrival, rate, cost=cost, now=now + wait + 1e-6)[0] == 0


@given(rates, st.floats(0, 1e9))
def test_f46_a_clock_that_jumps_back_locks_nobody_out_for_longer_than_a_burst(
    rate: Rate, ahead: float
) -> None:
    wait, _ = arrive(1_000 + ahead, rate, cost=1, now=1_000)
    assert wait <= 1.001 / rate.per_second


def test_what_is_refused_counts_towards_none() -> None:
    local = LocalRates(entries_max=10)
    generous, strict = ("account", Rate(1, 100)), ("key", Rate(1, 1))
    assert local.take([generous, strict], cost=1, now=0) is None
    for _ in range(500):
        assert local.take([generous, strict], cost=1, now=0) == ("key", 1.0)
    assert [local.take([generous], cost=99, now=0), local.take([generous], cost=1, now=0)] == [
        None,
        ("account", 1.0),
    ]


def test_a_process_remembers_a_bounded_number() -> None:
    local = LocalRates(entries_max=10)
    for number in range(100):
        local.take([(str(number), Rate(1, 1))], cost=1, now=0)
    assert len(local._arrivals) <= 10


def test_a_body_counts_by_its_size() -> None:
    quarter = 256 * 1024
    assert [request_cost(size) for size in (0, quarter - 1, quarter, 4_400_000)] == [1, 1, 2, 17]
