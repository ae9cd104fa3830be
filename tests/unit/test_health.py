"""Whom to leave alone for a while, and how often to try again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract import limits
from chalicelib.contract.health import Breaker, Ejections, RetryBudget

HOSTS = ("a", "b", "c")


def ejections() -> Ejections:
    return Ejections(random.Random(0))


def ejected(seen: Ejections, host_id: str, *, now: float, hosts: tuple[str, ...] = HOSTS) -> bool:
    return host_id not in seen.kept(hosts, now=now)


def test_f40_two_silences_in_a_row_eject_and_one_does_not() -> None:
    seen = ejections()
    seen.silent("a", now=0)
    assert not ejected(seen, "a", now=0)
    seen.answered("a", now=0)
    seen.silent("a", now=0)
    assert not ejected(seen, "a", now=0), "an answer in between begins the count anew"
    seen.silent("a", now=0)
    assert ejected(seen, "a", now=0)
    assert not ejected(seen, "b", now=0)


def test_five_errors_of_its_own_in_a_row_eject() -> None:
    seen = ejections()
    for _ in range(limits.EJECTION_HOST_ERRORS - 1):
        seen.failed("a", now=0)
    assert not ejected(seen, "a", now=0)
    seen.failed("a", now=0)
    assert ejected(seen, "a", now=0)


def eject(seen: Ejections, host_id: str, *, now: float) -> float:
    """How long it is out."""
    seen.silent(host_id, now=now)
    seen.silent(host_id, now=now)
    tenths = 0
    while ejected(seen, host_id, now=now + tenths / 10):
        tenths += 1
    return tenths / 10


def test_f31_a_host_that_flaps_stays_out_longer_every_time_up_to_a_minute() -> None:
    seen, now, out = ejections(), 0.0, []
    for _ in range(7):
        out.append(eject(seen, "a", now=now))
        now += out[-1]
    assert all(4 <= seconds <= 6.1 for seconds in out[:1])
    assert all(8 <= seconds <= 12.1 for seconds in out[1:2])
    assert out == sorted(out[:4]) + out[4:]
    assert max(out) <= limits.EJECTION_SECONDS_MAX + 0.1
    assert min(out[4:]) >= limits.EJECTION_SECONDS_MAX * 0.79


def test_f31_a_host_that_comes_back_gets_its_share_slowly() -> None:
    seen = ejections()
    back = eject(seen, "a", now=0)
    shares = [seen.share("a", now=back + seconds) for seconds in (0, 2.5, 5, 20)]
    assert shares == sorted(shares)
    assert (shares[0] <= 0.2, shares[-1]) == (True, 1.0)
    assert seen.share("b", now=back) == 1.0


def test_failures_that_were_under_way_do_not_eject_twice() -> None:
    seen = ejections()
    for _ in range(50):
        seen.silent("a", now=0)
    assert not ejected(seen, "a", now=6.1)


def test_what_was_is_forgotten_after_a_minute_of_good_answers() -> None:
    seen = ejections()
    first = eject(seen, "a", now=0)
    seen.answered("a", now=first + limits.EJECTION_SECONDS_MAX + 1)
    assert eject(seen, "a", now=200) <= 6.1


def test_f42_when_most_are_out_all_are_asked() -> None:
    seen = ejections()
    for host_id in ("a", "b"):
        seen.silent(host_id, now=0)
        seen.silent(host_id, now=0)
    assert seen.kept(("a", "b", "c", "d"), now=0) == {"c", "d"}
    assert seen.kept(HOSTS, now=0) == set(HOSTS)
    assert seen.kept(("a",), now=0) == {"a"}


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=400))
def test_s10_retries_stay_within_a_tenth_and_the_floor(steps: list[tuple[float, bool]]) -> None:
    """Every request wants to be tried again."""
    budget, now = RetryBudget(), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for pause, fails in steps:
        now += pause
        budget.asked(now=now)
        requests.append(now)
        if fails and budget.take(now=now):
            retries.append(now)
        window = now - limits.RETRY_WINDOW_SECONDS + 1
        recent = sum(at >= window for at in requests)
        floor = limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS
        assert sum(at >= window for at in retries) <= max(floor, limits.RETRY_SHARE_MAX * recent * 2) + 1


def test_a_storm_of_failures_is_tried_again_a_tenth_of_the_time() -> None:
    budget = RetryBudget()
    granted = 0
    for number in range(10_000):
        budget.asked(now=number / 1_000)
        granted += budget.take(now=number / 1_000)
    assert 900 <= granted <= 1_030


def test_the_budget_comes_back() -> None:
    budget = RetryBudget()
    floor = limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS
    assert [budget.take(now=0) for _ in range(floor + 1)] == [True] * floor + [False]
    assert budget.take(now=limits.RETRY_WINDOW_SECONDS)


def test_requests_of_long_ago_allow_no_retries() -> None:
    budget = RetryBudget()
    for _ in range(1_000):
        budget.asked(now=0)
    assert sum(budget.take(now=1) for _ in range(200)) == 1_000 * limits.RETRY_SHARE_MAX
    floor = limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS
    assert sum(budget.take(now=2 * limits.RETRY_WINDOW_SECONDS) for _ in range(200)) == floor


def test_f04_the_circuit_opens_after_five_misses_and_probes_once_a_second() -> None:
    breaker = Breaker()
    for _ in range(limits.HOT_MISSES_MAX):
        assert breaker.allows(now=0)
        breaker.missed(now=0)
    tenths = [breaker.allows(now=number / 10) for number in range(31)]
    assert sum(tenths) == 3
    breaker.succeeded()
    assert all(breaker.allows(now=3.05) for _ in range(10))


def test_a_host_that_never_comes_back_is_ejected_for_ever() -> None:
    """Seventeen hours of it, and a clock that runs."""
    seen, now = ejections(), 0.0
    for _ in range(1_100):
        seen.silent("a", now=now)
        seen.silent("a", now=now)
        assert ejected(seen, "a", now=now)
        now += limits.EJECTION_SECONDS_MAX


def late(seen: Ejections, host_id: str, *, since: float, now: float) -> None:
    """Twice, as two callers see it at once."""
    for _ in range(limits.EJECTION_CONNECT_ERRORS):
        seen.late(host_id, since=since, now=now)


def test_f29_a_host_that_answers_nobody_in_time_is_ejected() -> None:
    seen = ejections()
    seen.answered("a", now=0.9)
    late(seen, "a", since=1, now=2)
    assert ejected(seen, "a", now=2)


def test_a_host_that_answers_others_meanwhile_is_not_ejected_for_a_slow_model() -> None:
    seen = ejections()
    seen.answered("a", now=1.5)
    late(seen, "a", since=1, now=2)
    seen.failed("b", now=1.5)
    late(seen, "b", since=1, now=2)
    assert seen.kept(HOSTS, now=2) == set(HOSTS)


def test_a_caller_in_a_hurry_ejects_nobody() -> None:
    seen = ejections()
    late(seen, "a", since=1, now=1.01)
    assert not ejected(seen, "a", now=1.01)
