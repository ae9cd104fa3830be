"""How long a host takes to come, as it is measured and as callers are told."""

from __future__ import annotations

import pytest

from chalicelib.contract.hotstate.capacity import Boot, Outlook

HOURS = 3600.0


@pytest.mark.parametrize(
    ("boot", "ready", "wished", "expected"),
    [
        pytest.param(Boot(), 2, 2, Boot(), id="nothing is awaited"),
        pytest.param(Boot(), 2, 3, Boot(began=100, ready=2), id="one is awaited from now"),
        pytest.param(Boot(0, 70, 2), 2, 3, Boot(0, 70, 2), id="and still is"),
        pytest.param(Boot(0, 70, 2), 3, 3, Boot(30), id="the first is the measure"),
        pytest.param(Boot(20, 70, 2), 3, 3, Boot(23), id="then three tenths of it"),
        pytest.param(Boot(20, 70, 0), 1, 3, Boot(23, 70, 1), id="two more of the same wish are awaited"),
        pytest.param(Boot(20, 70, 2), 2, 2, Boot(20), id="it is not wanted any more"),
        pytest.param(Boot(20, 70, 2), 1, 2, Boot(20, 70, 1), id="another one went meanwhile"),
        pytest.param(Boot(20, 150, 2), 3, 3, Boot(14), id="the clock was set back"),
        pytest.param(Boot(20, 100 - 9 * HOURS, 0), 1, 1, Boot(1094), id="a night is no boot"),
    ],
)
def test_a_boot_lasts_from_the_wish_to_the_first_ready_host(
    boot: Boot, ready: int, wished: int, expected: Boot
) -> None:
    assert boot.seen(now=100.0, ready=ready, wished=wished) == expected


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        pytest.param(0, 30, id="nobody was asked yet"),
        pytest.param(12, 18, id="under way"),
        pytest.param(29.5, 2, id="as good as here"),
        pytest.param(500, 2, id="overdue"),
        pytest.param(-3600, 30, id="after the clock was set back"),
    ],
)
def test_callers_are_told_what_is_left_of_a_boot(waited: float, expected: float) -> None:
    assert Outlook(30.0, waited).seconds == expected
