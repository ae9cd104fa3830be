"""Does the converted model answer like the original? Both run on the same rows, and a difference refuses it.

Rows alone, two and seven at a time show that the batch dimension is really dynamic. A larger set of rows at
several magnitudes compares the answers; where the answers are labels, rows on both sides of the original's
own decision boundaries are added, since that is where a wrong threshold shows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from modelrocket.errors import ConversionError
from modelrocket.runtime import Session
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

Original: TypeAlias = Callable[[Array], Mapping[str, Array]]

BATCH_SIZES = (1, 2, 7)
ROWS_MAX = 512
ELEMENTS_MAX = 200_000
MAGNITUDES = (1.0, 0.1, 10.0, 100.0)
BRACKETS_MAX = 128
BISECTIONS = 7
FREE_DIMENSION = 32
TIE = 1e-5
TOLERANCES = {
    "float16": (1e-2, 1e-2),
    "bfloat16": (5e-2, 5e-2),
    "float32": (1e-3, 1e-5),
    "float64": (1e-5, 1e-7),
}
"""By input dtype: tolerance relative to the value, and to the largest value of the output."""


@dataclass(frozen=True)
class Agreement:
    """What was compared: how many rows, and the largest difference relative to the output's largest value."""

    rows: int
    difference: float


@dataclass(frozen=True)
class Inputs:
    """How to make up rows for a model: its input, and what an integer input may hold."""

    spec: TensorSpec
    integers_below: int = 2

    def rows(self, count: int) -> Array:
        """The same rows every time; the first seven are of ordinary magnitude."""
        return generated(self.spec, count, integers_below=self.integers_below)

    @property
    def rows_max(self) -> int:
        """As many rows as stay affordable for this shape."""
        elements = int(np.prod([size or FREE_DIMENSION for size in self.spec.shape[1:]], dtype=np.int64))
        return max(BATCH_SIZES[-1], min(ROWS_MAX, ELEMENTS_MAX // max(elements, 1)))


def compare(session: Session, inputs: Inputs, original: Original) -> Agreement:
    """Raises `ConversionError` that shows where the two differ."""
    for count in BATCH_SIZES:
        _compare_on(session, inputs, original, rows=inputs.rows(count))
    rows = inputs.rows(inputs.rows_max)
    agreement = _compare_on(session, inputs, original, rows=rows)
    near = _near_boundaries(rows, original)
    if not len(near):
        return agreement
    close = _compare_on(session, inputs, original, rows=near)
    return Agreement(agreement.rows + close.rows, max(agreement.difference, close.difference))


def run_alone(session: Session) -> None:
    """Run a model that has no original, at every batch size it allows. Raises `ConversionError`."""
    batched = all(spec.shape and spec.shape[0] is None for spec in session.inputs)
    for count in BATCH_SIZES if batched else BATCH_SIZES[:1]:
        feeds = {spec.name: generated(spec, count) for spec in session.inputs}
        try:
            session.run(feeds)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ConversionError(
                f"The model does not run on generated inputs {_shapes(feeds)}: {error}",
                hint="If a dimension is fixed in truth, export the model with that dimension fixed.",
            ) from error


def generated(spec: TensorSpec, count: int, *, integers_below: int = 2) -> Array:
    """`count` rows for an input (its own size where the first dimension is fixed), the same every time."""
    free = (count, *[FREE_DIMENSION] * len(spec.shape))
    shape = tuple(size if size is not None else free[min(axis, 1)] for axis, size in enumerate(spec.shape))
    random = np.random.default_rng(seed=len(spec.shape))
    if spec.dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), dtype=np.bool_)
    if spec.dtype == "string":
        words: Array = np.array(["", "a", "b", "red", "Grün"], dtype=object)
        return words[random.integers(0, len(words), shape)]
    if spec.dtype.startswith(("int", "uint")):
        return random.integers(0, min(integers_below, np.iinfo(spec.dtype).max), shape).astype(spec.dtype)
    values = random.standard_normal(shape)
    if values.ndim and spec.dtype in ("float32", "float64"):
        values *= _magnitudes(shape)
    return np.asarray(values, dtype=numpy_dtype(spec.dtype))


def _magnitudes(shape: tuple[int, ...]) -> Array:
    """One factor per row: ordinary for the first batch, then every magnitude in turn."""
    turn = np.maximum(np.arange(shape[0]) - BATCH_SIZES[-1] + 1, 0)
    factors: Array = np.asarray(MAGNITUDES)[turn % len(MAGNITUDES)]
    return factors.reshape(-1, *[1] * (len(shape) - 1))


