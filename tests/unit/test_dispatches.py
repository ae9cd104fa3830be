"""What an answer of a host says about it."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contract.dispatches import host_times
from chalicelib.contract.latency import Took

TOLD = "auth;dur=3.2, queue;dur=0.010, load;dur=1500.5, batch;dur=0.000, run;dur=0.100"


@pytest.mark.parametrize(
    ("told", "took"),
    [
        pytest.param(TOLD, Took(queue=10, load=1_500_500, run=100), id="all"),
        pytest.param("load;dur=2.5", Took(load=2_500), id="one"),
        pytest.param("", Took(), id="nothing told"),
        pytest.param("run;dur=fast, queue;dur=1", Took(queue=1_000), id="no number"),
        pytest.param("run;dur=", Took(), id="empty"),
        pytest.param("run;dur=-1", Took(), id="before it began"),
        pytest.param("run;dur=nan", Took(), id="nan"),
        pytest.param("run;dur=" + "9" * 400, Took(), id="without end"),
    ],
)
def test_f07_a_time_that_a_host_tells_is_one_or_nothing(told: str, took: Took) -> None:
    assert host_times(told, total=0.25) == msgspec.structs.replace(took, total=250_000)
