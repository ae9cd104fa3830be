"""Which versions this host is to hold, and which of them it no longer is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chalicelib.contract import limits

LEAVE_SECONDS: Final = 2 * limits.TOKEN_CACHE_SECONDS
"""How long what is no longer assigned stays at least: this host's own door may still send callers to it."""


class Assignments:
    """`wanted` is what was assigned last. Without a word of the coordinator everything stays as it is."""

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()
        self._left: dict[str, float] = {}

    def told(self, version_ids: Iterable[str], *, now: float) -> None:
        told = frozenset(version_ids)
        self._left.update(dict.fromkeys(self.wanted - told, now))
        self.wanted = told
        for version_id in told.intersection(self._left):
            del self._left[version_id]

    def leaving(self, *, now: float) -> tuple[str, ...]:
        """What was wanted once, and has not been for long enough to go."""
        return tuple(one for one, since in self._left.items() if now - since >= LEAVE_SECONDS)

    def gone(self, version_id: str) -> None:
        self._left.pop(version_id, None)
