"""Makes the prepared form of one model, in a process that may be killed, and shows that it answers the same.

Run as `python -m host_container.builder` with one JSON line (`BuildOrder`) on
standard input; answers with one (`Built`). It closes itself in first, and can then read
the model and write into one folder, no file larger than a limit. Whatever goes wrong
here costs speed only: the file as it was uploaded is served then.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from chalicelib.contract.errors import InferenceFailed, ModelRocketError
from host_container import onnxfile, prepared
from host_container.confined import Lines, close_in, private_output
from host_container.generated import SEED, Feeds, first_run, random_inputs, timed
from host_container.orders import BuildOrder
from host_container.prepared import ABSOLUTE, RELATIVE, Built
from host_container.session import Session, load, load_mapped, load_prepacked, optimise, warm_up
from modelrocket.tensors import Array

_LOAD_SHARE_MAX: Final = 0.5
"""A form that does not at least halve the time to load is not worth its bytes on disk."""
_ROWS: Final = (1, 8)
_SCALES: Final = (0.0, -100.0, 1e-6, 1e30)
"""Of edge inputs."""
_TIMED_RUNS: Final = 5
_TIMED_LOADS: Final = 3

Outputs = Mapping[str, Array]


class Unfit(Exception):
    """There is no prepared form of this model; the message says why."""


def build(path: Path, folder: Path) -> Built:
    """The form of this model in this folder. Raises Unfit, or ModelRocketError where onnxruntime refuses."""
    graph = folder / prepared.GRAPH
    trials, expected, plain_seconds = _originals(path)
    optimise(path, graph=graph, weights=prepared.WEIGHTS)
    _check_locations(graph)
    load_seconds = min(_timed_load(load_mapped, graph)[1] for _ in range(_TIMED_LOADS))
    if load_seconds > plain_seconds * _LOAD_SHARE_MAX:
        raise Unfit(f"it loads in {load_seconds * 1000:.1f} ms, as uploaded in {plain_seconds * 1000:.1f} ms")
    session = load_mapped(graph)
    mapped_difference = _compare(session, trials, expected)
    mapped_seconds = _run_seconds(session, trials)
    session = load_prepacked(graph)
    prepacked_difference = _compare(session, trials, expected)
    return Built(
        load_ms=round(load_seconds * 1000, 3),
        uploaded_load_ms=round(plain_seconds * 1000, 3),
        prepack_gain=round(mapped_seconds / _run_seconds(session, trials), 3),
        largest_difference=max(mapped_difference, prepacked_difference),
    )


def _originals(path: Path) -> tuple[list[Feeds], list[Outputs | None], float]:
    """Inputs, what the uploaded file answers to them (None where it fails), and how long it takes to load.

    Nothing of the session is left: it may be as large as the form's. onnxruntime's own start is not the
    model's time.
    """
    warm_up()
    session, seconds = _timed_load(load, path)
    trials = _trials(session)
    return trials, [_answer(session, feeds) for feeds in trials], seconds


def _timed_load(load_one: Callable[[Path], Session], path: Path) -> tuple[Session, float]:
    started = time.perf_counter()
    session = load_one(path)
    return session, time.perf_counter() - started


def _check_locations(graph: Path) -> None:
    """Its weights are in our file and nowhere else, and there are some."""
    locations = onnxfile.external_locations(graph)
    if not locations:
        raise Unfit("none of its weights is large enough to be mapped")
    if locations != {prepared.WEIGHTS}:
        raise Unfit(f"its weights would be looked for in {sorted(locations)[:3]}")


def _compare(session: Session, trials: Sequence[Feeds], expected: Sequence[Outputs | None]) -> float:
    """The largest difference of any float, relative to the largest of its tensor. Raises Unfit."""
    largest = 0.0
    for feeds, wanted in zip(trials, expected, strict=True):
        got = _answer(session, feeds)
        if wanted is None or got is None:
            if wanted is not got:
                raise Unfit("it fails on other inputs than the uploaded file")
            continue
        for name, array in wanted.items():
            if not _close(got[name], array):
                raise Unfit(f'its "{name}" is not that of the uploaded file')
            largest = max(largest, _difference(got[name], array))
    return largest


def _close(got: Array, wanted: Array) -> bool:
    """Integers, texts and truths are equal; floats within `RELATIVE` or `ABSOLUTE` of the largest."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind in "biuO":
        return bool(np.array_equal(got, wanted))
    one, other = got.astype(np.float64), wanted.astype(np.float64)
    return bool(np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE * _largest(other), equal_nan=True))


def _difference(got: Array, wanted: Array) -> float:
    if wanted.dtype.kind in "biuO":
        return 0.0
    one, other = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    return float(np.abs(one[finite] - other[finite]).max(initial=0.0) / _largest(other))


def _largest(values: Array) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=1.0))


def _answer(session: Session, feeds: Feeds) -> Outputs | None:
    try:
        return session.run(feeds)
    except InferenceFailed:
        return None


def _run_seconds(session: Session, trials: Sequence[Feeds]) -> float:
    """Of one row and of several, the median of some runs each."""
    chosen = trials[: len(_ROWS)]
    return sum(statistics.median(timed(session, feeds) for _ in range(_TIMED_RUNS)) for feeds in chosen)


def _trials(session: Session) -> list[Feeds]:
    """Random rows first, one and several; then zeros, and large, small and negative ones."""
    free = first_run(session).free
    generator = np.random.default_rng(SEED)

    def feeds(rows: int, scale: float) -> Feeds:
        return random_inputs(session, generator, rows=rows, free=free, scale=scale)

    return [*(feeds(rows, 1.0) for rows in _ROWS), *(feeds(1, scale) for scale in _SCALES)]


# The process around it.


def main() -> None:
    lines = Lines(private_output())
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=BuildOrder)
    os.nice(asked.nice)
    keep = frozenset({lines.stream.fileno(), 2})
    close_in(asked.order, keep_open=keep, writable=Path(asked.folder))
    lines.send(_built(asked))
    os._exit(0)  # nothing of the model's gets to run at exit


def _built(asked: BuildOrder) -> Built:
    try:
        return build(Path(asked.order.path), Path(asked.folder))
    except Unfit as error:
        return Built(reason=str(error))
    except MemoryError:
        return Built(reason="it takes too much memory to make")
    except ModelRocketError as error:
        return Built(reason=error.message)


if __name__ == "__main__":
    main()
