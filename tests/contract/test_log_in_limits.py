"""How often may be tried to log in, by the hot state's own clock, whatever Redis it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.contract.hotstate import HotState, LogInTry
from chalicelib.contract.limiting import Rate

SLOW = Rate(per_second=1 / 3600, burst=5)
WIDE = Rate(per_second=1 / 3600, burst=100)


def tried(address: str = "a", *, account: str = "ada", strangers: Rate = WIDE) -> LogInTry:
    pair = f"{account}:{address}"
    return LogInTry(
        who=pair, everybody=((f"pair:{pair}", SLOW),), strangers=((f"account:{account}", strangers),)
    )


def let_through(hot: HotState, one: LogInTry, times: int) -> int:
    return sum(hot.try_log_in(one) == 0 for _ in range(times))


def test_f74_a_burst_is_let_through_and_then_the_rate(hot: HotState) -> None:
    assert let_through(hot, tried(), 5) == 5
    assert 3590 < hot.try_log_in(tried()) <= 3600


def test_f74_what_is_refused_counts_towards_nothing(hot: HotState, raw_redis: Any) -> None:
    let_through(hot, tried(), 5)
    stand = raw_redis.get("mr:rate:log-in:account:ada")
    assert let_through(hot, tried(), 20) == 0
    assert raw_redis.get("mr:rate:log-in:account:ada") == stand


def test_many_at_once_get_no_more_than_the_burst(hot: HotState) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: hot.try_log_in(tried()) == 0, range(40))) == 5


def test_a_guesser_does_not_keep_out_who_is_known_elsewhere(hot: HotState) -> None:
    few = Rate(per_second=1 / 3600, burst=7)
    owner = tried("home", strangers=few)
    assert hot.try_log_in(owner) == 0
    hot.logged_in(owner)
    for address in ("b", "c", "d"):
        let_through(hot, tried(address, strangers=few), 20)
    assert hot.try_log_in(tried("e", strangers=few)) > 0
    assert let_through(hot, owner, 20) == 5


def test_what_was_no_guess_is_given_back(hot: HotState) -> None:
    for _ in range(20):
        assert hot.try_log_in(tried()) == 0
        hot.no_guess(tried())
    let_through(hot, tried(), 5)
    assert hot.try_log_in(tried()) > 0


def test_giving_back_makes_no_more_than_a_burst(hot: HotState) -> None:
    for _ in range(20):
        hot.no_guess(tried())
    assert let_through(hot, tried(), 20) == 5


def test_f46_a_clock_that_jumped_back_locks_nobody_out_for_more_than_a_burst(
    hot: HotState, raw_redis: Any
) -> None:
    hot.try_log_in(tried())
    far_ahead = int(raw_redis.time()[0] + 10 * 365 * 86_400) * 1_000_000
    raw_redis.set("mr:rate:log-in:pair:ada:a", far_ahead)
    assert 0 < hot.try_log_in(tried()) <= 3600


@pytest.mark.parametrize("rubbish", [b"", b"soon", b"nan"])
def test_what_cannot_be_read_counts_as_nothing(hot: HotState, raw_redis: Any, rubbish: bytes) -> None:
    raw_redis.set("mr:rate:log-in:pair:ada:a", rubbish)
    assert hot.try_log_in(tried()) == 0


def test_limits_are_forgotten_when_they_are_whole_again(hot: HotState, raw_redis: Any) -> None:
    quick = LogInTry(who="x", everybody=(("quick", Rate(per_second=1000, burst=10)),))
    hot.try_log_in(quick)
    assert 0 <= raw_redis.pttl("mr:rate:log-in:quick") <= 2 or not raw_redis.exists("mr:rate:log-in:quick")
