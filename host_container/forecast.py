"""When a version will be loaded: what its passport says, as this host has found passports to be. Pure.

A load is a queue for a slot, perhaps a download, and the load itself. The last ones, beside what was expected
of them, show what every load takes here and how much longer what is expected takes: machines, stores and
neighbours differ.
"""

from __future__ import annotations

import heapq
import statistics
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final, NamedTuple

from chalicelib.contract import limits
from chalicelib.contract.messages import VersionRecord

_FETCH_BYTES_PER_SECOND: Final = 50e6
_LOOK_BYTES_PER_SECOND: Final = 1.5e9
"""Files that a process finds on disk are hashed before it uses them for the first time."""
_LOAD_SECONDS: Final = 0.015
_FETCH_SECONDS: Final = 0.065
"""What every load takes beside session and bytes, before anything was seen: links, frames, a worker."""
_LOOKED_MAX: Final = 4096
_LAST: Final = 15
_LATEST: Final = 6
"""Of these, and of those that had to wait for a slot, or of those that had not. What every load takes changes
with what else goes on; how much longer one takes hardly does. An even number: of two that load side by side
one is done well before the other, and the middle lies between them.
"""
_APART_SECONDS: Final = 0.005
"""Loads that were expected to take more alike show nothing of how much longer one takes."""
_CORRECTION_MAX: Final = 50.0


@dataclass(frozen=True, slots=True)
class Load:
    """One that waits or runs. `began`: when it got a slot; None while it waits."""

    version_id: str
    seconds: float
    began: float | None = None


class _Seen(NamedTuple):
    """One load: seconds, as expected of its bytes and session alone, and as it was; whether it waited."""

    expected: float
    took: float
    waited: bool


class Forecast:
    """Learns from loads that ended. Owned by the event loop."""

    def __init__(self) -> None:
        self._fixed = {False: _LOAD_SECONDS, True: _FETCH_SECONDS}  # by whether it was fetched
        self._last = {fetched: deque[_Seen](maxlen=_LAST) for fetched in self._fixed}
        self._looked: OrderedDict[str, None] = OrderedDict()

    def seconds(self, record: VersionRecord, *, on_disk: bool, beside: int = 0) -> float:
        """From getting a slot to being ready. `beside`: loads that wait or run when it is asked for."""
        expected, last = self._expected(record, on_disk=on_disk), self._last[not on_disk]
        if not last:
            return self._fixed[not on_disk] + expected
        longer = _times_longer(last)
        alike = [one for one in last if one.waited == _waits(beside)] or last
        latest = islice(reversed(alike), _LATEST)
        fixed = statistics.median(one.took - longer * one.expected for one in latest)
        return max(0.0, fixed) + longer * expected

    def saw(self, record: VersionRecord, *, on_disk: bool, seconds: float, beside: int = 0) -> None:
        """How long one took from getting a slot. `beside` as in `seconds`."""
        expected = self._expected(record, on_disk=on_disk)
        told = self._fixed[not on_disk] + expected
        took = min(max(seconds, told / _CORRECTION_MAX), told * _CORRECTION_MAX)
        self._last[not on_disk].append(_Seen(expected, took, _waits(beside)))
        self._looked[record.version_id] = None
        if len(self._looked) > _LOOKED_MAX:
            self._looked.popitem(last=False)

    def _expected(self, record: VersionRecord, *, on_disk: bool) -> float:
        """By the passport, where nobody else computes."""
        load = max(record.passport.load_ms / 1000, 1e-6)
        if not on_disk:
            return load + record.bytes_in_all / _FETCH_BYTES_PER_SECOND
        known = record.version_id in self._looked
        return load if known else load + record.bytes_in_all / _LOOK_BYTES_PER_SECOND


def _waits(beside: int) -> bool:
    return beside >= limits.LOAD_SLOTS


def _times_longer(seen: Collection[_Seen]) -> float:
    """What is expected takes so many times as long here: the median slope (Theil, 1950; Sen, 1968)."""
    slopes = [
        (one.took - other.took) / (one.expected - other.expected)
        for one, other in combinations(seen, 2)
        if abs(one.expected - other.expected) >= _APART_SECONDS
    ]
    longer = statistics.median(slopes) if slopes else min(1.0, _ratio(seen))
    return min(max(longer, 1 / _CORRECTION_MAX), _CORRECTION_MAX)


def _ratio(seen: Collection[_Seen]) -> float:
    return statistics.median(one.took / one.expected for one in seen)


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
