"""Measures a model as it will be served: to load, to keep, to run with 1, 2, 4, … rows.

In a process that does nothing else and has run no model before, so that what its memory grows by
is the model's. Freed memory is given back before each look, here and in workers, so that both count
the same: what a parser took for a moment is nobody's.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.random

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.messages import BatchCost, Certificate, Passport
from host_container.certificate import certify, runs
from host_container.confined import Memory, Taken
from host_container.generated import SEED, Feeds, first_run, random_inputs, takes_rows, timed, zeros
from host_container.session import Session, return_freed_memory

ROWS_MAX: Final = 64
_RUN_SECONDS_MAX: Final = 1.0
"""A run that takes longer is the last one: twice the rows would be nobody's gain."""
_SIZE_SECONDS: Final = 0.04
_SIZE_RUNS: Final = (3, 20)
"""At least and at most so many timed runs of a size, until its seconds are spent. The fastest one counts:
the others waited for somebody."""
_SIZES_SECONDS: Final = 4.0
"""For all sizes; beyond it there is no next one."""
_LOADS: Final = 5
_LOADS_SECONDS: Final = 2.0
"""For all loads; beyond it there is no next one."""
_CACHES_BYTES: Final = 64 * limits.MIB
"""Written before a load: a worker that waited for one finds nothing of its own in the processor's caches."""
_FLOAT_BYTES: Final = 8
_MEMORY_SHARE_MAX: Final = 3
"""A size that takes a third of the memory allowed is the last one: the next might take all."""
_NEARLY: Final = 0.95
"""Of the most rows per second: what more rows add beyond it only makes them wait."""
_CERTIFICATE_SECONDS: Final = 3.0

Load = Callable[[], Session]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        load: as a worker loads it. `load_prepacked`: as it is loaded next, where that pays.
        bytes_mapped: of the files that it maps.
    """

    load: Load
    load_prepacked: Load | None
    bytes_mapped: int
    prepack_gain: float
    prepared: bool


@dataclass(frozen=True, slots=True)
class _Loads:
    """What loading took: seconds, and bytes that no file backs (`prepacked` 0 where there is no such form).

    `session` is what serves in the end, `certificate` that of what serves until then.
    """

    session: Session
    cold_seconds: float
    seconds: float
    anonymous: int
    prepacked: int = 0
    certificate: Certificate | None = None


def measure(subject: Subject, memory: Memory, *, memory_bytes_max: int) -> tuple[Passport, Certificate]:
    """Raises InvalidModel, InferenceFailed, MemoryError."""
    return_freed_memory()
    before = memory.taken()
    loads = _loads(subject, memory, before)
    session, free = loads.session, first_run(loads.session).free
    return_freed_memory()
    batches = _batches(session, memory, before, free=free, bytes_max=memory_bytes_max)
    run_seconds = batches[0].run_ms / 1000
    best = _best([batch for batch in batches if _affordable(batch.rows, run_seconds)] or batches[:1])
    certificate = _certificate(session, free=free, rows_max=best.rows, run_seconds=run_seconds)
    if loads.certificate is not None and not loads.certificate.batchable:
        certificate = loads.certificate
    return _passport(subject, loads, batches, best=best), certificate


def _passport(subject: Subject, loads: _Loads, batches: Sequence[BatchCost], *, best: BatchCost) -> Passport:
    run_ms = batches[0].run_ms
    return Passport(
        load_ms=round(loads.seconds * 1000, 3),
        load_cold_ms=round(loads.cold_seconds * 1000, 3),
        run_ms=run_ms,
        memory_bytes=max(best.memory_bytes, loads.anonymous, loads.prepacked) + subject.bytes_mapped,
        bytes_anonymous=loads.anonymous,
        bytes_mapped=subject.bytes_mapped,
        bytes_prepacked=loads.prepacked,
        batches=tuple(batches),
        batch_size_best=best.rows,
        batch_gain=round(run_ms * best.rows / best.run_ms, 3),
        prepack_gain=subject.prepack_gain,
        prepared=subject.prepared,
        provider=loads.session.providers[0],
    )


def _loads(subject: Subject, memory: Memory, before: Taken) -> _Loads:
    """As a host does it: first the session that is there soon, then, where it pays, the faster one."""
    ends = time.perf_counter() + _LOADS_SECONDS
    session, cold_seconds, first = _timed_load(subject.load)
    anonymous, computed = _grown(memory, before), [first]
    while len(computed) < _LOADS and time.perf_counter() < ends:
        del session
        session, _, again = _timed_load(subject.load)
        computed.append(again)
    seconds = statistics.median(computed)
    if subject.load_prepacked is None:
        return _Loads(session, cold_seconds, seconds, anonymous)
    certificate = _certificate(session, free=first_run(session).free, rows_max=1, run_seconds=0.0)
    del session
    session = subject.load_prepacked()
    return _Loads(session, cold_seconds, seconds, anonymous, _grown(memory, before), certificate)


def _timed_load(load: Load) -> tuple[Session, float, float]:
    """With the seconds it took, and those of them that it computed.

    As in a worker: not in the pages of the load before, which would save a third of a large model's load.
    """
    gc.collect()
    return_freed_memory()
    np.ones(_CACHES_BYTES // _FLOAT_BYTES)
    started, computing = time.perf_counter(), time.thread_time()
    session = load()
    return session, time.perf_counter() - started, time.thread_time() - computing


def _grown(memory: Memory, before: Taken) -> int:
    """In bytes that no file backs: which pages of onnxruntime's code are there by now is chance."""
    gc.collect()
    return_freed_memory()
    return max(0, memory.taken().anonymous - before.anonymous)


