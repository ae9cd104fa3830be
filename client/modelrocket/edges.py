"""Rows at the edges of what a model takes, by kind; each kind is compared by itself.

A kind is judged where what the model says of such rows is its own: then a difference refuses the conversion.
Where it is an accident of arithmetic (overflow, NaN in a net that knows none), it is only recorded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from modelrocket.inputs import Feeds, Inputs, Values, row_count
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

THRESHOLDS = "threshold"
ZEROS = "zero"
MISSING = "NaN"
INFINITE = "infinite"
HUGE = "huge"
DENORMAL = "denormal"
INTEGER_LIMITS = "integer limit"
UNSEEN = "unseen category"
UNSEEN_NUMBERS = "unseen number"
EMPTY = "empty string"
FOREIGN = "non-ASCII string"

_HUGE = {"float16": 1e4}
_HUGE_ELSE = 1e30
_DENORMAL = {"float16": 1e-7, "float64": 1e-310}
_DENORMAL_ELSE = 1e-40
_FOREIGN_TEXTS = ("Übergröße naïve", "漢字", "🚀")
_UNSEEN_TEXT = "never seen before"
_SMALL_INTEGERS = ("int8", "uint8", "int16", "uint16")
_COLUMNS_MAX = 16
_SPLIT_FLOATS = ("float16", "float32", "float64")
_TABLE = 2

_Slot: TypeAlias = tuple[str, int | None]
"""Of one input one element of a row, or None: all of them."""
_Edit: TypeAlias = tuple[_Slot, Any]


@dataclass(frozen=True)
class EdgeRows:
    """Rows of one kind; `judged`: a difference on them refuses the conversion."""

    kind: str
    judged: bool
    feeds: Feeds


def edge_rows(inputs: Inputs, around: Feeds, *, rows_max: int, threshold_rows_max: int) -> Iterator[EdgeRows]:
    """Every kind that these inputs have; values are put into the rows `around`, `rows_max` of each kind."""
    if inputs.compares:
        yield EdgeRows(THRESHOLDS, True, _at_thresholds(inputs, around, threshold_rows_max))
    for kind, judged, edits in _edits(inputs):
        if edits:
            yield EdgeRows(kind, judged, _edited(around, _few(edits, rows_max)))


def _edits(inputs: Inputs) -> Iterator[tuple[str, bool, list[_Edit]]]:
    floats = [spec for spec in inputs.specs if "float" in spec.dtype]
    means_missing = [spec for spec in floats if _values(inputs, spec).missing]
    yield ZEROS, True, [*_put(floats, lambda _: (0.0, -0.0)), *_integer_zeros(inputs)]
    yield MISSING, bool(means_missing), _put(means_missing or floats, lambda _: (np.nan,))
    yield INFINITE, False, _put(floats, lambda _: (np.inf, -np.inf))
    yield HUGE, inputs.compares, _put(floats, _huge)
    yield DENORMAL, inputs.compares, _put(floats, _denormal)
    yield INTEGER_LIMITS, inputs.compares, _put(_limited(inputs), _integer_limits)
    yield from _text_edits(inputs)


def _text_edits(inputs: Inputs) -> Iterator[tuple[str, bool, list[_Edit]]]:
    texts = [spec for spec in inputs.specs if spec.dtype == "string"]
    numbers = [spec for spec in inputs.specs if spec.dtype != "string" and _values(inputs, spec).choices]
    yield UNSEEN, True, _put(texts, lambda _: (_UNSEEN_TEXT,))
    yield UNSEEN_NUMBERS, False, _put(numbers, lambda spec: (_beyond(_values(inputs, spec)),))
    yield EMPTY, True, _put(texts, lambda _: ("",))
    yield FOREIGN, True, _put(texts, lambda _: _FOREIGN_TEXTS)


def _put(specs: Sequence[TensorSpec], values: Any) -> list[_Edit]:
    return [(slot, value) for spec in specs for slot in _slots(spec) for value in values(spec)]


def _slots(spec: TensorSpec) -> list[_Slot]:
    """All of the row first, then single elements from everywhere."""
    elements = int(np.prod([size or 1 for size in spec.shape[1:]], dtype=np.int64))
    if len(spec.shape) < _TABLE or elements < _TABLE:
        return [(spec.name, None)]
    chosen = np.unique(np.linspace(0, elements - 1, min(elements, _COLUMNS_MAX)).astype(int))
    return [(spec.name, None), *((spec.name, int(one)) for one in chosen)]


def _few(edits: list[_Edit], count: int) -> list[_Edit]:
    """The first ones, which are of whole rows, and then some from everywhere."""
    whole = [edit for edit in edits if edit[0][1] is None]
    single = [edit for edit in edits if edit[0][1] is not None]
    room = max(count - len(whole), 0)
    if len(single) > room:
        single = [single[index] for index in np.linspace(0, len(single) - 1, room).astype(int)]
    return [*whole[: max(count, 1)], *single]


def _edited(around: Feeds, edits: Sequence[_Edit]) -> Feeds:
    """One row for each edit."""
    made = _resized(around, len(edits))
    for row, ((name, element), value) in enumerate(edits):
        if element is None:
            made[name][row] = value
        else:
            made[name].reshape(len(edits), -1)[row, element] = value
    return made


def _resized(feeds: Feeds, count: int) -> dict[str, Array]:
    turn = np.arange(count) % row_count(feeds)
    return {name: np.ascontiguousarray(rows[turn]) for name, rows in feeds.items()}


def _at_thresholds(inputs: Inputs, around: Feeds, count: int) -> Feeds:
    """Every other row has all its columns at thresholds, the others one column in turn."""
    made = _resized(around, count)
    random = np.random.default_rng(seed=0)
    for spec in inputs.specs:
        thresholds = _values(inputs, spec).thresholds
        for number, (column, splits) in enumerate(thresholds.items()):
            values = neighbours(splits, spec.dtype)
            if not len(values):
                continue
            chosen = np.resize(random.permutation(values), count)
            rows = np.flatnonzero(
                (np.arange(count) % 2 == 0) | (np.arange(count) // 2 % len(thresholds) == number)
            )
            made[spec.name][rows, ..., column] = chosen[rows].reshape(-1, *[1] * (len(spec.shape) - 2))
    return made


def neighbours(splits: Array, dtype: str) -> Array:
    """At, just below and just above each split, as the input's type has them."""
    splits = np.unique(np.asarray(splits, dtype=np.float64))
    splits = splits[np.isfinite(splits)]
    if dtype not in _SPLIT_FLOATS:
        return _whole_neighbours(splits, dtype)
    found = [_float_neighbours(splits, name) for name in {dtype, "float32" if dtype == "float64" else dtype}]
    values = np.unique(np.concatenate(found).astype(dtype))
    return np.asarray(values[np.isfinite(values)])


