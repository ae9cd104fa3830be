"""Waiting for a condition with a generous deadline instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

DEADLINE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.05

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], *, what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """The first truthy value of `condition`. Fails the test, saying what it waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(_PAUSE_SECONDS)


async def eventually(condition: Callable[[], object], *, what: str) -> None:
    """As `wait_for`, while the other tasks of this loop run."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(_PAUSE_SECONDS / 10)
