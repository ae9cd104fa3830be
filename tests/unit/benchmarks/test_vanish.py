"""When a server counts as recovered."""

from __future__ import annotations

import math

from benchmarks.vanish import Answered, normal_again


def answers(*seconds: float | None) -> list[Answered]:
    """One per second; None is an answer that was not good."""
    return [
        Answered(at=float(at), seconds=one or 0.001, good=one is not None) for at, one in enumerate(seconds)
    ]


def test_recovery_begins_with_the_first_of_five_quick_answers() -> None:
    assert normal_again(answers(9, 0.1, 0.1, 9, 0.1, 0.1, 0.1, 0.1, 0.1), limit=1) == 4.0


def test_a_refusal_is_not_a_quick_answer() -> None:
    assert normal_again(answers(None, 0.1, 0.1, 0.1, 0.1, 0.1), limit=1) == 1.0


def test_a_server_that_stays_slow_never_recovers() -> None:
    assert normal_again(answers(9, 9, 9, 9, 9, 9), limit=1) == math.inf