def _batches(
    session: Session, memory: Memory, before: Taken, *, free: int, bytes_max: int
) -> list[BatchCost]:
    """Of 1, 2, 4, … rows, until a run takes too long or too much. One where rows are not free."""
    costs: list[BatchCost] = []
    generator = np.random.default_rng(SEED)
    rows, ends = 1, time.perf_counter() + _SIZES_SECONDS
    while rows <= (ROWS_MAX if takes_rows(session) else 1):
        try:
            feeds = _feeds(session, rows=rows, free=free, generator=generator)
            costs.append(_cost(session, memory, before, feeds, rows=rows))
        except (InferenceFailed, MemoryError):
            if not costs:
                raise
            break
        too_much = costs[-1].memory_bytes > bytes_max // _MEMORY_SHARE_MAX
        if too_much or costs[-1].run_ms > _RUN_SECONDS_MAX * 1000 or time.perf_counter() > ends:
            break
        rows *= 2
    return costs


def _feeds(session: Session, *, rows: int, free: int, generator: numpy.random.Generator) -> Feeds:
    """Random; zeros for a model that refuses those."""
    feeds: Feeds = random_inputs(session, generator, rows=rows, free=free)
    try:
        session.run(feeds)
    except InferenceFailed:
        feeds = zeros(session, rows=rows, free=free)
        session.run(feeds)
    return feeds


def _cost(session: Session, memory: Memory, before: Taken, feeds: Feeds, *, rows: int) -> BatchCost:
    """They have run once already, so that the pages of files which they need are there."""
    seconds: list[float] = []
    at_rest = memory.taken()
    memory.forget_peak()
    fewest, most = _SIZE_RUNS
    while len(seconds) < fewest or (len(seconds) < most and sum(seconds) < _SIZE_SECONDS):
        seconds.append(timed(session, feeds))
        if seconds[0] > _RUN_SECONDS_MAX:
            break
    grown = at_rest.anonymous - before.anonymous + memory.peak() - at_rest.resident
    return BatchCost(rows, round(min(seconds) * 1000, 4), max(0, grown))


def _affordable(rows: int, run_seconds: float) -> bool:
    """Whether runs of so many rows can be certified in time."""
    return runs(rows) * run_seconds <= _CERTIFICATE_SECONDS


def _best(batches: Sequence[BatchCost]) -> BatchCost:
    """The smallest that gets nearly the most rows per second."""
    most = max(batch.rows / batch.run_ms for batch in batches)
    return next(batch for batch in batches if batch.rows / batch.run_ms >= _NEARLY * most)


def _certificate(session: Session, *, free: int, rows_max: int, run_seconds: float) -> Certificate:
    if not _affordable(rows_max, run_seconds):
        return Certificate(False, f"a row takes {run_seconds:.2g} s: nobody would gain by sharing runs")
    try:
        return certify(session, free=free, rows_max=rows_max)
    except (InvalidModel, MemoryError):
        return Certificate(False, "its rows take too much memory to try")
