"""What an answer of a host says about it."""

from __future__ import annotations

import pytest

from chalicelib.contract.dispatches import timing_seconds

TOLD = "queue;dur=0.010, load;dur=1500.5, batch;dur=0.000, run;dur=0.100"


@pytest.mark.parametrize(
    ("told", "name", "seconds"),
    [
        pytest.param(TOLD, "load", 1.5005, id="in the middle"),
        pytest.param(TOLD, "run", 0.0001, id="at the end"),
        pytest.param(TOLD, "forward", 0.0, id="not told"),
        pytest.param("", "run", 0.0, id="nothing told"),
        pytest.param("run;dur=fast", "run", 0.0, id="no number"),
        pytest.param("run;dur=", "run", 0.0, id="empty"),
        pytest.param("run;dur=-1", "run", 0.0, id="before it began"),
        pytest.param("run;dur=nan", "run", 0.0, id="nan"),
        pytest.param("run;dur=" + "9" * 400, "run", 0.0, id="without end"),
    ],
)
def test_f07_a_timing_is_a_time_or_nothing(told: str, name: str, seconds: float) -> None:
    assert timing_seconds(told, name) == pytest.approx(seconds)
