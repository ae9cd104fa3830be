"""How the answers of two models compare, and what is kept of it as evidence. Arrays in, facts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, takewhile

import numpy as np

from modelrocket.inputs import Feeds, row_count
from modelrocket.tensors import Array

TIE = 1e-5
"""Two classes are as likely as each other within this."""
TOLERANCES = {
    "float16": (1e-2, 1e-2),
    "bfloat16": (5e-2, 5e-2),
    "float32": (1e-3, 1e-5),
    "float64": (1e-5, 1e-7),
}
"""By input dtype: tolerance relative to the value, and to the largest value of the output."""
_MEDIAN_SHARE = 0.1
"""Of the relative tolerance: half of all values must be within it, which half precision in float32 is not."""
_SMALL_SHARE = 1e-3
"""Values below this share of the output's largest say nothing of precision."""
_SMALL_COLUMN = 0.03
"""A column of a table is measured by its own largest value, or by this share of the largest of all."""
_ANOTHER_CODE = 0.1
_CODES_MAX = 1e5
"""In a column of whole numbers up to the second, as encoders make them, the first is no rounding."""
_CLASSES_MIN = 2
_TABLE = 2
_VALUES_SHOWN = 6
_TEXT_SHOWN = 40


class Outcome(StrEnum):
    """What came of the rows of one kind."""

    AGREES = "agrees"
    DIFFERS = "differs"
    REFUSED = "the original refuses"
    FAILS = "the converted model fails"


@dataclass(frozen=True)
class OutputAgreement:
    """How one output compares with the original's, over all rows that are judged.

    abs_error_max, rel_error_max: of floats; the latter relative to the output's largest value.
    label_flips: rows whose label is another one; without a mismatch all of them are ties.
    ties: rows on which the original is undecided: its two likeliest classes are as likely as each other
    within `TIE`, or it says what the converted model says when the row moves by float32 rounding.
    """

    name: str
    dtype: str
    rows: int
    abs_error_max: float = 0.0
    rel_error_max: float = 0.0
    label_flips: int = 0
    ties: int = 0


@dataclass(frozen=True)
class Difference:
    """Evidence: rows of one kind whose answers differ beyond ties and tolerance.

    output: empty where the converted model fails. what: what each of the two says of the first such row.
    inputs: a few values of that row.
    """

    output: str
    kind: str
    rows_differing: int
    rows: int
    what: str
    inputs: str = ""

    def __str__(self) -> str:
        output = f'Output "{self.output}": ' if self.output else ""
        inputs = f" Its inputs: {self.inputs}." if self.inputs else ""
        counted = f"{self.rows_differing} of {self.rows} rows differ"
        return f"{output}{counted}; {self.what} ({self.kind} rows).{inputs}"


@dataclass(frozen=True)
class KindAgreement:
    """What came of the rows of one kind.

    judged: a difference refuses the model; otherwise it is only kept.
    rows: that both were asked. refused: those on which the original itself fails, `refusal` is its error.
    """

    kind: str
    judged: bool
    rows: int
    refused: int
    outcome: Outcome
    refusal: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """What was compared, on which rows, and how closely the two agree.

    tolerance: relative to the value, and to the largest value of the output.
    seed: of the generated rows. rows_sha256: of all rows, those near the boundaries included.
    sample_rows, sample_sha256: of the sample as its owner gave it; None where there was none.
    accepted: the owner let a mismatch pass.
    """

    rows: int
    outputs: tuple[OutputAgreement, ...]
    kinds: tuple[KindAgreement, ...]
    tolerance: tuple[float, float]
    seed: int
    rows_sha256: str
    sample_rows: int = 0
    sample_sha256: str | None = None
    accepted: bool = False

    @property
    def difference(self) -> float:
        """The largest, relative to the output's largest value."""
        return max((output.rel_error_max for output in self.outputs), default=0.0)

    @property
    def mismatch(self) -> tuple[Difference, ...]:
        """What refuses the model; nothing where it answers like the original."""
        return tuple(one for kind in self.kinds if kind.judged for one in kind.differences)


