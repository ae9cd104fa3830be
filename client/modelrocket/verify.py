"""Does the converted model answer like the original? Both run on the same rows, and a difference refuses it.

Rows alone, two, three and seven at a time show that the batch dimension is really dynamic. A larger set of
rows at several magnitudes compares the answers; where the answers are labels, rows on both sides of the
original's own decision boundaries are added, since that is where a wrong threshold shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from modelrocket.errors import ConversionError
from modelrocket.inputs import BATCH_SIZES, Feeds, Inputs, row_count, sha256, shapes
from modelrocket.runtime import Session
from modelrocket.tensors import Array

Original: TypeAlias = Callable[[Feeds], Mapping[str, Array]]
"""Rows by input name -> what the model itself says, by output name."""

BRACKETS_MAX = 128
BISECTIONS = 7
TIE = 1e-5
TOLERANCES = {
    "float16": (1e-2, 1e-2),
    "bfloat16": (5e-2, 5e-2),
    "float32": (1e-3, 1e-5),
    "float64": (1e-5, 1e-7),
}
"""By input dtype: tolerance relative to the value, and to the largest value of the output."""


@dataclass(frozen=True)
class OutputAgreement:
    """How one output compares with the original's, over all rows.

    abs_error_max, rel_error_max: of floats; the latter relative to the output's largest value.
    label_flips: rows whose label is another one, which is let pass only in a tie.
    ties: rows where the original's two likeliest classes are as likely as each other, within `TIE`.
    """

    name: str
    dtype: str
    rows: int
    abs_error_max: float = 0.0
    rel_error_max: float = 0.0
    label_flips: int = 0
    ties: int = 0


@dataclass(frozen=True)
class Agreement:
    """What was compared, on which rows, and how closely the two agree.

    tolerance: relative to the value, and to the largest value of the output.
    seed: of the generated rows; `sample_sha256` is of all rows, those near the boundaries included.
    """

    rows: int
    outputs: tuple[OutputAgreement, ...]
    tolerance: tuple[float, float]
    seed: int
    sample_sha256: str

    @property
    def difference(self) -> float:
        """The largest, relative to the output's largest value."""
        return max((output.rel_error_max for output in self.outputs), default=0.0)


def compare(session: Session, inputs: Inputs, original: Original) -> Agreement:
    """Raises `ConversionError` that shows where the two differ."""
    samples = [inputs.rows(count) for count in (*BATCH_SIZES, inputs.rows_max)]
    found = [_compare_on(session, inputs, original, feeds=feeds) for feeds in samples]
    near = _near_boundaries(samples[-1], original)
    if near is not None:
        samples.append(near)
        found.append(_compare_on(session, inputs, original, feeds=near))
    return Agreement(
        rows=sum(row_count(feeds) for feeds in samples),
        outputs=tuple(_over_all(same) for same in zip(*found, strict=True)),
        tolerance=_tolerance(inputs),
        seed=inputs.seed,
        sample_sha256=sha256(samples),
    )


def run_alone(session: Session) -> None:
    """Run a model that has no original, at every batch size it allows. Raises `ConversionError`."""
    inputs = Inputs(session.inputs)
    for count in BATCH_SIZES if inputs.batched else BATCH_SIZES[:1]:
        feeds = inputs.rows(count)
        try:
            session.run(feeds)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ConversionError(
                f"The model does not run on generated inputs {shapes(feeds)}: {error}",
                hint="If a dimension is fixed in truth, export the model with that dimension fixed.",
            ) from error


def _compare_on(
    session: Session, inputs: Inputs, original: Original, *, feeds: Feeds
) -> tuple[OutputAgreement, ...]:
    expected = answers(original, feeds)
    try:
        got = session.run(feeds)
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ConversionError(
            f"The converted model fails on {row_count(feeds)} rows, where the original answers: {error}",
            hint="A size that depends on the batch was probably fixed in conversion (reshape, view, expand).",
        ) from error
    decided = _decided(expected)
    tolerance = _tolerance(inputs)
    return tuple(
        _agreement(name, value, got.get(name), decided=decided, tolerance=tolerance)
        for name, value in expected.items()
    )


def _over_all(found: Sequence[OutputAgreement]) -> OutputAgreement:
    """One output's comparisons as one."""
    return OutputAgreement(
        name=found[0].name,
        dtype=found[0].dtype,
        rows=sum(one.rows for one in found),
        abs_error_max=max(one.abs_error_max for one in found),
        rel_error_max=max(one.rel_error_max for one in found),
        label_flips=sum(one.label_flips for one in found),
        ties=sum(one.ties for one in found),
    )


def _tolerance(inputs: Inputs) -> tuple[float, float]:
    """The loosest that any input's precision calls for."""
    return max(TOLERANCES.get(spec.dtype, TOLERANCES["float32"]) for spec in inputs.specs)


