"""How long requests took, phase by phase, as counters that only grow. Pure.

A time belongs to a bucket: number n holds 2^(n/4) to below 2^((n+1)/4) microseconds, four for each doubling,
so that a percentile read as the middle of its bucket is at most a tenth off. A request as a whole is counted
once, under its buckets of all phases together (`~total.queue.batch.load.run`); where that is added up, there
is a counter for each phase and bucket (`run40`). Counters of several minutes, keys or versions add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

_PER_DOUBLING: Final = 4
_FIRST: Final = 12
_LAST: Final = 119
"""From 8 microseconds, with all that is shorter, to some 15 minutes, with all that is longer."""
_NOTICED_US: Final = 100
"""Who waits for less did not wait: what hardly any request does makes no counters."""
_WHOLE: Final = "~"
_DIGITS_MAX: Final = 3
_MILLI: Final = 1_000
_PERCENTS: Final = (50, 90, 99)


class Phase(StrEnum):
    """Where the time of a request went."""

    TOTAL = "total"
    QUEUE = "queue"
    BATCH = "batch"
    LOAD = "load"
    RUN = "run"


_WAITING: Final = frozenset({Phase.QUEUE, Phase.BATCH})
"""In these, answered requests of which nothing was counted did not wait."""


class Percentiles(msgspec.Struct, frozen=True):
    """How long requests took, in milliseconds: each at most a tenth off.

    Attributes:
        count: of how many requests.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of one answered request.

    Attributes:
        total: from when it was read to its answer; 0 where it was not answered.
        load: 0 where it did not wait for one.
    """

    total: int = 0
    queue: int = 0
    batch: int = 0
    load: int = 0
    run: int = 0

    @property
    def counter(self) -> str:
        """The name of the one that grows."""
        queue = bucket(self.queue) if self.queue >= _NOTICED_US else ""
        batch = bucket(self.batch) if self.batch >= _NOTICED_US else ""
        load = bucket(self.load) if self.load else ""
        return f"{_WHOLE}{bucket(self.total)}.{queue}.{batch}.{load}.{bucket(self.run)}"


NOT_ANSWERED: Final = Took()


def bucket(us: int) -> int:
    """Where so many microseconds belong."""
    return min(_LAST, max(_FIRST, int(math.log2(us) * _PER_DOUBLING))) if us > 0 else _FIRST


def middle_ms(number: int) -> float:
    """What a time in this bucket is taken for: at most 9.1 % off."""
    return float(2.0 ** ((number + 0.5) / _PER_DOUBLING)) / _MILLI


def by_phase(counter: str) -> tuple[str, ...]:
    """The counters that one of whole requests stands for. ValueError where it is none."""
    numbers = counter.removeprefix(_WHOLE).split(".")
    if not counter.startswith(_WHOLE):
        raise ValueError(counter)
    named = zip(Phase, numbers, strict=True)
    return tuple(_NAMES[phase][_read(number)] for phase, number in named if number)


def is_counter(name: str) -> bool:
    """Of a phase and a bucket."""
    return name in _READ


def _read(number: str) -> int:
    if len(number) > _DIGITS_MAX or not number.isdecimal() or not _FIRST <= int(number) <= _LAST:
        raise ValueError(number)
    return int(number)


_NAMES: Final = {phase: tuple(f"{phase}{number}" for number in range(_LAST + 1)) for phase in Phase}
_READ: Final = {name: (phase, number) for phase, names in _NAMES.items() for number, name in enumerate(names)}


def latencies(counters: Mapping[str, int]) -> dict[Phase, Percentiles]:
    """Of phases in which there was anything. Names that are no counters of times are left out."""
    found: dict[Phase, dict[int, int]] = {}
    for name, count in counters.items():
        phase, number = _READ.get(name, (None, 0))
        if phase is not None and count > 0:
            found.setdefault(phase, {})[number] = count
    answered = sum(found.get(Phase.TOTAL, {}).values())
    if answered:
        found = {phase: {} for phase in _WAITING} | found
    return {
        phase: _percentiles(buckets, at_once=answered - sum(buckets.values()) if phase in _WAITING else 0)
        for phase, buckets in found.items()
    }


def seconds(counters: Mapping[str, int], phase: Phase) -> float:
    """How long all requests together took in a phase."""
    read = ((_READ.get(name), count) for name, count in counters.items())
    return sum(middle_ms(one[1]) * count for one, count in read if one and one[0] is phase) / _MILLI


def _percentiles(buckets: Mapping[int, int], *, at_once: int) -> Percentiles:
    """`at_once`: how many more there are that took no time."""
    times = [(0.0, max(0, at_once))]
    times += [(middle_ms(number), many) for number, many in sorted(buckets.items())]
    count = sum(many for _, many in times)
    mean = sum(ms * many for ms, many in times) / count
    return Percentiles(
        count, _shown(mean), *(_shown(_at(times, count * percent / 100)) for percent in _PERCENTS)
    )


def _at(times: Iterable[tuple[float, int]], rank: float) -> float:
    """The time of the request that comes so far in the order of times."""
    passed = 0
    for ms, many in times:
        passed += many
        if passed >= rank and many:
            return ms
    return 0.0


def _shown(ms: float) -> float:
    return float(f"{ms:.3g}")
