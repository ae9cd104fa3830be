"""The arithmetic of a benchmark: percentiles, spreads over rounds, and when a row is invalid."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measurement:
    """One target under one load for one stretch of time.

    Attributes:
        seconds: how long.
        count: good answers in that time.
        cpu_seconds: of the server's whole process tree.
        latencies_ms: p50 and p99 of the answers.
        memory_bytes: proportional set size of the tree afterwards.
        problems: everything that was not a good answer, by kind.
        beside_cpu_seconds: of processes that help it (the hot state, say), by name.
        generator_cpu_seconds: of the load generator, to see whether it was the bottleneck.
    """

    seconds: float
    count: int
    cpu_seconds: float
    latencies_ms: tuple[float, float]
    memory_bytes: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)
    beside_cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    generator_cpu_seconds: float = 0.0

    @property
    def cpu_us(self) -> float:
        """CPU time per request in microseconds; NaN when nothing was answered."""
        return _per_request_us(self.cpu_seconds, self.count)

    @property
    def throughput(self) -> float:
        """Good answers per second."""
        return self.count / self.seconds

    @property
    def generator_us(self) -> float:
        return _per_request_us(self.generator_cpu_seconds, self.count)

    def beside_us(self) -> dict[str, float]:
        return {name: _per_request_us(used, self.count) for name, used in self.beside_cpu_seconds.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over rounds, with the lowest and the highest; None when no round had a figure."""

    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is CPU per request over that of raw onnxruntime, round by round."""

    model: str
    target: str
    protocol: str
    connections: int
    cpu_us: Spread
    ratio: Spread
    throughput: Spread
    p50_ms: Spread
    p99_ms: Spread
    memory_bytes: int
    generator_us: float | None
    beside_us: Mapping[str, float | None]
    problems: Mapping[str, int]

    @property
    def valid(self) -> bool:
        """A row with one wrong answer tells nothing."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Place:
    """Which row."""

    model: str
    target: str
    protocol: str
    connections: int


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values: the smallest that `share` of all do not exceed."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_and_p99(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return percentile(ordered, 0.5), percentile(ordered, 0.99)


def spread(values: Sequence[float]) -> Spread:
    """NaNs are left out: a round without answers is a problem of its own."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Spread(None, None, None)
    return Spread(statistics.median(known), min(known), max(known))


def row(place: Place, rounds: Sequence[Measurement], *, raw: Sequence[Measurement]) -> Row:
    """`raw[i]` was measured in the same round as `rounds[i]`."""
    ratios = [ours.cpu_us / theirs.cpu_us for ours, theirs in zip(rounds, raw, strict=True)]
    return Row(
        model=place.model,
        target=place.target,
        protocol=place.protocol,
        connections=place.connections,
        cpu_us=spread([one.cpu_us for one in rounds]),
        ratio=spread(ratios),
        throughput=spread([one.throughput for one in rounds]),
        p50_ms=spread([one.latencies_ms[0] for one in rounds]),
        p99_ms=spread([one.latencies_ms[1] for one in rounds]),
        memory_bytes=max(one.memory_bytes for one in rounds),
        generator_us=spread([one.generator_us for one in rounds]).median,
        beside_us=_medians([one.beside_us() for one in rounds]),
        problems=all_problems(rounds),
    )


def all_problems(rounds: Iterable[Measurement]) -> dict[str, int]:
    """Summed over rounds. A round without a single answer is a problem too."""
    total: Counter[str] = Counter()
    for one in rounds:
        total.update(one.problems)
        if not one.count:
            total["a round without answers"] += 1
    return {kind: count for kind, count in total.items() if count}


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    names = sorted({name for one in rounds for name in one})
    return {name: spread([one[name] for one in rounds if name in one]).median for name in names}


def _per_request_us(seconds: float, count: int) -> float:
    return seconds / count * 1e6 if count else math.nan
