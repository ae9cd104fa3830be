"""Whom to leave alone for a while, and how often to try again: pure, with the time passed in.

Both doors use these, each process for itself: what one process sees of a host (a
cut cable between the two, say) need not be what another sees. Safe to use from
many threads.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from chalicelib.contract import limits

_JITTER: Final = 0.2
_SHARE_MIN: Final = 0.1
"""Of its share, what a host gets the moment it comes back."""
_DOUBLINGS_MAX: Final = 10
_HURRY_SECONDS: Final = 0.5
"""That a host has not answered in less says nothing about it."""
_ANSWERED_MAX: Final = 4_096
_RETRIES_MIN: Final = limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS


@dataclass(slots=True)
class _Record:
    """What was seen of a host that has given cause: failures in a row, and how often it was ejected."""

    silences: int = 0
    errors: int = 0
    times: int = 0
    until: float = 0.0


class Ejections:
    """Passive outlier ejection (as in Envoy), by host id: one that flaps stays out longer and longer.

    `now` is monotonic seconds everywhere.
    """

    def __init__(self, generator: Random) -> None:
        self._random = generator
        self._records: dict[str, _Record] = {}
        self._answered_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def late(self, host_id: str, *, since: float, now: float) -> None:
        """It did not answer a request that it was sent at `since`.

        Where it answered others meanwhile it is not the host that is slow, but a model; and who gave it no
        time has learnt nothing: no account can have a host ejected for the others.
        """
        if now - since >= _HURRY_SECONDS and self._answered_at.get(host_id, -math.inf) < since:
            self.silent(host_id, now=now)

    def silent(self, host_id: str, *, now: float) -> None:
        """It could not be reached, or broke off."""
        with self._lock:
            record = self._records.setdefault(host_id, _Record())
            record.silences += 1
            if record.silences >= limits.EJECTION_CONNECT_ERRORS:
                self._eject(record, now)

    def failed(self, host_id: str, *, now: float) -> None:
        """It answered 500 or above by its own fault."""
        self._heard(host_id, now)
        with self._lock:
            record = self._records.setdefault(host_id, _Record())
            record.silences, record.errors = 0, record.errors + 1
            if record.errors >= limits.EJECTION_HOST_ERRORS:
                self._eject(record, now)

    def answered(self, host_id: str, *, now: float) -> None:
        """It did what it should. What it did before is forgotten when it has been good for a minute."""
        self._heard(host_id, now)
        if not self._records:
            return
        with self._lock:
            record = self._records.get(host_id)
            if record is None:
                return
            record.silences = record.errors = 0
            if now >= record.until + limits.EJECTION_SECONDS_MAX:
                del self._records[host_id]

    def kept(self, host_ids: Sequence[str], *, now: float) -> frozenset[str]:
        """Those to ask: without the ejected ones, unless too many of them are."""
        if not self._records:
            return frozenset(host_ids)
        with self._lock:
            kept = frozenset(host_id for host_id in host_ids if not self._out(host_id, now))
        panic = len(host_ids) - len(kept) > limits.EJECTION_SHARE_MAX * len(host_ids)
        return frozenset(host_ids) if panic else kept

    def share(self, host_id: str, *, now: float) -> float:
        """Of what it would get by its speed: 1, or less while a host that comes back warms up."""
        record = self._records.get(host_id)
        if record is None or not record.times:
            return 1.0
        back = (now - record.until) / limits.SLOW_START_SECONDS
        return min(1.0, max(_SHARE_MIN, back))

    def _heard(self, host_id: str, now: float) -> None:
        if len(self._answered_at) >= _ANSWERED_MAX:
            self._answered_at = {}  # hosts come and go
        self._answered_at[host_id] = now

    def _out(self, host_id: str, now: float) -> bool:
        record = self._records.get(host_id)
        return record is not None and now < record.until

    def _eject(self, record: _Record, now: float) -> None:
        """5 s, then twice as long every time. What was under way when it began does not count again."""
        if now >= record.until:
            seconds = (
                limits.EJECTION_SECONDS * 2.0**record.times * self._random.uniform(1 - _JITTER, 1 + _JITTER)
            )
            record.until = now + min(seconds, limits.EJECTION_SECONDS_MAX)
            record.times = min(record.times + 1, _DOUBLINGS_MAX)
        record.silences = record.errors = 0


@dataclass(slots=True)
class _Second:
    at: int
    requests: int = 0
    retries: int = 0


class RetryBudget:
    """A tenth of the requests of the last ten seconds may be tried again, and three a second in any case.

    So that when everything fails, the load on what is left does not double.
    """

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._requests = 0
        self._retries = 0
        self._lock = threading.Lock()

    def asked(self, *, now: float) -> None:
        """A request came in."""
        with self._lock:
            self._second(now).requests += 1
            self._requests += 1

    def allows(self, *, now: float) -> bool:
        """Whether one more may be tried again."""
        with self._lock:
            self._second(now)
            return self._left()

    def take(self, *, now: float) -> bool:
        """Whether one more may be tried again; then it counts as tried."""
        with self._lock:
            second = self._second(now)
            allowed = self._left()
            second.retries += allowed
            self._retries += allowed
            return allowed

    def _left(self) -> bool:
        return self._retries < max(_RETRIES_MIN, limits.RETRY_SHARE_MAX * self._requests)

    def _second(self, now: float) -> _Second:
        seconds, at = self._seconds, int(now)
        if not seconds or seconds[-1].at != at:
            seconds.append(_Second(at))
            while seconds[0].at <= at - limits.RETRY_WINDOW_SECONDS:
                over = seconds.popleft()
                self._requests -= over.requests
                self._retries -= over.retries
        return seconds[-1]


class Breaker:
    """A circuit breaker: after some misses in a row one call a second goes through, till one succeeds."""

    def __init__(self) -> None:
        self._misses = 0
        self._probe_at = 0.0
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Calls go through."""
        return self._misses < limits.HOT_MISSES_MAX

    def allows(self, *, now: float) -> bool:
        """Whether to make the call; whoever is let through says how it went."""
        if self.closed:
            return True
        with self._lock:
            if now < self._probe_at:
                return False
            self._probe_at = now + limits.HOT_PROBE_SECONDS
            return True

    def succeeded(self) -> None:
        self._misses = 0

    def missed(self, *, now: float) -> None:
        with self._lock:
            self._misses += 1
            self._probe_at = now + limits.HOT_PROBE_SECONDS
