"""What a host is to hold, and when something may go."""

from __future__ import annotations

from host_container.assignments import LEAVE_SECONDS, Assignments


def test_what_is_no_longer_assigned_leaves_after_a_while() -> None:
    assigned = Assignments()
    assigned.told({"old", "other"}, now=0)
    assigned.told({"new", "other"}, now=5)
    assert assigned.wanted == {"new", "other"}
    assert assigned.leaving(now=5 + LEAVE_SECONDS - 0.1) == ()
    assert assigned.leaving(now=5 + LEAVE_SECONDS) == ("old",)
    assigned.gone("old")
    assert assigned.leaving(now=1_000) == ()


def test_what_is_assigned_again_stays() -> None:
    assigned = Assignments()
    for now, wanted in enumerate(({"a", "b"}, {"a"}, {"a", "b"})):
        assigned.told(wanted, now=now)
    assert assigned.leaving(now=1_000) == ()


def test_what_is_assigned_nothing_keeps_nothing() -> None:
    assigned = Assignments()
    assigned.told({"a"}, now=0)
    assigned.told((), now=1)
    assert assigned.wanted == frozenset()
    assert assigned.leaving(now=1 + LEAVE_SECONDS) == ("a",)
