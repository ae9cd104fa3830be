"""When a version will be loaded: what its passport says, as this host has found passports to be. Pure.

A load is a queue for a slot, perhaps a download, and the load itself. What the last two took before, in
proportion to what was expected, corrects the next forecast: machines, stores and neighbours differ.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.messages import VersionRecord

_FETCH_BYTES_PER_SECOND: Final = 50e6
_FETCH_SECONDS: Final = 0.05
_LOAD_SECONDS: Final = 0.1
"""What every download and every load take beside their bytes and the session, before anything was seen."""
_NEWS: Final = 0.5
"""How much of the correction the latest load decides."""
_CORRECTION_MAX: Final = 50.0


@dataclass(frozen=True, slots=True)
class Load:
    """One that waits or runs. `began`: when it got a slot; None while it waits."""

    version_id: str
    seconds: float
    began: float | None = None


class Forecast:
    """Learns from loads that ended. Owned by the event loop."""

    def __init__(self) -> None:
        self._corrections = {True: 0.0, False: 0.0}  # logarithms, by whether it was fetched

    def seconds(self, record: VersionRecord, *, on_disk: bool) -> float:
        """From getting a slot to being ready."""
        return _told(record, on_disk=on_disk) * math.exp(self._corrections[not on_disk])

    def saw(self, record: VersionRecord, *, on_disk: bool, seconds: float) -> None:
        """How long one took from getting a slot."""
        found = math.log(max(seconds, 1e-3) / _told(record, on_disk=on_disk))
        bound = math.log(_CORRECTION_MAX)
        before = self._corrections[not on_disk]
        found = before + _NEWS * (found - before) if before else found
        self._corrections[not on_disk] = min(bound, max(-bound, found))


def ready_in(version_id: str, loads: Sequence[Load], *, now: float) -> float:
    """Seconds until this one of `loads`, which take their slots in that order, will be ready."""
    free = [now] * limits.LOAD_SLOTS
    for load in sorted(loads, key=lambda load: load.began is None):
        slot = heapq.heappop(free)
        ends = max(now, (slot if load.began is None else load.began) + load.seconds)
        if load.version_id == version_id:
            return ends - now
        heapq.heappush(free, ends)
    return 0.0


def _told(record: VersionRecord, *, on_disk: bool) -> float:
    load = record.passport.load_ms / 1000 + _LOAD_SECONDS
    return load if on_disk else load + _FETCH_SECONDS + record.bytes_in_all / _FETCH_BYTES_PER_SECOND
