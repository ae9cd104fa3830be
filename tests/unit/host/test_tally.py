"""What was seen of trials is summed up, told once, and bounded."""

from __future__ import annotations

import pytest

from chalicelib.contract.messages import Counts
from host_container import tally
from host_container.tally import Tally, Trial

FIRST, SECOND = Trial("m", 1), Trial("m", 2)


def taken(tally: Tally) -> dict[Trial, dict[str, Counts]]:
    found = {}
    while (one := tally.take()) is not None:
        found[one[0]] = one[1]
    return found


def test_sums_are_by_trial_and_version_and_are_taken_once() -> None:
    sums = Tally()
    sums.add(FIRST, "a", Counts(requests=1, run_us=5))
    sums.add(FIRST, "a", Counts(requests=1, errors=1))
    sums.add(FIRST, "b", Counts(mirrored=1, differing=1))
    sums.add(SECOND, "a", Counts(requests=1))
    assert taken(sums) == {
        FIRST: {"a": Counts(requests=2, errors=1, run_us=5), "b": Counts(mirrored=1, differing=1)},
        SECOND: {"a": Counts(requests=1)},
    }
    assert taken(sums) == {}


def test_what_could_not_be_told_is_added_to_what_came_meanwhile() -> None:
    sums = Tally()
    sums.add(FIRST, "a", Counts(requests=1))
    trial, seen = sums.take() or (SECOND, {})
    sums.add(FIRST, "a", Counts(requests=2))
    sums.give_back(trial, seen)
    assert taken(sums) == {FIRST: {"a": Counts(requests=3)}}


def test_the_trials_counted_longest_ago_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_TRIALS_MAX", 2)
    sums = Tally()
    for number in (1, 2, 1, 3):
        sums.add(Trial("m", number), "a", Counts(requests=1))
    assert [trial.number for trial in taken(sums)] == [1, 3]
