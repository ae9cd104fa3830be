"""A page of memory that a worker and the front share: what runs right now, and until when it may.

The front reads it to tell a worker that is stuck in a run from one that is busy.
It is advice, since a hostile worker may write anything there: the front kills by
the requests' own deadlines too.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import Final

LANES_MAX: Final = 32
_LANE: Final = struct.Struct("<dIxxxxQ")
_LANE_BYTES: Final = 64
_SIZE: Final = LANES_MAX * _LANE_BYTES


@dataclass(frozen=True, slots=True)
class Lit:
    """`deadline` is on the monotonic clock; `slot` is what runs, up to and with request `last`."""

    deadline: float
    slot: int
    last: int


class Beacon:
    """One side's view of the page."""

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, _SIZE)

    @staticmethod
    def create() -> int:
        """A file descriptor of a new, dark page. The caller closes it."""
        descriptor = os.memfd_create("beacon", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        return descriptor

    def light(self, lane: int, *, deadline: float, slot: int, last: int) -> None:
        """A run begins in this lane."""
        _LANE.pack_into(self._page, lane * _LANE_BYTES, deadline, slot, last)

    def dark(self, lane: int) -> None:
        """The run is over."""
        _LANE.pack_into(self._page, lane * _LANE_BYTES, 0.0, 0, 0)

    def lit(self) -> list[Lit]:
        """What runs now."""
        found = []
        for lane in range(LANES_MAX):
            deadline, slot, last = _LANE.unpack_from(self._page, lane * _LANE_BYTES)
            if deadline:
                found.append(Lit(deadline, slot, last))
        return found

    def close(self) -> None:
        self._page.close()
