"""Watches the event loop from a thread of its own: a loop that is stuck cannot say so itself.

Pings the loop a few times a second. While it takes more than `LOOP_LAG_SECONDS_MAX` to come round, the host
is not ready, and the thread says so to the fleet in the loop's stead: its last heartbeat, with the lag.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat
from host_container.presence import Presence

_PING_SECONDS: Final = 0.25
_OVERSLEPT_SECONDS: Final = 1.0
"""A thread that slept for so much longer than it meant to was stopped, and the loop with it."""


class Watchdog:
    """One per process. `lag` is what was seen last, in seconds."""

    def __init__(self, hot: HotState, presence: Presence, *, clock: Callable[[], float]) -> None:
        self._hot = hot
        self._presence = presence
        self._clock = clock
        self._ended = threading.Event()
        self._last: Heartbeat | None = None
        self.lag = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def beat(self, heartbeat: Heartbeat) -> Heartbeat:
        """What the loop says, with what is seen here."""
        self._last = msgspec.structs.replace(heartbeat, loop_lag_seconds=round(self.lag, 3))
        return self._last

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.wait(_PING_SECONDS):
            came_round = threading.Event()
            try:
                loop.call_soon_threadsafe(came_round.set)
            except RuntimeError:  # it is closed
                return
            self._wait(came_round)

    def _wait(self, came_round: threading.Event) -> None:
        """Until the loop has come round; then the lag is what that took."""
        began = before = self._clock()
        told = 0.0
        while not came_round.wait(_PING_SECONDS) and not self._ended.is_set():
            now = self._clock()
            if now - before > _PING_SECONDS + _OVERSLEPT_SECONDS:
                began = now  # everything stood still, this thread too
            before = now
            self._note(now - began)
            if self._presence.lagging and now - told >= limits.HEARTBEAT_SECONDS:
                told = now
                self._tell()
        self._note(self._clock() - began)

    def _note(self, lag: float) -> None:
        self.lag = lag
        self._presence.lagging = lag > limits.LOOP_LAG_SECONDS_MAX

    def _tell(self) -> None:
        if self._last is not None:
            try:
                self._hot.beat(self.beat(self._last))
            except DependencyFailed:
                return
