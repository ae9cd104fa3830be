"""How often somebody may ask: GCRA, as arithmetic. Pure.

The generic cell rate algorithm (ITU-T I.371) keeps one number per limit: the theoretical
arrival time, TAT, by which everything taken so far would have been used up at the allowed rate.
`hotstate.rates` does the same in Lua for all gateways and hosts together; here it is for one process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits

_ROUNDING_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst`: how many may come at once after a pause; at least 1."""

    per_second: float
    burst: float

    @classmethod
    def of(cls, per_second: float, *, seconds: float = limits.ACCOUNT_BURST_SECONDS) -> Rate:
        """With a burst of so many seconds of it."""
        return cls(per_second, max(1.0, seconds * per_second))

    def share(self, share: float) -> Rate:
        return Rate(self.per_second * share, max(1.0, self.burst * share))


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What one account may do, whatever its keys allow."""

    rate: Rate
    concurrency_max: int

    @classmethod
    def of(cls, requests_per_second: float, concurrency_max: int) -> AccountLimits:
        return cls(Rate.of(requests_per_second), concurrency_max)


def request_cost(body_bytes: int) -> int:
    """What one request counts for."""
    return 1 + body_bytes // limits.COST_BYTES


class LocalRates:
    """The limits of one process, for when they cannot be counted together. Safe to use from many threads."""

    def __init__(self, *, entries_max: int) -> None:
        self._entries_max = entries_max
        self._arrivals: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, wanted: Sequence[tuple[str, Rate]], *, cost: int, now: float) -> tuple[str, float] | None:
        """None when every limit allows it; else the name of one that does not, and the seconds to wait.

        What is refused counts towards none. `now` is monotonic seconds.
        """
        with self._lock:
            after: dict[str, float] = {}
            for name, rate in wanted:
                wait, arrival = arrive(self._arrivals.get(name, now), rate, cost=cost, now=now)
                if wait > 0:
                    return name, wait
                after[name] = arrival
            if len(self._arrivals) + len(after) > self._entries_max:
                self._arrivals.clear()
            self._arrivals.update(after)
            return None


def arrive(arrival: float, rate: Rate, *, cost: float, now: float) -> tuple[float, float]:
    """Seconds to wait, 0 for none, and the next theoretical arrival time.

    What costs more than a whole burst costs a burst, or it could never come. A time further ahead than a
    burst was written by a clock that was set back, and counts as a full burst.
    """
    interval = 1 / rate.per_second
    allowance = rate.burst * interval
    after = min(max(arrival, now), now + allowance) + min(cost, rate.burst) * interval
    wait = after - allowance - now
    return wait if wait > _ROUNDING_SECONDS else 0.0, after
