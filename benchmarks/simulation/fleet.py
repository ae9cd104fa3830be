"""A fleet in virtual time, by the second: hosts that boot, a queue before them, and what came of requests.

A host runs `SLOTS` requests at once; each takes its own time, whole seconds and a part of one. What finds
no slot waits, first come first served, `limits.TENANT_QUEUE_MAX` per ready host at most (a trace is one
account's); what has not started within `limits.DEADLINE_SECONDS_DEFAULT` is gone. Slots are one pool:
routing between hosts is perfect. A host is paid from the moment it is asked for, its boot included, until
it is told to go; what runs on a host that goes is finished in the slots of those that stay.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np

from benchmarks.simulation.traces import Demand, Floats, Ints
from chalicelib.contract import limits

SLOTS: Final = 8
_DEADLINE_SECONDS: Final = int(limits.DEADLINE_SECONDS_DEFAULT)
_LATE_SECONDS: Final = 1
"""A request that began in a later second than the one after its own has waited for more than a second."""


@dataclass(frozen=True, slots=True)
class Load:
    """A demand by the second, if each request began as it came.

    `occupied` are the slot-seconds of every second, `first` the part of those that just arrived;
    `begin[t]` is the first request of second t.
    """

    demand: Demand
    occupied: Floats
    first: Floats
    begin: Ints
    cumulated_first: Floats

    @property
    def seconds(self) -> int:
        return self.demand.seconds

    @property
    def requests(self) -> int:
        return len(self.demand.second)


def load_of(demand: Demand) -> Load:
    span = demand.seconds + _DEADLINE_SECONDS + 2
    second, whole = demand.second, demand.service.astype(np.int64)
    first = np.minimum(demand.service, 1.0)
    ends = second + whole
    running = np.cumsum(np.bincount(second, minlength=span) - np.bincount(ends, minlength=span))
    parts = np.bincount(ends, weights=demand.service - whole, minlength=span)
    occupied: Floats = (running + parts).astype(np.float64)
    arrived: Floats = np.bincount(second, weights=first, minlength=span).astype(np.float64)
    return Load(
        demand,
        occupied[: demand.seconds],
        arrived[: demand.seconds],
        np.searchsorted(second, np.arange(demand.seconds + 1)),
        np.concatenate(([0.0], np.cumsum(first))),
    )


@dataclass(slots=True)
class Seen:
    """What an autoscaler may look at. Lists have an entry for each second that is over.

    `in_flight` are requests that wait or run, `waiting` those of them that wait, `begun` those that began
    to run in that second, `refused` those turned away or given up in it.
    """

    in_flight: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    ready: int = 0
    wanted: int = 0

    @property
    def now(self) -> int:
        return len(self.in_flight)

    def mean(self, seconds: int) -> float:
        """Requests in flight over so many last seconds, or as many as there are."""
        recent = self.in_flight[-seconds:]
        return sum(recent) / len(recent) if recent else 0.0


class Autoscaler(Protocol):
    """Says every `tick_seconds` how many hosts there should be."""

    tick_seconds: int

    def hosts(self, seen: Seen) -> int: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """By the second: hosts paid for, hosts wanted by then, requests unserved (by the second they came in)
    and late.

    `late` counts those that waited for more than a second, the unserved not among them.
    """

    paid: Ints
    unserved: Ints
    late: int
    requests: int
    changes: int

    @property
    def host_seconds(self) -> float:
        return float(self.paid.sum())

    @property
    def unserved_share(self) -> float:
        return float(self.unserved.sum()) / max(self.requests, 1)

    @property
    def late_share(self) -> float:
        return self.late / max(self.requests, 1)


def simulate(load: Load, autoscaler: Autoscaler, *, boot_seconds: int, hosts_at_first: int) -> Outcome:
    """The whole demand, second by second."""
    hosts, queue, seen = _Hosts(hosts_at_first, boot_seconds), _Queue(load), Seen()
    paid = np.zeros(load.seconds, dtype=np.int64)
    for now in range(load.seconds):
        seen.ready = hosts.ready_at(now)
        if now % autoscaler.tick_seconds == 0 and now:
            seen.wanted = hosts.wanted
            hosts.want(autoscaler.hosts(seen), now)
            seen.ready = hosts.ready_at(now)
        paid[now] = hosts.wanted
        second = queue.step(now, seen.ready)
        seen.in_flight.append(second.running + queue.waiting)
        seen.waiting.append(queue.waiting)
        seen.begun.append(second.begun)
        seen.refused.append(second.refused)
    return Outcome(paid, queue.unserved, queue.late, load.requests, hosts.changes)


@dataclass(slots=True)
class _Hosts:
    """Those ready and those booting, the oldest first."""

    wanted: int
    boot_seconds: int
    changes: int = 0
    _ready: int = 0
    _booting: deque[list[int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._ready = self.wanted

    def ready_at(self, now: int) -> int:
        while self._booting and self._booting[0][0] <= now:
            self._ready += self._booting.popleft()[1]
        return self._ready

    def want(self, hosts: int, now: int) -> None:
        """Those that still boot go first, the youngest before the others."""
        if hosts == self.wanted:
            return
        self.changes += 1
        if hosts > self.wanted:
            self._booting.append([now + self.boot_seconds, hosts - self.wanted])
        surplus = self.wanted - hosts
        while surplus > 0 and self._booting:
            cancelled = min(surplus, self._booting[-1][1])
            surplus -= cancelled
            self._booting[-1][1] -= cancelled
            if not self._booting[-1][1]:
                self._booting.pop()
        self._ready -= max(surplus, 0)
        self.wanted = hosts


class _Second(NamedTuple):
    """`running`: slot-seconds taken. `refused`: turned away or given up."""

    running: float
    begun: int
    refused: int


class _Queue:
    """Requests that have come and not begun, as ranges of their numbers, and the slots that are taken.

    Slots are counted as if each request had begun when it came, and corrected for those that did not:
    as long as nothing waits, a second costs a few additions whatever the number of requests.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begin = load.begin.tolist()
        self._first = load.first.tolist()
        self._carried = (load.occupied - load.first).tolist()
        span = load.seconds + 2 * _DEADLINE_SECONDS + 3
        self._steps = np.zeros(span)
        self._parts = np.zeros(span)
        self._level = 0.0
        self._ranges: deque[tuple[int, int]] = deque()
        self._corrected = False
        self.waiting = 0
        self.late = 0
        self.unserved = np.zeros(load.seconds, dtype=np.int64)

    def step(self, now: int, hosts: int) -> _Second:
        """One second with so many hosts."""
        capacity = hosts * SLOTS
        carried = self._carried[now]
        if self._corrected:
            self._level += self._steps[now]
            carried += self._level + self._parts[now]
        came = range(self._begin[now], self._begin[now + 1])
        if not self.waiting and carried + self._first[now] <= capacity:
            return _Second(carried + self._first[now], len(came), 0)
        return self._crowded(now, came, room=capacity - carried, hosts=hosts, carried=carried)

    def _crowded(self, now: int, came: range, *, room: float, hosts: int, carried: float) -> _Second:
        given_up = self._give_up(now)
        before = self.waiting
        taken, came_started = self._start(now, came, room)
        begun = before - self.waiting + came_started - came.start
        self._correct(came_started, came.stop, came_from=now, sign=-1)
        space = max(limits.TENANT_QUEUE_MAX * hosts - self.waiting, 0)
        queued = min(came_started + space, came.stop)
        if queued > came_started:
            self._ranges.append((came_started, queued))
            self.waiting += queued - came_started
        turned_away = came.stop - queued
        self.unserved[now] += turned_away
        return _Second(carried + taken, begun, given_up + turned_away)

    def _give_up(self, now: int) -> int:
        """Those whose time is over; they are counted in the second they came in."""
        oldest = now - _DEADLINE_SECONDS
        if oldest < 0:
            return 0
        limit, gone = self._begin[oldest + 1], 0
        while self._ranges and self._ranges[0][0] < limit:
            low, high = self._ranges.popleft()
            cut = min(high, limit)
            np.add.at(self.unserved, self._load.demand.second[low:cut], 1)
            gone += cut - low
            if cut < high:
                self._ranges.appendleft((cut, high))
        self.waiting -= gone
        return gone

    def _start(self, now: int, came: range, room: float) -> tuple[float, int]:
        """What fits, the longest waiting first. Slot-seconds it takes now, and the first that came and does
        not.
        """
        taken = 0.0
        while self._ranges:
            low, high = self._ranges.popleft()
            stop = self._fitting(low, high, room - taken)
            taken += self._load.cumulated_first[stop] - self._load.cumulated_first[low]
            self._began(low, stop, now)
            if stop < high:
                self._ranges.appendleft((stop, high))
                return taken, came.start
        stop = self._fitting(came.start, came.stop, room - taken)
        taken += self._load.cumulated_first[stop] - self._load.cumulated_first[came.start]
        return taken, stop

    def _fitting(self, low: int, high: int, room: float) -> int:
        if room <= 0:
            return low
        total = self._load.cumulated_first
        return min(int(np.searchsorted(total, total[low] + room, side="right")) - 1, high)

    def _began(self, low: int, stop: int, now: int) -> None:
        self._correct(low, stop, came_from=now, sign=1)
        self.waiting -= stop - low
        second = self._load.demand.second
        self.late += int(np.searchsorted(second[low:stop], now - _LATE_SECONDS, side="left"))

    def _correct(self, low: int, stop: int, *, came_from: int, sign: int) -> None:
        """Seconds after the one they begin in: theirs if `sign` is 1, else they are not, after all."""
        if stop <= low:
            return
        service = self._load.demand.service[low:stop]
        whole = service.astype(np.int64)
        long = whole > 0
        ends = came_from + whole[long]
        self._steps[came_from + 1] += sign * len(ends)
        np.subtract.at(self._steps, ends, sign)
        np.add.at(self._parts, ends, sign * (service[long] - whole[long]))
        self._corrected = True