def _float_neighbours(splits: Array, dtype: str) -> Array:
    at = splits.astype(dtype)
    below, above = (np.nextafter(at, at.dtype.type(end)) for end in (-np.inf, np.inf))
    return np.concatenate([at, below, above])


def _whole_neighbours(splits: Array, dtype: str) -> Array:
    if not dtype.startswith(("int", "uint")):
        return np.empty(0)
    limits = np.iinfo(dtype)
    at = np.floor(splits)
    at = at[(at > limits.min) & (at < min(limits.max, 2**62))]
    return np.unique(np.concatenate([at - 1, at, at + 1])).astype(dtype)


def _values(inputs: Inputs, spec: TensorSpec) -> Values:
    return inputs.values.get(spec.name, Values())


def _integer_zeros(inputs: Inputs) -> list[_Edit]:
    """Of several inputs an integer one may be a mask, and a row that is masked wholly has no meaning."""
    (first, *others) = inputs.specs
    whole = first.dtype.startswith(("int", "uint")) and not others and not _values(inputs, first).choices
    return _put([first], lambda _: (0,)) if whole else []


def _limited(inputs: Inputs) -> list[TensorSpec]:
    """Integers whose limits a model can be asked: large ones may be sizes, unless it only compares them."""
    return [
        spec
        for spec in inputs.specs
        if spec.dtype in _SMALL_INTEGERS or (inputs.compares and spec.dtype.startswith(("int", "uint")))
    ]


def _huge(spec: TensorSpec) -> tuple[float, float]:
    value = _HUGE.get(spec.dtype, _HUGE_ELSE)
    return value, -value


def _denormal(spec: TensorSpec) -> tuple[float, float]:
    value = _DENORMAL.get(spec.dtype, _DENORMAL_ELSE)
    return value, -value


def _integer_limits(spec: TensorSpec) -> tuple[int, int]:
    limits = np.iinfo(numpy_dtype(spec.dtype))
    return int(limits.min), int(limits.max)


def _beyond(values: Values) -> Any:
    return max(column.max() for column in values.choices) + 1
