"""How many requests each account has under way: at this host's own door, counted here, and at all others, as
told.

What is under way here is told with whatever the hot state is asked, and twice a second where it changed, so
that all doors together keep to the cap: to the request at each door by itself, and within half a second
among doors.

Owned by the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

_REPEAT_SECONDS: Final = 5.0
"""What is not told again is forgotten after some time."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Running:
    """One account's. `told`: how many of those `here` the hot state knows of, since `told_at`."""

    tenant: str
    here: int = 0
    elsewhere: int = 0
    told: int = 0
    told_at: float = 0.0


@dataclass(slots=True)
class Runnings:
    """Of the accounts that are remembered, and of those that something was told of."""

    _known: WeakValueDictionary[str, Running] = field(default_factory=WeakValueDictionary)
    _told: dict[str, Running] = field(default_factory=dict)

    def of(self, tenant: str) -> Running:
        """The same one for as long as somebody has it."""
        return self._known.setdefault(tenant, Running(tenant))

    def news(self, now: float) -> dict[str, tuple[int, int]]:
        """By tenant, how many there are here and how many of them were told."""
        changed = {}
        for tenant, one in self._known.items():
            if one.here != one.told or (one.told and now - one.told_at > _REPEAT_SECONDS):
                changed[tenant] = one.here, one.told
        return changed

    def tell(self, news: dict[str, tuple[int, int]], *, now: float) -> None:
        """The hot state has heard."""
        for tenant, (here, _) in news.items():
            one = self.of(tenant)
            one.told, one.told_at = here, now
            if here:
                self._told[tenant] = one
            else:
                self._told.pop(tenant, None)
