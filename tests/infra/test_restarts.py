"""The restart policy as timelines."""

from __future__ import annotations

import pytest

from infra.local.restarts import DeathRecord, RestartPolicy

POLICY = RestartPolicy()


def record(*deaths: float) -> DeathRecord:
    result = DeathRecord()
    for death in deaths:
        result = result.with_death(death, POLICY)
    return result


@pytest.mark.parametrize(
    ("deaths", "delay"),
    [
        pytest.param([0], 0.5, id="the first delay is short"),
        pytest.param([0, 1, 2], 2.0, id="each death doubles it"),
        pytest.param([0, 100], 0.5, id="old deaths are forgotten"),
        pytest.param(list(range(30)), 10.0, id="there is a longest one"),
    ],
)
def test_delay(deaths: list[float], delay: float) -> None:
    assert record(*deaths).delay_seconds(POLICY) == delay


@pytest.mark.parametrize(
    ("deaths", "was_ready", "given_up"),
    [
        pytest.param([0, 1, 2, 3], True, False, id="four deaths are forgiven"),
        pytest.param([0, 1, 2, 3, 59], True, True, id="five within a minute are not"),
        pytest.param([0, 1, 2, 3, 61], True, False, id="five over a longer time are"),
        pytest.param([0], False, False, id="one death while starting is forgiven"),
        pytest.param([0, 1], False, True, id="what never worked is given up early"),
    ],
)
def test_given_up(deaths: list[float], was_ready: bool, given_up: bool) -> None:
    assert record(*deaths).given_up(POLICY, was_ready=was_ready) is given_up
