"""What callers share at the door: the time of its one event loop, and the memory for their bodies.

A caller is a tenant; a gateway; or, until a connection has shown who it is, an address.

While one caller is alone, nothing waits. With two or more, each uses at most `_QUANTUM_SECONDS` of a pass
of the event loop; what is left over waits for the next pass, so that nobody waits longer than for one quantum
of everybody else. A large body is only read on once all of it has room.

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_QUANTUM_SECONDS: Final = 0.000_2
_ACTIVE_SECONDS: Final = 1.0
"""Who has asked nothing for this long is not waited for."""
_NOBODY: Final = "\0"

Action = Callable[[], None]
_Queue = deque[tuple[Action, float]]


class Turns:
    """Whose turn it is. Times are on the monotonic clock, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._only = _NOBODY
        self._seen: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._waiting: dict[str, _Queue] = {}
        self._scheduled = False

    def take(self, caller: str, action: Action, *, causes: float = 0.0) -> None:
        """`action` now, or as soon as it is this caller's turn; its actions keep their order.

        `causes`: seconds that the event loop will spend because of it, outside of it.
        """
        if caller == self._only or self._is_alone(caller):
            action()
            return
        started = self._clock()
        queue = self._waiting.get(caller)
        if queue is not None:
            queue.append((action, causes))
        elif self._is_over(caller):
            self._waiting[caller] = deque(((action, causes),))
            self._schedule()
        else:
            action()
            self._charge(caller, self._clock() - started + causes)

    def wants_pause(self, caller: str, started: float) -> bool:
        """What began then was done for this caller out of turn: is it to wait before it goes on?"""
        if caller == self._only or self._is_alone(caller):
            return False
        self._charge(caller, self._clock() - started)
        return caller in self._waiting or self._is_over(caller)

    def sweep(self) -> None:
        """Forget who has gone; call it every now and then."""
        now = self._clock()
        self._seen = {one: seen for one, seen in self._seen.items() if now - seen <= _ACTIVE_SECONDS}
        if len(self._seen) <= 1 and not self._waiting:
            self._only = next(iter(self._seen), _NOBODY)

    def _is_alone(self, caller: str) -> bool:
        """Notes that it is active."""
        now = self._clock()
        if not self._seen and not self._waiting:
            self._only = caller
        elif self._only not in (caller, _NOBODY):
            self._seen[self._only] = now
            self._only = _NOBODY
        self._seen[caller] = now
        return caller == self._only

    def _is_over(self, caller: str) -> bool:
        return self._spent.get(caller, 0.0) >= _QUANTUM_SECONDS

    def _charge(self, caller: str, seconds: float) -> None:
        self._spent[caller] = self._spent.get(caller, 0.0) + seconds
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        """Once between two looks at the sockets."""
        self._scheduled = False
        self._spent.clear()
        try:
            for caller in tuple(self._waiting):
                self._serve(caller, self._waiting[caller])
        finally:
            if self._waiting:
                self._schedule()

    def _serve(self, caller: str, queue: _Queue) -> None:
        started = self._clock()
        self._seen[caller] = started
        spent, caused = 0.0, 0.0
        while queue and spent < _QUANTUM_SECONDS:
            action, causes = queue.popleft()
            if not queue:
                del self._waiting[caller]
            action()
            caused += causes
            spent = self._clock() - started + caused
        self._charge(caller, spent)


@dataclass(slots=True)
class _Held:
    bytes: int = 0
    waiting: deque[tuple[int, Action]] = field(default_factory=deque)


class Room:
    """Memory for large bodies, in bytes: of one caller, and of all together."""

    def __init__(self, *, caller_bytes_max: int, bytes_max: int) -> None:
        self._caller_bytes_max = caller_bytes_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: dict[str, _Held] = {}

    @property
    def is_empty(self) -> bool:
        return not self._held and not self._bytes

    def take(self, caller: str, size: int, granted: Action) -> bool:
        """Whether there is room now; if not, it is taken and `granted` called when there is."""
        held = self._held.setdefault(caller, _Held())
        if not held.waiting and self._fits(held, size):
            self._add(held, size)
            return True
        held.waiting.append((size, granted))
        return False

    def give_back(self, caller: str, size: int) -> None:
        held = self._held[caller]
        self._add(held, -size)
        for one, of in tuple(self._held.items()):
            self._grant(one, of)

    def forget(self, caller: str, granted: Action) -> None:
        """It does not wait any more."""
        held = self._held.get(caller)
        if held is not None:
            held.waiting = deque(one for one in held.waiting if one[1] != granted)
            self._grant(caller, held)

    def _grant(self, caller: str, held: _Held) -> None:
        while held.waiting and self._fits(held, held.waiting[0][0]):
            size, granted = held.waiting.popleft()
            self._add(held, size)
            granted()
        if not held.bytes and not held.waiting:
            self._held.pop(caller, None)

    def _fits(self, held: _Held, size: int) -> bool:
        return held.bytes + size <= self._caller_bytes_max and self._bytes + size <= self._bytes_max

    def _add(self, held: _Held, size: int) -> None:
        held.bytes += size
        self._bytes += size