@dataclass(frozen=True)
class Yardstick:
    """Against what floats are measured.

    tolerance: relative to the value, and to the largest value of the output.
    around: by output, what the original says of other rows; a row alone may have small values only.
    """

    tolerance: tuple[float, float]
    around: Mapping[str, Array]

    def largest_of(self, name: str, expected: Array) -> float:
        return max(largest(expected), largest(self.around[name]) if name in self.around else 0.0)

    def scale_of(self, name: str, expected: Array) -> Array:
        """What absolute errors are relative to: of a table column by column, of anything else one number."""
        whole = self.largest_of(name, expected)
        if expected.ndim != _TABLE:
            return np.asarray(whole)
        columns = _largest_by_column(expected)
        around = self.around.get(name)
        if around is not None and around.shape[1:] == expected.shape[1:]:
            columns = np.maximum(columns, _largest_by_column(around))
        return np.maximum(columns, _SMALL_COLUMN * whole)


def incomparable(expected: Array, got: Array | None) -> str:
    """Why the two cannot be compared at all; empty where they can."""
    if got is None:
        return "the converted model has no such output"
    if expected.shape != got.shape:
        return f"the original gives the shape {list(expected.shape)}, it gives {list(got.shape)}"
    if (expected.dtype.kind in "OUS") != (got.dtype.kind in "OUS"):
        return f"the original gives {dtype_name(expected)}, it gives {dtype_name(got)}"
    return ""


def wrong(name: str, expected: Array, got: Array, yardstick: Yardstick) -> Array:
    """Element by element: another label, or a float beyond tolerance."""
    if not is_float(expected) or not is_float(got):  # a classifier's numbers are labels
        return np.asarray(expected != got, dtype=bool)
    relative, absolute = _tolerance_of(expected, yardstick.tolerance)
    atol = absolute * np.maximum(yardstick.scale_of(name, expected), 1e-3)
    close = np.isclose(_wide(got), _wide(expected), rtol=relative, atol=atol, equal_nan=True)
    if expected.ndim == _TABLE:
        same_code = np.isclose(_wide(got), _wide(expected), rtol=0, atol=_ANOTHER_CODE, equal_nan=True)
        close &= same_code | ~_codes(expected)
    return np.asarray(~close, dtype=bool)


def imprecise(expected: Array, got: Array, tolerance: tuple[float, float]) -> str:
    """What says that floats are less exact all over than their type is; empty where they are not.

    In half precision every layer rounds by so much that two exact ways of counting differ all over.
    """
    if not is_float(expected) or dtype_name(expected) in ("float16", "bfloat16"):
        return ""
    allowed = _tolerance_of(expected, tolerance)[0] * _MEDIAN_SHARE
    expected, got = _wide(expected), _wide(got)
    counts = np.isfinite(expected) & np.isfinite(got) & (np.abs(expected) > _SMALL_SHARE * largest(expected))
    if not counts.any():
        return ""
    median = float(np.median(np.abs(got[counts] - expected[counts]) / np.abs(expected[counts])))
    if median <= allowed:
        return ""
    return f"half of all values are off by more than {median:.1e} of themselves: less than its type keeps"


def _tolerance_of(expected: Array, tolerance: tuple[float, float]) -> tuple[float, float]:
    """An original that answers in float32 has rounded itself, however precisely it is asked."""
    return max(tolerance, TOLERANCES.get(dtype_name(expected), tolerance))


def difference(
    name: str, kind: str, elements: Array, expected: Array, got: Array, feeds: Feeds
) -> Difference:
    """The evidence: `elements` are the wrong ones of this output, of which there is at least one."""
    first = tuple(int(index) for index in np.argwhere(elements)[0])
    rows = len(expected) if expected.ndim else 1
    says = f"the original says {_at(expected, first)}, it says {_at(got, first)}"
    inputs = _row_shown(feeds, first[0]) if first and rows == row_count(feeds) else ""
    return Difference(name, kind, rows_in(elements), rows, f"first at {list(first)}: {says}", inputs)