def _compare_on(session: Session, inputs: Inputs, original: Original, *, rows: Array) -> Agreement:
    expected = answers(original, rows)
    try:
        got = session.run({inputs.spec.name: rows})
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ConversionError(
            f"The converted model fails on {len(rows)} rows, where the original answers: {error}",
            hint="A size that depends on the batch was probably fixed in conversion (reshape, view, expand).",
        ) from error
    decided = _decided(expected)
    differences = [
        _difference(name, value, got.get(name), decided=decided, tolerance=TOLERANCES.get(inputs.spec.dtype))
        for name, value in expected.items()
    ]
    return Agreement(len(rows), max(differences, default=0.0))


def answers(original: Original, rows: Array) -> Mapping[str, Array]:
    """What the original says; raises `ConversionError` where it fails itself."""
    try:
        return original(rows)
    except ConversionError:
        raise
    except Exception as error:  # the user's model may raise anything
        raise ConversionError(
            f"The model itself fails on an input of {rows.dtype} {list(rows.shape)}: "
            f"{type(error).__name__}: {error}",
            hint="Check input_type and input_shape: the shape is that of a batch, e.g. (None, 64).",
        ) from error


def _difference(
    name: str,
    expected: Array,
    got: Array | None,
    *,
    decided: Array | None,
    tolerance: tuple[float, float] | None,
) -> float:
    if got is None:
        raise ConversionError(f'The converted model has no output "{name}".')
    if expected.shape != got.shape:
        raise _differs(
            name, f"the original gives the shape {list(expected.shape)}, it gives {list(got.shape)}"
        )
    if expected.dtype.kind not in "fc":
        wrong = np.asarray(expected != got, dtype=bool)
        if decided is not None and wrong.ndim:
            wrong &= decided.reshape(-1, *[1] * (wrong.ndim - 1))
        _refuse_wrong(name, wrong, expected, got)
        return 0.0
    return _float_difference(name, expected.astype(np.float64), got.astype(np.float64), tolerance)


def _float_difference(name: str, expected: Array, got: Array, tolerance: tuple[float, float] | None) -> float:
    relative, absolute = tolerance or TOLERANCES["float32"]
    finite = expected[np.isfinite(expected)]
    largest = float(np.abs(finite).max(initial=0.0))
    close = np.isclose(got, expected, rtol=relative, atol=absolute * max(largest, 1e-3), equal_nan=True)
    _refuse_wrong(name, ~close, expected, got)
    both = np.isfinite(expected) & np.isfinite(got)
    return float(np.abs(expected[both] - got[both]).max(initial=0.0)) / (largest or 1.0)


def _refuse_wrong(name: str, wrong: Array, expected: Array, got: Array) -> None:
    if not wrong.any():
        return
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    rows = int(wrong.reshape(len(wrong), -1).any(axis=1).sum()) if wrong.ndim else 1
    raise _differs(
        name,
        f"{rows} of {len(wrong) if wrong.ndim else 1} rows differ; first at {list(first)}: "
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


def _near_boundaries(rows: Array, original: Original) -> Array:
    """Rows on both sides of the original's decision boundaries: bisected between rows of different labels."""
    labels = _labels(original, rows)
    if labels is None or rows.dtype.kind != "f":
        return rows[:0]
    ends = np.arange(len(rows))
    starts = np.concatenate([ends[1:], ends[:1]])
    pairs = np.flatnonzero(labels[starts] != labels[ends])[:BRACKETS_MAX]
    low, high = rows[starts[pairs]], rows[ends[pairs]]
    low_labels = labels[starts[pairs]]
    for _ in range(BISECTIONS if len(pairs) else 0):
        middle = ((low + high) / 2).astype(rows.dtype)
        same = np.asarray(_labels(original, middle) == low_labels)
        side = same.reshape(-1, *[1] * (rows.ndim - 1))
        low, high = np.where(side, middle, low), np.where(side, high, middle)
    return np.concatenate([low, high])


def _labels(original: Original, rows: Array) -> Array | None:
    """The first output that holds one label per row, if there is one."""
    outputs = answers(original, rows).values()
    return next((value for value in outputs if value.ndim == 1 and value.dtype.kind in "biuOUS"), None)


def _shapes(feeds: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
