"""Public traces as requests: when each arrives and how long it runs alone.

Counts per minute become arrivals by a seeded draw: uniform in their minute, or in clumps of `CLUMP` that
come at once when `bursty`, which makes counts of small intervals `CLUMP` times more spread than Poisson's
(a coefficient of variation of 4 in place of 1). No request runs longer than the platform lets it.

* Azure Functions 2019, samples of 1,350 functions over a day and of 500 over eight hours: counts per minute
  and function, each request with its function's mean duration.
* Azure LLM inference 2023, one hour each of conversation and code: arrivals are the trace's own, service time
  is of its tokens. Further copies of a request, where there are more than one, come within a minute of it.
* Volume of tweets about three companies, requests of one load balancer: counts per 5 minutes, drawn as lines
  between the middles of intervals; the first days; service times are exponential.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.experiment import TraceMissing
from chalicelib.contract import limits

CLUMP: Final = 16
SEED: Final = 20_191
PREFILL_SECONDS_PER_TOKEN: Final = 0.0002
DECODE_SECONDS_PER_TOKEN: Final = 0.03
"""Of a mid-sized language model on one accelerator; only the shape matters, since rates are scaled."""
_MINUTE: Final = 60
_VOLUME_SERVICE_SECONDS: Final = 4.0
_VOLUME_INTERVAL_SECONDS: Final = 300
_COPIES_APART_SECONDS: Final = 60.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests by arrival. `second[i]` is the whole second request i arrives in, `service[i]` its seconds."""

    name: str
    seconds: int
    second: Ints
    service: Floats


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked of a trace: so many times its requests, smooth or in clumps, its first seconds only."""

    rate: float = 1.0
    bursty: bool = False
    seconds_max: int | None = None


@dataclass(frozen=True, slots=True)
class Functions:
    """A trace of functions: counts per minute in one file, mean durations in another."""

    name: str
    counts: str
    durations: str
    scale: float

    def load(self, folder: Path, shape: Shape) -> Demand:
        means = {
            row["HashFunction"]: float(row["Average"]) / 1000 for row in rows_of(folder / self.durations)
        }
        counts, service = [], []
        for row in rows_of(folder / self.counts):
            counts.append([int(float(value or 0)) for name, value in row.items() if is_minute(name)])
            service.append(means[row["HashFunction"]])
        by_minute = np.array(counts, dtype=np.int64)
        return _drawn(self.name, by_minute, np.array(service), shape, rate=self.scale * shape.rate)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A trace of prompts: one line a request."""

    name: str
    file: str
    scale: float

    def load(self, folder: Path, shape: Shape) -> Demand:
        rows = list(rows_of(folder / self.file))
        arrived = np.array([datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows])
        service = np.array(
            [
                PREFILL_SECONDS_PER_TOKEN * int(row["ContextTokens"])
                + DECODE_SECONDS_PER_TOKEN * int(row["GeneratedTokens"])
                for row in rows
            ]
        )
        return _copied(self.name, arrived - arrived[0], service, shape, rate=self.scale * shape.rate)


@dataclass(frozen=True, slots=True)
class Volume:
    """A trace of counts per 5 minutes, scaled to a mean of so many requests in flight."""

    name: str
    file: str
    mean_in_flight: float
    days: int

    def load(self, folder: Path, shape: Shape) -> Demand:
        counts = np.array([float(row["value"]) for row in rows_of(folder / self.file)])
        counts = counts[: self.days * 86_400 // _VOLUME_INTERVAL_SECONDS]
        middles = (np.arange(len(counts)) + 0.5) * _VOLUME_INTERVAL_SECONDS
        minutes = np.arange(0, len(counts) * _VOLUME_INTERVAL_SECONDS, _MINUTE) + _MINUTE / 2
        level = np.interp(minutes, middles, counts) / counts.mean()
        expected = level * self.mean_in_flight / _VOLUME_SERVICE_SECONDS * _MINUTE
        by_minute = np.random.default_rng(SEED).poisson(expected)[None, :]
        return _drawn(self.name, by_minute, np.array([_VOLUME_SERVICE_SECONDS]), shape, rate=shape.rate)


Trace = Functions | Tokens | Volume


def _drawn(name: str, by_minute: Ints, service: Floats, shape: Shape, *, rate: float) -> Demand:
    """Requests of counts [function, minute]; service [function] in seconds."""
    random = np.random.default_rng(SEED)
    if shape.seconds_max is not None:
        by_minute = by_minute[:, : shape.seconds_max // _MINUTE]
    whole, part = divmod(rate, 1.0)
    drawn = by_minute * int(whole) + random.binomial(by_minute, part)
    function, minute = np.nonzero(drawn)
    each = drawn[function, minute]
    offsets = _clumped(each, random) if shape.bursty else random.random(int(each.sum())) * _MINUTE
    arrived = np.repeat(minute * _MINUTE, each) + offsets
    durations = np.repeat(service[function], each)
    if len(service) == 1:
        durations = random.exponential(service[0], len(arrived))
    return _demand(name, arrived, durations, seconds=by_minute.shape[1] * _MINUTE)


def _clumped(each: Ints, random: np.random.Generator) -> Floats:
    """Seconds into the minute of every request: those of one clump come at the same time."""
    clumps = -(-each // CLUMP)
    first = np.repeat(np.cumsum(clumps) - clumps, each)
    chosen = (random.random(len(first)) * np.repeat(clumps, each)).astype(np.int64)
    when: Floats = random.random(int(clumps.sum())) * _MINUTE
    return when[first + chosen]


def _copied(name: str, arrived: Floats, service: Floats, shape: Shape, *, rate: float) -> Demand:
    """Each request `rate` times: the first copy when it came, the others up to a minute around it."""
    random = np.random.default_rng(SEED)
    seconds = int(arrived[-1]) + 1
    whole, part = divmod(rate, 1.0)
    copies = int(whole) + random.binomial(1, part, len(arrived))
    rank = np.arange(int(copies.sum())) - np.repeat(np.cumsum(copies) - copies, copies)
    apart = (random.random(len(rank)) - 0.5) * _COPIES_APART_SECONDS * (rank > 0)
    if shape.bursty:
        apart = np.round(apart / _COPIES_APART_SECONDS * 2) * _COPIES_APART_SECONDS / 2
    when = np.clip(np.repeat(arrived, copies) + apart, 0, seconds - 1)
    kept = when < min(seconds, shape.seconds_max or seconds)
    return _demand(
        name, when[kept], np.repeat(service, copies)[kept], seconds=min(seconds, shape.seconds_max or seconds)
    )


def _demand(name: str, arrived: Floats, service: Floats, *, seconds: int) -> Demand:
    second = arrived.astype(np.int64)
    order = np.argsort(second, kind="stable")
    clipped = np.minimum(service[order], limits.DEADLINE_SECONDS_DEFAULT)
    return Demand(name, seconds, second[order], clipped)


def is_minute(column: str) -> bool:
    return column.startswith("minute_") or column.isdigit()


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise TraceMissing(
            f"{path} is not there. Say with --traces or MODELROCKET_TRACES which folder holds the traces."
        )
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
