"""What the autoscaler remembers between decisions: a few bounded windows, as values.

Each window forgets what is older than it needs and merges what comes too close together, so that a
memory stays below 8 KB however often it is asked. All times are seconds on one clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final

import msgspec

MERGED_SECONDS: Final = 2.0
"""Samples and steps within one such interval become one."""
PEAK_SECONDS: Final = 10.0
"""The most that was wanted is kept by such intervals."""
SLOPE_ERRORS: Final = 2.0
"""A line through noise has a slope; one of twice its standard error is noise in 1 of 20."""
_LINE_SAMPLES_MIN: Final = 3


class LoadSample(msgspec.Struct, frozen=True):
    """The fleet's load over the interval since the sample before.

    Attributes:
        at: when the interval ended.
        concurrency: mean number of requests in flight, waiting or running.
        waiting: of `concurrency`, the mean number of those that had not begun to run.
        begun: requests per second that began to run.
    """

    at: float
    concurrency: float
    waiting: float = 0.0
    begun: float = 0.0

    def slots(self, drain_seconds: float) -> float:
        """Slots that this load fills while what waits is worked off within `drain_seconds`.

        A waiting request takes a slot for as long as requests run just now, by Little's law: the running over
        those that begin per second. Without a measurement of either it takes one all the time.
        """
        running = max(self.concurrency - self.waiting, 0.0)
        if self.begun <= 0:
            return self.concurrency
        return running + self.waiting * min(running / self.begun / drain_seconds, 1.0)


class Peak(msgspec.Struct, frozen=True, array_like=True):
    """The most hosts wanted in the interval that ended with `at`."""

    at: float
    hosts: int


class Step(msgspec.Struct, frozen=True, array_like=True):
    """At `at` the number of hosts was changed; `low` and `high` are what it was between."""

    at: float
    low: int
    high: int


def sampled(
    kept: Sequence[LoadSample], new: Iterable[LoadSample], *, now: float, seconds: float
) -> tuple[LoadSample, ...]:
    """The last `seconds`, and one sample before them, where the first of them begins."""
    last = kept[-1].at if kept else float("-inf")
    merged = list(kept)
    for sample in sorted(new, key=lambda sample: sample.at):
        if last < sample.at <= now:
            _add(merged, sample)
            last = sample.at
    before = [sample for sample in merged if sample.at <= now - seconds]
    return (*before[-1:], *(sample for sample in merged if sample.at > now - seconds))


def _add(samples: list[LoadSample], new: LoadSample) -> None:
    """Merged with the one before it by their lengths if both are of one short interval."""
    if len(samples) < 2 or samples[-1].at // MERGED_SECONDS != new.at // MERGED_SECONDS:  # noqa: PLR2004
        samples.append(new)
        return
    both = mean((samples[-1], new), now=new.at, seconds=new.at - samples[-2].at)
    samples[-1] = both or new


def mean(samples: Sequence[LoadSample], *, now: float, seconds: float) -> LoadSample | None:
    """The load over the last `seconds`, each sample counting for as long as it lasted; None if there is none.

    The very first one has no beginning: it counts as if it had lasted to the window's.
    """
    begins = now - seconds
    covered = concurrency = waiting = begun = 0.0
    for sample in samples:
        length = sample.at - begins
        if length <= 0:
            continue
        covered += length
        concurrency += length * sample.concurrency
        waiting += length * sample.waiting
        begun += length * sample.begun
        begins = sample.at
    if not covered:
        return None
    return LoadSample(now, concurrency / covered, waiting / covered, begun / covered)


def slope(samples: Sequence[LoadSample], *, now: float, seconds: float, drain_seconds: float) -> float:
    """Slots surely gained per second over the last `seconds`: 0 unless the trend beats the noise.

    The least-squares line less `SLOPE_ERRORS` standard errors of its slope.
    """
    points = [(sample.at, sample.slots(drain_seconds)) for sample in samples if sample.at > now - seconds]
    if len(points) < _LINE_SAMPLES_MIN:
        return 0.0
    x = sum(at for at, _ in points) / len(points)
    y = sum(level for _, level in points) / len(points)
    spread = sum((at - x) ** 2 for at, _ in points)
    gained = sum((at - x) * (level - y) for at, level in points) / spread
    missed = sum((level - y - gained * (at - x)) ** 2 for at, level in points)
    error = sqrt(missed / (len(points) - 2) / spread)
    return max(gained - SLOPE_ERRORS * error, 0.0)


def peaked(kept: Sequence[Peak], hosts: int, *, now: float, seconds: float) -> tuple[Peak, ...]:
    """The peaks of the last `seconds` with what is wanted now."""
    recent = [peak for peak in kept if peak.at > now - seconds]
    if recent and recent[-1].at // PEAK_SECONDS == now // PEAK_SECONDS:
        hosts = max(hosts, recent.pop().hosts)
    return (*recent, Peak(now, hosts))


def stepped(kept: Sequence[Step], *, now: float, before: int, after: int, seconds: float) -> tuple[Step, ...]:
    """The changes of the last `seconds` with the one made now, if it is one."""
    recent = [step for step in kept if step.at > now - seconds]
    if before == after:
        return tuple(recent)
    low, high = min(before, after), max(before, after)
    if recent and recent[-1].at // MERGED_SECONDS == now // MERGED_SECONDS:
        last = recent.pop()
        low, high = min(low, last.low), max(high, last.high)
    return (*recent, Step(now, low, high))


def lowest(steps: Iterable[Step], hosts: int, *, now: float, seconds: float) -> int:
    """The fewest hosts there were to be in the last `seconds`; `hosts` are there to be now."""
    return min([hosts, *(step.low for step in steps if step.at > now - seconds)])


def highest(steps: Iterable[Step], hosts: int, *, now: float, seconds: float) -> int:
    """The most hosts there were to be in the last `seconds`; `hosts` are there to be now."""
    return max([hosts, *(step.high for step in steps if step.at > now - seconds)])
