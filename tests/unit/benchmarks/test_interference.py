"""What a bystander's answers come to."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.interference import ALONE, ELSEWHERE, HERE, Heard, Interference


def test_a_request_without_an_answer_is_as_slow_as_can_be() -> None:
    heard = Heard([0.001] * 98, Counter({"status 503": 1, "no answer in 10 s": 1}))
    assert heard.failed == pytest.approx(0.02)
    assert heard.milliseconds() == (1.0, 10_000.0)


def test_ratios_are_of_the_slowest_in_a_hundred() -> None:
    heard = {
        phase: {"tiny": Heard([0.001] * 90 + [slow] * 10)}
        for phase, slow in ((ALONE, 0.002), (HERE, 0.008), (ELSEWHERE, 0.004))
    }
    seen = Interference(heard, rates={})
    assert seen.ratio("tiny", phase=HERE, to=ALONE) == pytest.approx(4)
    assert seen.ratio("tiny", phase=HERE, to=ELSEWHERE) == pytest.approx(2)
