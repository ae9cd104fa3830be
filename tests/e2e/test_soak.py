"""New versions of one model, one after the other, under constant load at every door."""

from __future__ import annotations

from typing import Final

from modelrocket import Client
from tests.support.soak import soak
from tests.support.stack import RunningStack

UPLOADS: Final = 12
"""`python -m benchmarks soak` uploads 50."""


def test_uploads_under_load_fail_nothing_mix_nothing_and_never_go_backwards(
    stack: RunningStack, client: Client
) -> None:
    soaked = soak(stack, client, uploads=UPLOADS)
    assert soaked.problems() == []
    assert all(len(asked) > UPLOADS for asked in soaked.asked.values())
    assert {one.version for one in soaked.asked["gateway"]} == set(range(1, UPLOADS + 2))
