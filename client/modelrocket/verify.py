"""Does the converted model answer like the original? Both run on the same rows, and a difference refuses it.

Rows alone, two and seven at a time show that the batch dimension is really dynamic. A larger set of rows at
several magnitudes compares the answers; where the answers are labels, rows on both sides of the original's
own decision boundaries are added, since that is where a wrong threshold shows.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
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
    samples = [inputs.rows(count) for count in (*BATCH_SIZES, inputs.rows_max)]
    found = [_compare_on(session, inputs, original, rows=rows) for rows in samples]
    near = _near_boundaries(samples[-1], original)
    if len(near):
        samples.append(near)
        found.append(_compare_on(session, inputs, original, rows=near))
    return Agreement(
        rows=sum(len(rows) for rows in samples),
        outputs=tuple(_over_all(same) for same in zip(*found, strict=True)),
        tolerance=_tolerance(inputs.spec),
        seed=_seed(inputs.spec),
        sample_sha256=_sha256(samples),
    )


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
    random = np.random.default_rng(seed=_seed(spec))
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


def _seed(spec: TensorSpec) -> int:
    return len(spec.shape)


def _magnitudes(shape: tuple[int, ...]) -> Array:
    return row_magnitudes(shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def row_magnitudes(count: int) -> Array:
    """One factor per generated row: ordinary for the first batch, then every magnitude in turn."""
    turn = np.maximum(np.arange(count) - BATCH_SIZES[-1] + 1, 0)
    factors: Array = np.asarray(MAGNITUDES)[turn % len(MAGNITUDES)]
    return factors


def _compare_on(
    session: Session, inputs: Inputs, original: Original, *, rows: Array
) -> tuple[OutputAgreement, ...]:
    expected = answers(original, rows)
    try:
        got = session.run({inputs.spec.name: rows})
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ConversionError(
            f"The converted model fails on {len(rows)} rows, where the original answers: {error}",
            hint="A size that depends on the batch was probably fixed in conversion (reshape, view, expand).",
        ) from error
    decided = _decided(expected)
    tolerance = _tolerance(inputs.spec)
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


def _tolerance(spec: TensorSpec) -> tuple[float, float]:
    return TOLERANCES.get(spec.dtype, TOLERANCES["float32"])


def _sha256(samples: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for rows in samples:
        digest.update(f"{rows.dtype.name} {rows.shape} ".encode())
        texts = rows.dtype == object
        digest.update("\0".join(rows.ravel()).encode() if texts else np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()


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
