"""How long one request waits for the truth in all.

A request asks the truth several things, one after the other. Once it has waited for `TRUTH_SECONDS_MAX`
together, or the truth did not answer once, it asks nothing more: what is left fails at once, and the caller
hears so while it still listens. Who is not inside `one_request` waits for each answer by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits

_clock: Final[Callable[[], float]] = time.monotonic


@dataclass(slots=True)
class Patience:
    """`left`: seconds, of which the last question may take more."""

    left: float = limits.TRUTH_SECONDS_MAX

    @property
    def over(self) -> bool:
        return self.left <= 0

    def lose(self) -> None:
        """The truth does not answer."""
        self.left = -math.inf

    @contextmanager
    def waiting(self) -> Iterator[None]:
        began = _clock()
        try:
            yield
        finally:
            self.left -= _clock() - began


_of_this_request: ContextVar[Patience | None] = ContextVar("patience", default=None)


class one_request:
    """What is asked until the block ends belongs together."""

    def __enter__(self) -> None:
        self._token = _of_this_request.set(Patience())

    def __exit__(self, *_: object) -> None:
        _of_this_request.reset(self._token)


@contextmanager
def once_more() -> Iterator[None]:
    """Worth a question of its own, however long the request has waited."""
    token = _of_this_request.set(None)
    try:
        yield
    finally:
        _of_this_request.reset(token)


def patience() -> Patience:
    """What this request has left."""
    return _of_this_request.get() or Patience(math.inf)
