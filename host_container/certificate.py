"""Whether the rows of different callers may share a run: shown, not assumed.

A model may be batched when each row's answer depends on that row alone. The
check runs rows alone, together, permuted, repeated, padded and beside extreme rows, at
several batch sizes, and compares. "The first dimension is free" is no evidence:
`x - mean(x, axis=0)` has a free first dimension too. A model that remembers its runs, or
draws lots, is found by asking for the same row again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from chalicelib.contract.errors import InferenceFailed
from chalicelib.contract.messages import Certificate, Counterexample
from host_container.generated import SEED, Feeds, drawn, input_bytes, made_up
from host_container.session import Session
from modelrocket.tensors import Array

RELATIVE: Final = 1e-4
ABSOLUTE: Final = 1e-5
"""Floats may differ by the first of themselves, or by the second of the largest of their row (at least 1)."""
ROWS_MIN: Final = 8
_SIZES: Final = (1, 2, 3, 7)
_EXTREMES: Final = (0.0, 100.0, -10.0, 1e-6)
"""The last rows are multiplied by these; zeros are what padding is."""
_WHOLE_MAX: Final = (9, 1)
"""Of whole numbers; a model that looks them up may know few."""
_ROUNDINGS: Final = 8
"""Coarse floats may differ by so many units in the last place."""
_INPUT_BYTES_MAX: Final = 256 * 2**20
_SHOWN_MAX: Final = 8
_TEXT_LENGTH_MAX: Final = 40
_NAME_LENGTH_MAX: Final = 100

Answers = Sequence[Mapping[str, Array]]


def runs(rows_max: int) -> int:
    """About how many rows a certificate for runs of so many takes, each by itself or in company."""
    count = max(ROWS_MIN, rows_max)
    return count + 1 + sum(_SIZES) + 2 * count + 18


def certify(session: Session, *, free: int, rows_max: int) -> Certificate:
    """For runs of up to `rows_max` rows; `free` is a size that works for the other free dimensions."""
    obstacle = _obstacle(session) or _too_large(session, rows=max(ROWS_MIN, rows_max), free=free)
    if obstacle:
        return Certificate(False, obstacle)
    failure = ""
    for rows in _rows(session, count=max(ROWS_MIN, rows_max), free=free):
        try:
            return _compare(session, rows)
        except InferenceFailed as error:
            failure = error.message
    return Certificate(False, f"it does not run on generated rows: {failure}")


def _obstacle(session: Session) -> str | None:
    for tensor in (*session.signature.inputs, *session.signature.outputs):
        if not tensor.shape or tensor.shape[0] is not None:
            return f'"{tensor.name[:_NAME_LENGTH_MAX]}" has no free first dimension'
    shapes = session.dimensions()
    firsts = {shape[0].symbol for shape in shapes.values()} - {None}
    for name, shape in shapes.items():
        if Counter(one.symbol for one in shape[1:]).keys() & firsts:
            return f'another dimension of "{name[:_NAME_LENGTH_MAX]}" grows with the number of rows'
    return None


def _too_large(session: Session, *, rows: int, free: int) -> str | None:
    if input_bytes(session, rows=rows, free=free) <= _INPUT_BYTES_MAX:
        return None
    return "its rows are too large to try"


def _rows(session: Session, *, count: int, free: int) -> Iterator[Feeds]:
    """Different rows, and others for a model that refuses those; the last ones are extreme.

    Whole numbers and texts are made up in one row and drawn from the model's example in the next. A model
    that refuses those made up is shown by its example alone, if that is not the same in every row.
    """
    told = drawn(session, np.random.default_rng(SEED), rows=count, free=free)
    for whole_max in _WHOLE_MAX:
        feeds = made_up(session, np.random.default_rng(SEED), rows=count, free=free, whole_max=whole_max)
        for name, array in told.items():
            feeds[name][1::2] = array[1::2]
        yield _with_extremes(feeds)
    if told and not any(_all_alike(array) for array in told.values()):
        yield _with_extremes(made_up(session, np.random.default_rng(SEED), rows=count, free=free) | told)


def _with_extremes(feeds: dict[str, Array]) -> Feeds:
    for array in feeds.values():
        if _is_float(array):
            for position, factor in enumerate(_EXTREMES, start=len(array) - len(_EXTREMES)):
                array[position] *= array.dtype.type(factor)
    return feeds


def _all_alike(array: Array) -> bool:
    return bool(np.all(array == array[:1]))


def _compare(session: Session, rows: Feeds) -> Certificate:
    count = len(next(iter(rows.values())))
    alone = [session.run(_take(rows, [row])) for row in range(count)]
    trials = list(_trials(count))
    for chosen, name in trials:
        together = session.run(_take(rows, chosen))
        found = _counterexample(alone, together, chosen, name)
        if found:
            return Certificate(False, _sentence(found), found)
    return Certificate(True, f"{len(trials)} arrangements of {count} rows answer as rows alone")


def _trials(count: int) -> Sequence[tuple[list[int], str]]:
    """Which rows share a run, and what that is called."""
    every = list(range(count))
    zero, *extremes = every[-len(_EXTREMES) :]
    shuffled = [int(row) for row in np.random.default_rng(SEED).permutation(count)]
    sizes = sorted({*_SIZES, count})
    return (
        ([0], "the same row again"),
        *((every[:size], f"{size} rows together") for size in sizes),
        (shuffled, "rows in another order"),
        ([1, 1, 1, 0, 0], "rows repeated"),
        ([0, 1] + [zero] * (ROWS_MIN - 2), "rows padded with zeros"),
        ([0, *extremes, 1], "rows beside extreme ones"),
    )


def _counterexample(
    alone: Answers, together: Mapping[str, Array], chosen: Sequence[int], trial: str
) -> Counterexample | None:
    """None when each row answers as it does alone."""
    for name, output in together.items():
        if output.shape[:1] != (len(chosen),):
            shape = (f"{len(chosen)} rows",)
            return _shown(trial, name, len(chosen), 0, shape, (f"{list(output.shape[:1])} rows",))
        for position, row in enumerate(chosen):
            expected, got = alone[row][name][:1], output[position : position + 1]  # a text alone is no array
            different = _where_different(got, expected)
            if different is not None:
                values = (_texts(expected, different), _texts(got, different))
                return _shown(trial, name, len(chosen), position, *values)
    return None


def _shown(
    trial: str, name: str, rows: int, position: int, expected: tuple[str, ...], got: tuple[str, ...]
) -> Counterexample:
    return Counterexample(trial, name[:_NAME_LENGTH_MAX], rows, position, expected, got)


def _sentence(found: Counterexample) -> str:
    return (
        f'{found.trial}: "{found.output}" of row {found.position + 1} of {found.rows} is not what it is '
        f"alone ({found.got[0]}, alone {found.expected[0]})"
    )


def _where_different(got: Array, expected: Array) -> int | None:
    """The first place, in order of memory; None when they are the same."""
    if got.shape != expected.shape:
        return 0
    if not _is_float(expected):
        same = np.asarray(got == expected)
    else:
        relative, absolute = tolerances(expected)
        one, other = got.astype(np.float64), expected.astype(np.float64)
        same = np.isclose(one, other, rtol=relative, atol=absolute, equal_nan=True)
    return None if same.all() else int(np.argmin(same.ravel()))


def tolerances(expected: Array) -> tuple[float, float]:
    """Relative and absolute, for floats of this precision and size."""
    values = expected.astype(np.float64)
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=1.0))
    coarse = _ROUNDINGS * _unit(expected)
    return max(RELATIVE, coarse), max(ABSOLUTE, coarse) * largest


def _unit(array: Array) -> float:
    """Between 1 and the next number of this precision."""
    return 2.0**-7 if array.dtype.name == "bfloat16" else float(np.finfo(array.dtype).eps)


def _is_float(array: Array) -> bool:
    """bfloat16 is no type of numpy's own."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _texts(array: Array, start: int) -> tuple[str, ...]:
    values = array.ravel()[start : start + _SHOWN_MAX]
    return tuple(_text(value) for value in values.tolist()) or ("nothing",)


def _text(value: object) -> str:
    shown = f"{value:.7g}" if isinstance(value, float) else str(value)
    return shown[:_TEXT_LENGTH_MAX]


def _take(rows: Feeds, chosen: Sequence[int]) -> dict[str, Array]:
    return {name: array[list(chosen)] for name, array in rows.items()}