def answers(original: Original, feeds: Feeds) -> Mapping[str, Array]:
    """What the original says; raises `ConversionError` where it fails itself."""
    try:
        return original(feeds)
    except ConversionError:
        raise
    except Exception as error:  # the user's model may raise anything
        raise ConversionError(
            f"The model itself fails on {_told(feeds)}: {type(error).__name__}: {error}",
            hint="Check input_type and input_shape: the shape is that of a batch, e.g. (None, 64).",
        ) from error


def _agreement(
    name: str,
    expected: Array,
    got: Array | None,
    *,
    decided: Array | None,
    tolerance: tuple[float, float],
) -> OutputAgreement:
    if got is None:
        raise ConversionError(f'The converted model has no output "{name}".')
    if expected.shape != got.shape:
        raise _differs(
            name, f"the original gives the shape {list(expected.shape)}, it gives {list(got.shape)}"
        )
    if expected.dtype.kind in "fc":
        return _of_floats(name, expected, got, tolerance)
    return _of_labels(name, expected, got, decided)


def _of_labels(name: str, expected: Array, got: Array, decided: Array | None) -> OutputAgreement:
    other = np.asarray(expected != got, dtype=bool)
    wrong = other
    if decided is not None and other.ndim:
        wrong = other & decided.reshape(-1, *[1] * (other.ndim - 1))
    _refuse_wrong(name, wrong, expected, got)
    return OutputAgreement(
        name,
        _dtype_name(got),
        _rows(expected),
        label_flips=rows_in(other),
        ties=0 if decided is None else int((~decided).sum()),
    )


def _of_floats(name: str, expected: Array, got: Array, tolerance: tuple[float, float]) -> OutputAgreement:
    relative, absolute = tolerance
    dtype = _dtype_name(got)
    expected, got = expected.astype(np.float64), got.astype(np.float64)
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    close = np.isclose(got, expected, rtol=relative, atol=absolute * max(largest, 1e-3), equal_nan=True)
    _refuse_wrong(name, ~close, expected, got)
    both = np.isfinite(expected) & np.isfinite(got)
    error = float(np.abs(expected[both] - got[both]).max(initial=0.0))
    return OutputAgreement(
        name, dtype, _rows(expected), abs_error_max=error, rel_error_max=error / (largest or 1.0)
    )


def _dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name


def _rows(array: Array) -> int:
    return len(array) if array.ndim else 1


def rows_in(wrong: Array) -> int:
    """How many rows have something wrong in them."""
    return int(wrong.reshape(len(wrong), -1).any(axis=1).sum()) if wrong.ndim else int(wrong)


def _refuse_wrong(name: str, wrong: Array, expected: Array, got: Array) -> None:
    if not wrong.any():
        return
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    raise _differs(
        name,
        f"{rows_in(wrong)} of {_rows(wrong)} rows differ; first at {list(first)}: "
        f"the original says {expected[first]}, it says {got[first]}",
    )


def _differs(name: str, what: str) -> ConversionError:
    return ConversionError(
        f'The converted model does not answer like the original. Output "{name}": {what}.',
        hint=(
            "It was not uploaded. Float rounding: try input_type=np.float64. "
            "Otherwise the converter does not support this model faithfully."
        ),
    )


def _decided(expected: Mapping[str, Array]) -> Array | None:
    """Which rows have a clear winner: a tie between the two likeliest classes may fall either way."""
    probabilities = expected.get("probabilities")
    if probabilities is None or probabilities.ndim != 2 or probabilities.shape[1] < 2:  # noqa: PLR2004
        return None
    top = np.sort(probabilities, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] > TIE)


def _near_boundaries(feeds: Feeds, original: Original) -> Feeds | None:
    """Rows on both sides of the original's decision boundaries: bisected between rows of different labels.

    None where it gives no labels, or where no single input of floats could be bisected.
    """
    if len(feeds) != 1:
        return None
    ((name, rows),) = feeds.items()
    labels = _labels(original, feeds)
    if labels is None or rows.dtype.kind != "f":
        return None
    ends = np.arange(len(rows))
    starts = np.concatenate([ends[1:], ends[:1]])
    pairs = np.flatnonzero(labels[starts] != labels[ends])[:BRACKETS_MAX]
    if not len(pairs):
        return None
    low, high = rows[starts[pairs]], rows[ends[pairs]]
    low_labels = labels[starts[pairs]]
    for _ in range(BISECTIONS):
        middle = ((low + high) / 2).astype(rows.dtype)
        same = np.asarray(_labels(original, {name: middle}) == low_labels)
        side = same.reshape(-1, *[1] * (rows.ndim - 1))
        low, high = np.where(side, middle, low), np.where(side, high, middle)
    return {name: np.concatenate([low, high])}


def _labels(original: Original, feeds: Feeds) -> Array | None:
    """The first output that holds one label per row, if there is one."""
    outputs = answers(original, feeds).values()
    return next((value for value in outputs if value.ndim == 1 and value.dtype.kind in "biuOUS"), None)


def _told(feeds: Feeds) -> str:
    return ", ".join(f'an input "{name}" of {rows.dtype} {list(rows.shape)}' for name, rows in feeds.items())
