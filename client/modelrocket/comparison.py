"""Forms of one model beside its original: how far each is off, and how fast it runs here.

It measures and does not judge. Every form answers the same rows, each by itself and eight in one run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from modelrocket import verify
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs, row_magnitudes
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from modelrocket.convert.interface import Source
    from modelrocket.runtime import Session

Sample: TypeAlias = Any
"""What numpy reads as rows, or a mapping of that by input name."""
Reference: TypeAlias = Callable[[Feeds], Feeds]

ROWS_TOGETHER: Final = 8
_ROWS_MAX: Final = 256
_RUNS_MIN, _RUNS_MAX = 5, 200
_TIMED_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True)
class OutputLoss:
    """How far one output is from the original's; errors are of floats, relative ones to the largest value."""

    name: str
    dtype: str
    rows: int
    rows_agreeing: int
    abs_error_max: float = 0.0
    rel_error_max: float = 0.0

    @property
    def agreement(self) -> float:
        """Part of the rows that agree."""
        return self.rows_agreeing / self.rows if self.rows else 1.0


@dataclass(frozen=True)
class Form:
    """One form of the model as it was measured here.

    run_ms: median by number of rows, in one thread.
    outputs: with each row by itself, which is what is judged. `outputs_together`: eight rows in one request;
    nothing where the model takes a fixed number of rows.
    """

    model_sha256: str
    bytes: int
    run_ms: Mapping[int, float]
    outputs: tuple[OutputLoss, ...]
    outputs_together: tuple[OutputLoss, ...]


@dataclass(frozen=True)
class Trial:
    """What all forms are asked: rows in groups of one magnitude; the answers to compare with.

    rel_error: within which a row's floats agree, relative to the output's largest value in the group.
    """

    groups: tuple[Feeds, ...]
    row_counts: tuple[int, ...]
    reference: Reference
    compared_with: str
    rows_from: str
    rel_error: float


def trial(source: Source | None, original: Session, *, sample: Sample | None, rel_error: float) -> Trial:
    """On `sample`, else on made-up rows; `original` stands in where there is no source.

    Raises `ConversionError` where the sample does not fit the model's inputs.
    """
    specs = original.inputs
    batched = all(spec.shape and spec.shape[0] is None for spec in specs)
    if sample is None:
        feeds = _generated(source, specs)
        groups = _by_magnitude(feeds) if batched else (feeds,)
    else:
        feeds = _sampled(sample, specs)
        groups = (_some_of(feeds) if batched else feeds,)
    reference, compared_with = _reference(source, original)
    return Trial(
        groups=groups,
        row_counts=(1, ROWS_TOGETHER) if batched else (1,),
        reference=reference,
        compared_with=compared_with,
        rows_from="generated" if sample is None else "given by its owner",
        rel_error=rel_error,
    )


def _reference(source: Source | None, session: Session) -> tuple[Reference, str]:
    if source is None:
        return (lambda feeds: _run(session, feeds)), "the ONNX model as it was given"
    return (lambda feeds: verify.answers(source.original, feeds)), source.framework


def _generated(source: Source | None, specs: Sequence[TensorSpec]) -> Feeds:
    inputs = Inputs(tuple(specs)) if source is None else source.inputs
    return inputs.rows(min(_ROWS_MAX, inputs.rows_max))


def _sampled(sample: Sample, specs: Sequence[TensorSpec]) -> Feeds:
    """Raises `ConversionError` where it does not fit."""
    named = sample if isinstance(sample, Mapping) else {specs[0].name: sample}
    if set(named) != {spec.name for spec in specs}:
        raise ConversionError(f"sample must hold rows for {', '.join(spec.name for spec in specs)}.")
    return {spec.name: _fitting(named[spec.name], spec) for spec in specs}


def _fitting(sample: Any, spec: TensorSpec) -> Array:
    try:
        rows = np.asarray(sample, dtype=numpy_dtype(spec.dtype))
    except (TypeError, ValueError) as error:
        raise ConversionError(f'sample does not fit the input "{spec.name}" ({spec}): {error}') from error
    fits = rows.ndim == len(spec.shape) and all(
        free is None or free == size for free, size in zip(spec.shape, rows.shape, strict=True)
    )
    if not fits or 0 in rows.shape:
        raise ConversionError(f'sample has the shape {list(rows.shape)}, the input "{spec.name}" is {spec}.')
    return rows


def _some_of(feeds: Feeds) -> Feeds:
    """Of many rows some from everywhere. Raises `ConversionError` where the inputs differ in their number."""
    counts = {len(rows) for rows in feeds.values()}
    if len(counts) > 1:
        raise ConversionError("sample must hold as many rows for each input.")
    (count,) = counts
    chosen = np.unique(np.linspace(0, count - 1, min(count, _ROWS_MAX)).astype(int))
    return {name: rows[chosen] for name, rows in feeds.items()}


def _by_magnitude(feeds: Feeds) -> tuple[Feeds, ...]:
    magnitudes = row_magnitudes(len(next(iter(feeds.values()))))
    return tuple(
        {name: rows[magnitudes == magnitude] for name, rows in feeds.items()}
        for magnitude in np.unique(magnitudes)
    )


