"""Waiting for a condition with a generous deadline instead of sleeping and hoping."""

from __future__ import annotations

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
