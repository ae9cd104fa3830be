"""The budget: what is evicted, what never is, and that the books always fit."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chalicelib.contract import limits
from host_container.cache import Cache, Item, Refused


def filled(bytes_max: int, *items: Item, now: float = 0) -> Cache:
    cache = Cache(bytes_max)
    for item in items:
        assert cache.reserve(item, now=now) == ()
        cache.commit(item.key, now=now)
    return cache


def item(key: str, size: int = 10, cost: float = 1.0) -> Item:
    return Item(key, bytes=size, cost_seconds=cost)


LATER = 1_000.0


@pytest.mark.parametrize(
    ("held", "used", "gone"),
    [
        pytest.param((item("a"), item("b")), "b", ("a",), id="the one less used"),
        pytest.param(
            (item("cheap", cost=1), item("dear", cost=9)), "", ("cheap",), id="the cheaper to reload"
        ),
        pytest.param((item("small", 5), item("large", 15)), "", ("large",), id="the larger"),
    ],
)
def test_the_least_valuable_goes(held: tuple[Item, ...], used: str, gone: tuple[str, ...]) -> None:
    cache = filled(20, *held)
    if used:
        cache.use(used, now=LATER / 2)
    assert cache.reserve(item("new", 5), now=LATER) == gone


def test_what_was_popular_once_goes_in_the_end() -> None:
    cache = filled(20, item("old"), item("x"))
    for _ in range(5):
        cache.use("old", now=1)
    evicted: list[str] = []
    for number in range(20):
        now = LATER * (number + 1)
        gone = cache.reserve(item(f"new-{number}"), now=now)
        cache.commit(f"new-{number}", now=now)
        evicted.extend(gone)
    assert "old" in evicted


def test_what_was_asked_for_once_goes_before_what_was_asked_for_again() -> None:
    cache = filled(20, item("again", cost=0.01), item("once", cost=9))
    for key in ("again", "again", "once"):
        cache.use(key, now=500)
    assert cache.reserve(item("new"), now=LATER) == ("once",)


def test_what_comes_back_is_no_stranger() -> None:
    cache = filled(20, item("back"), item("other"))
    cache.use("back", now=1)
    cache.use("other", now=1)
    assert cache.reserve(item("new", 20), now=LATER) == ("back", "other")
    cache.forget("new")
    for key in ("back", "stranger"):
        cache.reserve(item(key), now=LATER)
        cache.commit(key, now=LATER)
        cache.use(key, now=LATER)
    assert cache.reserve(item("new"), now=LATER + 100) == ("stranger",)


def test_what_is_kept_stays_and_counts_no_use() -> None:
    cache = filled(20, item("kept"), item("used", cost=2.0))
    cache.keep("kept")
    assert cache.reserve(item("new"), now=LATER) == ("used",)
    cache.unpin("kept")
    assert not cache.pinned("kept")


def test_the_pinned_and_the_reserved_stay() -> None:
    cache = filled(30, item("pinned"))
    cache.pin("pinned", now=0)
    assert cache.reserve(item("reserved"), now=0) == ()
    with pytest.raises(Refused) as caught:
        cache.reserve(item("new", 15), now=LATER)
    assert caught.value.retry_after is not None
    assert cache.bytes_used == 20


def test_f67_what_never_fits_is_refused_with_numbers_and_evicts_nothing() -> None:
    cache = filled(10 * limits.MIB, item("a", limits.MIB))
    with pytest.raises(Refused, match=r"20\.0 MiB, more than the 10\.0 MiB") as caught:
        cache.reserve(item("huge", 20 * limits.MIB), now=LATER)
    assert caught.value.retry_after is None
    assert "a" in cache


def test_what_was_used_within_five_of_its_load_times_is_not_evicted_for_another() -> None:
    cache = filled(10, item("a", cost=2.0))
    with pytest.raises(Refused) as caught:
        cache.reserve(item("b"), now=8)
    assert caught.value.retry_after == pytest.approx(2)
    assert cache.reserve(item("b"), now=10) == ("a",)


def test_prefetching_takes_only_what_is_free() -> None:
    cache = filled(20, item("a"))
    assert not cache.reserve_free(item("b", 11), now=LATER)
    assert cache.reserve_free(item("c", 10), now=LATER)
    assert not cache.reserve_free(item("c", 0), now=LATER)
    assert "a" in cache


def test_a_reservation_that_comes_to_nothing_gives_its_room_back() -> None:
    cache = Cache(10)
    cache.reserve(item("a"), now=0)
    assert "a" not in cache
    cache.forget("a")
    assert cache.bytes_free == 10


class CacheMachine(RuleBasedStateMachine):
    """S7: used + reserved ≤ budget at all times, and nothing pinned is ever evicted."""

    BYTES_MAX = 100

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache(self.BYTES_MAX)
        self.now = 0.0
        self.sizes: dict[str, int] = {}
        self.reserved: set[str] = set()
        self.pins: dict[str, int] = {}

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        key=st.sampled_from("abcdefgh"),
        size=st.integers(0, 120),
        cost=st.floats(0, 3),
        free_only=st.booleans(),
    )
    def reserve(self, key: str, size: int, cost: float, free_only: bool) -> None:
        wanted = Item(key, size, cost)
        if free_only:
            took = self.cache.reserve_free(wanted, now=self.now)
            assert took == (key not in self.sizes and size <= self.BYTES_MAX - sum(self.sizes.values()))
            victims: tuple[str, ...] = ()
        elif key in self.sizes:
            return
        else:
            try:
                victims, took = self.cache.reserve(wanted, now=self.now), True
            except Refused:
                took, victims = False, ()
        for victim in victims:
            assert victim not in self.reserved
            assert not self.pins.pop(victim, 0)
            del self.sizes[victim]
        if took:
            self.sizes[key] = size
            self.reserved.add(key)

    @precondition(lambda self: self.reserved)
    @rule(choice=st.randoms(use_true_random=False), succeeds=st.booleans())
    def finish(self, choice: object, succeeds: bool) -> None:
        key = min(self.reserved)
        self.reserved.discard(key)
        if succeeds:
            self.cache.commit(key, now=self.now)
        else:
            self.cache.forget(key)
            del self.sizes[key]

    @precondition(lambda self: self.sizes.keys() - self.reserved)
    @rule(which=st.integers(0, 7))
    def pin(self, which: int) -> None:
        there = sorted(self.sizes.keys() - self.reserved)
        key = there[which % len(there)]
        self.cache.pin(key, now=self.now)
        self.pins[key] = self.pins.get(key, 0) + 1

    @precondition(lambda self: any(self.pins.values()))
    @rule()
    def unpin(self) -> None:
        key = next(key for key, count in self.pins.items() if count)
        self.cache.unpin(key)
        self.pins[key] -= 1

    @invariant()
    def the_books_fit(self) -> None:
        assert self.cache.bytes_used == sum(self.sizes.values()) <= self.BYTES_MAX
        assert set(self.cache) == self.sizes.keys() - self.reserved


TestCache = CacheMachine.TestCase


def test_what_is_wanted_goes_last_and_makes_no_room_for_what_else_is() -> None:
    cache = filled(20, item("wanted", cost=1), item("other", cost=9))
    cache.wanted = frozenset({"wanted", "new"})
    assert cache.room_beside_wanted(item("new"), now=LATER)
    assert not cache.room_beside_wanted(item("new", 11), now=LATER)
    cache.keep("other")
    assert not cache.room_beside_wanted(item("new"), now=LATER), "it is in use"
    cache.unpin("other")
    assert cache.reserve(item("new"), now=LATER) == ("other",)
    cache.commit("new", now=LATER)
    assert cache.reserve(item("last"), now=2 * LATER) == ("wanted",), "rather than nothing"


def test_idle_is_what_nobody_holds_or_has_asked_for_lately() -> None:
    cache = filled(20, item("a"))
    assert not cache.idle("a", seconds=10, now=9)
    assert cache.idle("a", seconds=10, now=10)
    cache.keep("a")
    assert not cache.idle("a", seconds=10, now=10)