def measured(sessions: Mapping[bytes, Session], trial: Trial) -> tuple[Form, ...]:
    found = [_losses(list(sessions.values()), trial, size=size) for size in trial.row_counts]
    times = _run_ms(list(sessions.values()), trial)
    return tuple(
        Form(
            model_sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            run_ms=times[index],
            outputs=found[0][index],
            outputs_together=found[1][index] if len(found) > 1 else (),
        )
        for index, content in enumerate(sessions)
    )


def _losses(sessions: Sequence[Session], trial: Trial, *, size: int) -> list[tuple[OutputLoss, ...]]:
    """Per session, with so many rows in each run."""
    found: list[list[Mapping[str, OutputLoss]]] = [[] for _ in sessions]
    for group in trial.groups:
        parts = list(_parts(group, size)) if len(trial.row_counts) > 1 else [group]
        expected = [trial.reference(part) for part in parts]
        for session, losses in zip(sessions, found, strict=True):
            got = [_run(session, part) for part in parts]
            losses.append(
                {name: loss(name, expected, got, rel_error=trial.rel_error) for name in expected[0]}
            )
    return [tuple(_worst([one[name] for one in losses]) for name in losses[0]) for losses in found]


def _run(session: Session, feeds: Feeds) -> Feeds:
    try:
        return session.run(feeds)
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ConversionError(f"The model does not run on these rows: {error}") from error


def _parts(feeds: Feeds, size: int) -> Iterator[Feeds]:
    count = len(next(iter(feeds.values())))
    for start in range(0, count, size):
        yield {name: rows[start : start + size] for name, rows in feeds.items()}


def loss(name: str, expected: Sequence[Feeds], got: Sequence[Feeds], *, rel_error: float) -> OutputLoss:
    """Over all parts of one magnitude. Raises `ConversionError` where they cannot be compared at all."""
    pairs = [(one[name], other[name]) for one, other in zip(expected, got, strict=True)]
    if any(one.shape != other.shape for one, other in pairs):
        raise _useless(name, "has another shape")
    dtype = "string" if pairs[0][0].dtype.kind in "OUS" else pairs[0][1].dtype.name
    rows = sum(len(one) if one.ndim else 1 for one, _ in pairs)
    if dtype not in verify.TOLERANCES:
        other_label = [np.asarray(one != other, dtype=bool) for one, other in pairs]
        return OutputLoss(name, dtype, rows, rows - sum(map(verify.rows_in, other_label)))
    errors = [_errors(name, one, other) for one, other in pairs]
    error = max(float(one.max(initial=0.0)) for one in errors)
    largest = max(float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) for one, _ in pairs) or 1.0
    disagreeing = sum(verify.rows_in(one > rel_error * largest) for one in errors)
    return OutputLoss(
        name, dtype, rows, rows - disagreeing, abs_error_max=error, rel_error_max=error / largest
    )


def _errors(name: str, expected: Array, got: Array) -> Array:
    expected, got = expected.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(expected)
    if (finite != np.isfinite(got)).any():
        raise _useless(name, "is infinite or NaN where the original has a number, or the other way round")
    return np.where(finite, np.abs(np.subtract(expected, got, where=finite, out=np.zeros_like(got))), 0.0)


def _worst(found: Sequence[OutputLoss]) -> OutputLoss:
    """One output over all magnitudes: all its rows, and the largest errors of any."""
    return replace(
        found[0],
        rows=sum(one.rows for one in found),
        rows_agreeing=sum(one.rows_agreeing for one in found),
        abs_error_max=max(one.abs_error_max for one in found),
        rel_error_max=max(one.rel_error_max for one in found),
    )


def _useless(name: str, what: str) -> ConversionError:
    return ConversionError(
        f'It does not answer like the original. Output "{name}" {what}.',
        hint="It was not uploaded. Leave quantize out.",
    )


def _run_ms(sessions: Sequence[Session], trial: Trial) -> list[dict[int, float]]:
    """Per session, the median by number of rows."""
    found: list[dict[int, float]] = [{} for _ in sessions]
    rows = {name: np.concatenate([group[name] for group in trial.groups]) for name in trial.groups[0]}
    for count in trial.row_counts:
        feeds = rows
        if len(trial.row_counts) > 1:
            feeds = {name: np.resize(each, (count, *each.shape[1:])) for name, each in rows.items()}
        for session, medians in zip(_timed(sessions, feeds), found, strict=True):
            medians[count] = median(session) * 1000
    return found


def _timed(sessions: Sequence[Session], feeds: Feeds) -> list[list[float]]:
    """Seconds of each run, the sessions in turn, so that whatever else happens here happens to all."""
    seconds: list[list[float]] = [[] for _ in sessions]
    runs = [session.bound(feeds) for session in sessions]
    for run in runs:
        run()
    while len(seconds[0]) < _RUNS_MIN or (
        len(seconds[0]) < _RUNS_MAX and sum(chain.from_iterable(seconds)) < _TIMED_SECONDS_MAX
    ):
        for run, taken in zip(runs, seconds, strict=True):
            begun = perf_counter()
            run()
            taken.append(perf_counter() - begun)
    return seconds
