"""What a request that has waited for the truth asks no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymongo.errors import AutoReconnect

from chalicelib import patience
from chalicelib.adapters.mongo.database import translated
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What the clock says; the test moves it."""
    now = [0.0]
    monkeypatch.setattr(patience, "_clock", lambda: now[0])
    yield now


def question(passed: list[float], seconds: float, *, answered: bool = True) -> None:
    with translated():
        passed[0] += seconds
        if not answered:
            raise AutoReconnect


def test_f12_questions_of_one_request_wait_together(passed: list[float]) -> None:
    with patience.one_request():
        question(passed, limits.TRUTH_SECONDS_MAX - 0.1)
        question(passed, 3.0)
        with pytest.raises(DependencyFailed):
            question(passed, 0.0)
    assert passed[0] == pytest.approx(limits.TRUTH_SECONDS_MAX + 2.9), "the last one was not asked"
    with patience.one_request():
        question(passed, 0.0)


def test_f11_a_truth_that_did_not_answer_is_asked_nothing_more_but_what_is_worth_it(
    passed: list[float],
) -> None:
    with patience.one_request():
        with pytest.raises(DependencyFailed):
            question(passed, 0.0, answered=False)
        with pytest.raises(DependencyFailed):
            question(passed, 1.0)
        with patience.once_more():
            question(passed, 0.0)
    assert passed[0] == 0.0


def test_who_is_in_no_request_may_wait_again_and_again(passed: list[float]) -> None:
    for _ in range(3):
        with pytest.raises(DependencyFailed):
            question(passed, 3.0, answered=False)
        question(passed, 100.0)
