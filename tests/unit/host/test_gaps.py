"""How soon something is likely to be asked for again."""

from __future__ import annotations

import itertools

import pytest

from host_container.gaps import Everything, Gaps, hit_density

NOTHING_KNOWN = Everything().chances()


def habit(*gaps: float) -> Gaps:
    found = Gaps()
    for gap in gaps:
        found.saw(gap)
    return found


def density(gaps: Gaps | None, idle: float) -> float:
    return hit_density(gaps, NOTHING_KNOWN, idle=idle)


def test_what_comes_often_is_more_likely_to_come_than_what_comes_rarely() -> None:
    often, rarely = habit(*[10.0] * 5), habit(*[3_600.0] * 5)
    assert density(often, 2.0) > 10 * density(rarely, 2.0)


def test_it_is_the_more_likely_to_come_the_nearer_its_time_is_and_not_when_it_is_long_past() -> None:
    every_five_minutes = habit(*[300.0] * 5)
    assert density(every_five_minutes, 200.0) > 2 * density(every_five_minutes, 10.0)
    assert density(every_five_minutes, 3_000.0) < density(every_five_minutes, 10.0) / 5


def test_of_two_habits_the_one_that_can_still_be_met_counts() -> None:
    """Bouts a few seconds apart once an hour: after a minute the bout is over."""
    bouts = habit(*[3.0] * 9, 3_600.0)
    assert density(bouts, 1.0) > 100 * density(bouts, 60.0)
    assert density(bouts, 3_000.0) > density(bouts, 60.0)


def test_of_what_is_not_known_the_longest_idle_is_the_least_likely() -> None:
    found = [density(None, 4.0**octave) for octave in range(8)]
    assert all(later < sooner / 2 for sooner, later in itertools.pairwise(found))


def test_what_is_known_of_everything_speaks_for_what_is_new() -> None:
    busy = Everything()
    for _ in range(1_000):
        busy.saw(10.0)
    assert hit_density(None, busy.chances(), idle=8.0) > 2 * density(None, 8.0)


@pytest.mark.parametrize("idle", [0.0, 1.0, 1e3, 1e6, 1e9])
def test_every_idle_time_has_a_density(idle: float) -> None:
    assert 0 < density(habit(1e9, 1.0), idle) < 10


def test_old_habits_are_forgotten() -> None:
    changed = habit(*[3_600.0] * 99, *[5.0] * 600)
    assert density(changed, 1.0) == pytest.approx(density(habit(*[5.0] * 50), 1.0), rel=0.1)
    assert changed.mean == pytest.approx(5.0)


def test_everything_forgets_too() -> None:
    changed = Everything()
    for gap in (*[3_600.0] * 9_000, *[5.0] * 60_000):
        changed.saw(gap)
    assert hit_density(None, changed.chances(), idle=1.0) == pytest.approx(
        hit_density(None, _only(5.0).chances(), idle=1.0), rel=0.1
    )


def _only(gap: float) -> Everything:
    found = Everything()
    for _ in range(60_000):
        found.saw(gap)
    return found
