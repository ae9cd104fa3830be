"""Whether the rows of different callers may share a run: shown, not assumed.

A model may be batched when each row's answer depends on that row alone. The
check runs rows alone, together, permuted, duplicated and beside extreme rows, at
several batch sizes, and compares. "The first dimension is free" is no evidence:
`x - mean(x, axis=0)` has a free first dimension too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.random

from chalicelib.contract.errors import InferenceFailed
from chalicelib.contract.messages import Signature, TensorSignature
from modelrocket.tensors import Array, numpy_dtype

Feeds = Mapping[str, Array]
Run = Callable[[Feeds], dict[str, Array]]

SIZES: Final = (1, 2, 3, 7)
ROWS: Final = 7
FREE_SIZE: Final = 4
"""What a free dimension other than the first is given."""
GAIN_MIN: Final = 1.2
RELATIVE: Final = 1e-4
ABSOLUTE: Final = 1e-5
_ROW_SECONDS_MAX: Final = 0.02
"""A row that takes longer is not sped up by company, and takes too long to try."""
_TIMINGS: Final = 3
_ELEMENTS_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Certificate:
    """`batchable`, and the evidence in a sentence. `gain`: rows per second together, beside alone."""

    batchable: bool
    evidence: str
    gain: float = 1.0


def certify(signature: Signature, run: Run, *, seed: int, clock: Callable[[], float]) -> Certificate:
    """Run the checks: a few dozen small runs, none where one takes long or sharing does not pay."""
    obstacle = _obstacle(signature)
    if obstacle:
        return Certificate(False, obstacle)
    rows = _rows(signature, np.random.default_rng(seed))
    try:
        alone, together = _seconds(run, _take(rows, [0]), clock), 0.0
        if alone <= _ROW_SECONDS_MAX:
            alone = min(_seconds(run, _take(rows, [0]), clock) for _ in range(_TIMINGS))
            together = min(_seconds(run, rows, clock) for _ in range(_TIMINGS))
        gain = ROWS * alone / together if together else 1.0
        if gain < GAIN_MIN:
            return Certificate(False, f"sharing a run would not pay ({gain:.2f} times the rows)", gain)
        return replace(_compare(rows, run), gain=gain)
    except InferenceFailed as error:
        return Certificate(False, f"it does not run on generated rows: {error.message}")


def _seconds(run: Run, feeds: Feeds, clock: Callable[[], float]) -> float:
    started = clock()
    run(feeds)
    return clock() - started


def _obstacle(signature: Signature) -> str | None:
    for tensor in (*signature.inputs, *signature.outputs):
        if not tensor.shape or tensor.shape[0] is not None:
            return f'"{tensor.name}" has no free first dimension'
    for tensor in signature.inputs:
        if tensor.dtype in ("string", "bfloat16"):
            return f'rows of "{tensor.name}" ({tensor.dtype}) are not generated'
        if _row_size(tensor) * ROWS > _ELEMENTS_MAX:
            return f'rows of "{tensor.name}" are too large to try'
    return None


def _compare(rows: Feeds, run: Run) -> Certificate:
    alone = [run(_take(rows, [row])) for row in range(ROWS)]
    for size in SIZES:
        found = _differs(alone, run, rows, list(range(size)), f"{size} rows together")
        if found:
            return found
    shuffled = [3, 0, 6, 2, 5, 1, 4]
    trials = (
        (shuffled, "rows in another order"),
        ([1, 1, 1, 0, 0], "rows repeated"),
        ([0, 5, 6], "a row beside extreme ones"),
    )
    for chosen, name in trials:
        found = _differs(alone, run, rows, chosen, name)
        if found:
            return found
    return Certificate(True, f"{len(SIZES) + len(trials)} arrangements of {ROWS} rows answer as rows alone")


def _differs(
    alone: Sequence[Mapping[str, Array]], run: Run, rows: Feeds, chosen: list[int], trial: str
) -> Certificate | None:
    """The counterexample, or None when each row answers as it does alone."""
    together = run(_take(rows, chosen))
    for name, output in together.items():
        if output.shape[:1] != (len(chosen),):
            return Certificate(False, f'{trial}: "{name}" has {output.shape[:1]} rows for {len(chosen)}')
        for position, row in enumerate(chosen):
            if not _same(output[position], alone[row][name][0]):
                return Certificate(False, f'{trial}: "{name}" of row {row} is not what it is alone')
    return None


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))


def _take(rows: Feeds, chosen: list[int]) -> dict[str, Array]:
    return {name: array[chosen] for name, array in rows.items()}


def _rows(signature: Signature, generator: np.random.Generator) -> dict[str, Array]:
    """`ROWS` different rows; the last two are extreme."""
    return {tensor.name: _values(tensor, generator) for tensor in signature.inputs}


def _values(tensor: TensorSignature, generator: np.random.Generator) -> Array:
    shape = (ROWS, *(FREE_SIZE if size is None else size for size in tensor.shape[1:]))
    dtype = numpy_dtype(tensor.dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return generator.integers(0, 2, shape).astype(dtype)
    values = generator.standard_normal(shape)
    values[-2] *= 100.0
    values[-1] = 0.0
    return values.astype(dtype)


def _row_size(tensor: TensorSignature) -> int:
    return int(np.prod([FREE_SIZE if size is None else size for size in tensor.shape[1:]]))
