"""How much this host was asked: of each version, the requests that ended and the time they took, by the
integral of how many there were. Exact whether they are short or still going on.

What is told is forgotten when it is known to have been heard; what may not have been is told again under the
same number, with what has happened since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chalicelib.contract.messages import HostLoad, VersionLoad

_VERSIONS_TOLD_MAX: Final = 5_000
"""In one beat; the busiest."""


@dataclass(slots=True)
class Busy:
    """One version. `seconds` and `running` at the time t make the integral `seconds + running * t`.

    Attributes:
        running: requests that wait or run.
        ended: requests that did.
        seconds: when requests ended, less when they began, summed up.
        ran: in the model.
    """

    running: int = 0
    ended: int = 0
    seconds: float = 0.0
    ran: float = 0.0

    def until(self, now: float) -> VersionLoad:
        return VersionLoad(self.ended, self.seconds + self.running * now, self.ran)


_NOTHING: Final = VersionLoad()


class Loads:
    """Of all versions. Owned by the event loop. Times are on one monotonic clock, in seconds.

    `processor` says how much processor time this process has had.
    """

    def __init__(self, now: float, processor: Callable[[], float]) -> None:
        self.number = 1
        """Of the beat that tells what has not been heard yet."""
        self._processor = processor
        self._busy: dict[str, Busy] = {}
        self._heard: dict[str, VersionLoad] = {}
        self._told: dict[str, VersionLoad] = {}
        self._heard_at = self._told_at = now, processor()

    def began(self, version_id: str, now: float) -> None:
        busy = self._busy.get(version_id)
        if busy is None:
            busy = self._busy[version_id] = Busy()
        busy.running += 1
        busy.seconds -= now

    def ended(self, version_id: str, now: float) -> None:
        busy = self._busy[version_id]
        busy.running -= 1
        busy.ended += 1
        busy.seconds += now

    def ran(self, version_id: str, seconds: float) -> None:
        """For a request that has begun and not ended."""
        self._busy[version_id].ran += seconds

    def since_heard(self, now: float) -> HostLoad:
        """What to tell. Remembers it as told."""
        self._told_at = now, self._processor()
        self._told = {version_id: busy.until(now) for version_id, busy in self._busy.items()}
        news = []
        for version_id, told in self._told.items():
            before = self._heard.get(version_id, _NOTHING)
            load = VersionLoad(
                told.requests - before.requests,
                round(max(0.0, told.seconds - before.seconds), 6),
                round(told.ran - before.ran, 6),
            )
            if load != _NOTHING:
                news.append((version_id, load))
        news.sort(key=lambda one: (-one[1].seconds, one[0]))
        (at, processor), (at_before, processor_before) = self._told_at, self._heard_at
        return HostLoad(at - at_before, dict(news[:_VERSIONS_TOLD_MAX]), processor - processor_before)

    def heard(self) -> None:
        """What was told last has arrived. Versions that nobody asks for any more are forgotten."""
        self._heard, self._heard_at = self._told, self._told_at
        self.number += 1
        for version_id, told in list(self._heard.items()):
            busy = self._busy[version_id]
            if not busy.running and busy.ended == told.requests:
                del self._busy[version_id], self._heard[version_id]