def output_agreement(
    name: str, expected: Array, got: Array, *, undecided: Array, yardstick: Yardstick
) -> OutputAgreement:
    """`undecided`: by row."""
    rows, dtype = (len(expected) if expected.ndim else 1), dtype_name(got)
    ties = int(undecided.sum())
    if not is_float(expected):
        return OutputAgreement(name, dtype, rows, label_flips=rows_in(expected != got), ties=ties)
    by_row = expected.ndim and len(undecided) == rows
    clear: Array = ~undecided if by_row else np.ones(rows, bool)
    expected, got = np.atleast_1d(_wide(expected))[clear], np.atleast_1d(_wide(got))[clear]
    both = np.isfinite(expected) & np.isfinite(got)
    error = largest(expected[both] - got[both])
    relative = error / (yardstick.largest_of(name, expected) or 1.0)
    return OutputAgreement(name, dtype, rows, abs_error_max=error, rel_error_max=relative, ties=ties)


def over_all(found: Sequence[OutputAgreement]) -> OutputAgreement:
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


def tied(expected: Mapping[str, Array], rows: int) -> Array:
    """Rows x targets: its two likeliest classes are as likely as each other, so either may come out."""
    names = (f"probabilities{number or ''}" for number in count())
    found = [_tied(expected[name], rows) for name in takewhile(expected.__contains__, names)]
    return np.stack(found, axis=1) if found else np.zeros((rows, 1), bool)


def _tied(probabilities: Array, rows: int) -> Array:
    """Of one target."""
    if probabilities.ndim != _TABLE or probabilities.shape[1] < _CLASSES_MIN:
        return np.zeros(rows, bool)
    top = np.sort(probabilities, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] <= TIE)


def without_ties(elements: Array, ties: Array) -> Array:
    """Wrong labels, one of each target in a row, that are no ties; of labels without probabilities, all."""
    return np.asarray(elements & ~ties.reshape(elements.shape)) if elements.size == ties.size else elements


def finite(answers: Mapping[str, Array], rows: int) -> Array:
    """By row: the original answers with numbers."""
    found = np.ones(rows, bool)
    for value in answers.values():
        if is_float(value):
            found &= ~by_row(~np.isfinite(_wide(value)), rows)
    return found


def by_row(elements: Array, rows: int) -> Array:
    """Any element of the row; of an output that has no rows, any at all."""
    if elements.ndim and len(elements) == rows:
        return np.asarray(elements.reshape(rows, -1).any(axis=1), dtype=bool)
    return np.full(rows, bool(elements.any()))


def rows_in(elements: Array) -> int:
    """How many rows have something wrong in them."""
    elements = np.asarray(elements, dtype=bool)
    return int(elements.reshape(len(elements), -1).any(axis=1).sum()) if elements.ndim else int(elements)


def largest(values: Array) -> float:
    """Of the finite ones."""
    if not is_float(values):
        return 0.0
    values = _wide(values)
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _largest_by_column(table: Array) -> Array:
    """Of the finite ones."""
    values = _wide(table)
    return np.asarray(np.abs(np.where(np.isfinite(values), values, 0)).max(axis=0, initial=0.0))


def _codes(table: Array) -> Array:
    """By column: it has no fractions, as an encoder's columns have none."""
    values = _wide(table)
    whole = (values == np.round(values)) | np.isnan(values)
    return np.asarray(whole.all(axis=0) & (_largest_by_column(table) <= _CODES_MAX))


def is_float(array: Array) -> bool:
    return array.dtype.kind in "fc" or array.dtype.name == "bfloat16"


def dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name


def _at(array: Array, index: tuple[int, ...]) -> str:
    return _shortened(array[index] if array.ndim else array)


def _row_shown(feeds: Feeds, row: int) -> str:
    return "; ".join(f"{name} = {_few(rows[row] if rows.ndim else rows)}" for name, rows in feeds.items())


def _few(row: Array) -> str:
    values = [_shortened(value) for value in np.ravel(row)[:_VALUES_SHOWN]]
    more = np.size(row) - len(values)
    return f"[{', '.join(values)}{f', … {more} more' if more > 0 else ''}]"


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"


def _wide(array: Array) -> Array:
    return array if array.dtype.kind == "c" else array.astype(np.float64)
