"""What a framework's converter gives: ways to export the model, and the original to compare with.

A converter is a module with `source(model, declared)`. The models of a framework that cloudpickle does not
copy to another process need two more: `packed(model, folder)` gives something that it does copy, writing what
is large into the folder, and `unpacked(thing, folder)` makes the model of that again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from modelrocket.errors import ConversionError, InvalidTensor
from modelrocket.feeds import cast
from modelrocket.inputs import Inputs, Values
from modelrocket.tensors import DTYPES, Array, Shape, TensorSpec, numpy_dtype
from modelrocket.verify import Original

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT = "modelInput"
OUTPUT = "modelOutput"
PROBABILITIES = "probabilities"

_OPSET, _ML_OPSET = 20, 3
"""What exporters know well; onnxruntime has run both since 1.17."""


@dataclass(frozen=True)
class Target:
    """The operator sets that exporters aim at: of ai.onnx and of ai.onnx.ml."""

    opset: int = _OPSET
    ml_opset: int = _ML_OPSET

    @classmethod
    def within(cls, opsets: Mapping[str, Mapping[str, int]]) -> Self:
        """Nearest to what exporters know well; `min` and `max` by domain, as a platform publishes them."""
        return cls(_nearest(_OPSET, opsets["ai.onnx"]), _nearest(_ML_OPSET, opsets["ai.onnx.ml"]))


DEFAULT_TARGET = Target()


def _nearest(wanted: int, bounds: Mapping[str, int]) -> int:
    return min(max(wanted, bounds["min"]), bounds["max"])


@dataclass(frozen=True)
class Attempt:
    """One way to export the model; `export` may raise anything, and a `ConversionError` is told as it is.

    `folder`: where the weights are then, for a model too large for one file; gone when nobody holds it.
    """

    exporter: str
    export: Callable[[], "ModelProto"]
    folder: TemporaryDirectory[str] | None = None


@dataclass(frozen=True)
class Source:
    """A model in memory; its attempts are tried in turn until one answers like the original.

    notes: what its owner should know, of an input that is cast for example; shown, and kept in the receipt.
    example_values: the example rows that go along may have words and whole numbers that the model was trained
    on, or the sample's.
    """

    framework: str
    attempts: tuple[Attempt, ...]
    inputs: Inputs
    original: Original
    hint: str
    notes: tuple[str, ...] = ()
    example_values: bool = True


@dataclass(frozen=True)
class Declared:
    """What the caller said about the model's inputs, any part of which may be missing, and what to aim at.

    input_type, input_shape: of the single input, or by the name of each of several.
    sample: rows as callers will send them: what numpy reads as an array, a table with columns (which is one
    array, or an input for each column), or a mapping or tuple of arrays for several inputs.
    """

    input_type: Any = None
    input_shape: Any = None
    sample: Any = None
    target: Target = DEFAULT_TARGET

    @property
    def several(self) -> bool:
        """The caller speaks of inputs by name or by position."""
        said = (self.input_type, self.input_shape, self.sample)
        return isinstance(self.sample, tuple) or any(isinstance(one, Mapping) for one in said)

    @property
    def is_table(self) -> bool:
        """The sample has named columns, as a data frame does."""
        return hasattr(self.sample, "columns") and not isinstance(self.sample, Mapping)

    def spec(self, *, example: str, shape: Shape | None = None, dtype: str | None = None) -> TensorSpec:
        """The model's single input; `shape` and `dtype` are what the framework itself knows.

        What the caller said goes first, then the sample, then the framework. Raises `ConversionError`.
        """
        sampled = None if self.sample is None else to_array(self.sample)
        return _spec(
            INPUT,
            (self.input_type, None if sampled is None else _sampled_dtype(sampled), dtype),
            (self.input_shape, None if sampled is None else (None, *sampled.shape[1:]), shape),
            example=example,
        )

    def specs(self, *, example: str, names: Sequence[str] = ()) -> tuple[TensorSpec, ...]:
        """Several inputs by name; `names` are the framework's own, for a sample that is a tuple.

        Raises `ConversionError`, also where the names that the caller used differ from each other.
        """
        types, sizes = _by_name(self.input_type), _by_name(self.input_shape)
        samples = self.samples(names)
        found = next((tuple(said) for said in (samples, types, sizes) if said), ())
        if any(said and set(said) != set(found) for said in (types, sizes, samples)):
            raise ConversionError(
                "input_type, input_shape and sample must name the same inputs.",
                hint=f"For example: {example}",
            )
        return tuple(
            _spec(
                name,
                (types.get(name), _sampled_dtype(samples[name]) if samples else None),
                (sizes.get(name), (None, *samples[name].shape[1:]) if samples else None),
                example=example,
            )
            for name in found
        )

    def inputs(self, *specs: TensorSpec, values: Mapping[str, Values] | None = None) -> Inputs:
        """With the sample as these inputs take it. Raises `ConversionError` where it does not fit them."""
        sample: dict[str, Array] | None = None
        if self.sample is not None:
            given = self.samples([spec.name for spec in specs])
            if not given or (self.is_table and len(specs) == 1 and specs[0].name not in given):
                given = {specs[0].name: to_array(self.sample)}
            sample = {spec.name: _fitting(given, spec) for spec in specs}
        return Inputs(specs, values or {}, sample)

    def samples(self, names: Sequence[str] = ()) -> dict[str, Array]:
        """The sample of several inputs by name, columns of a table as rows x 1; else nothing."""
        if isinstance(self.sample, tuple):
            return dict(zip(names, map(to_array, self.sample), strict=False))
        if self.is_table:
            return {str(name): _column(self.sample[name]).reshape(-1, 1) for name in self.sample.columns}
        return {str(name): to_array(rows) for name, rows in _by_name(self.sample).items()}


def _by_name(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def to_array(value: Any) -> Array:
    """What the caller has, as numpy has it: nested lists, tables, tensors of any framework."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except Exception as error:  # frameworks raise their own
        raise ConversionError(
            f"sample cannot be read as an array: {type(error).__name__}: {error}"
        ) from error
    return array.astype(object) if array.dtype.kind in "US" else array


def _column(values: Any) -> Array:
    """A table's column: numbers where it holds nothing else (a missing one is NaN), else what it holds."""
    column = to_array(values)
    if column.dtype != object:
        return column
    if getattr(getattr(values, "dtype", None), "kind", "O") in "iufb":  # numbers that may be missing
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    texts = any(isinstance(value, str) for value in column)
    try:
        return column if texts else column.astype(np.float64)
    except (TypeError, ValueError):
        return column


def _fitting(given: Mapping[str, Array], spec: TensorSpec) -> Array:
    rows = given.get(spec.name)
    if rows is None:
        raise ConversionError(f'sample has no rows for the input "{spec.name}"; it has {", ".join(given)}.')
    fits = rows.ndim == len(spec.shape) and all(
        size in (None, got) for size, got in zip(spec.shape, rows.shape, strict=True)
    )
    if not fits or not len(rows):
        raise ConversionError(f'sample has the shape {list(rows.shape)}, the input "{spec.name}" is {spec}.')
    if spec.dtype == "string":
        _check_texts(rows, spec)
    try:
        return cast(rows, spec) if _is_whole(spec) else rows.astype(numpy_dtype(spec.dtype))
    except InvalidTensor as error:
        raise ConversionError(
            f'sample does not fit the input "{spec.name}" ({spec}): it has {error.got}.',
            hint="Say input_type=np.float32 where such values may come, or leave them out of the sample.",
        ) from error
    except (TypeError, ValueError) as error:
        raise ConversionError(f'sample does not fit the input "{spec.name}" ({spec}): {error}') from error


def _is_whole(spec: TensorSpec) -> bool:
    return spec.dtype.startswith(("int", "uint"))


def _check_texts(rows: Array, spec: TensorSpec) -> None:
    row = next((row for row, value in enumerate(rows.ravel()) if not isinstance(value, str)), None)
    if row is not None:
        raise ConversionError(
            f'sample holds {rows.ravel()[row]!r} at {row} where the input "{spec.name}" is a string.',
            hint='A string cannot be missing: fill such values as callers will, with fillna("") for example.',
        )


def _sampled_dtype(rows: Array) -> str:
    """float64 is what numpy makes of any numbers; models are trained on float32."""
    return "float32" if rows.dtype == np.float64 else dtype_name(rows.dtype)


def _spec(name: str, dtypes: Sequence[Any], shapes: Sequence[Any], *, example: str) -> TensorSpec:
    dtype = next((one for one in dtypes if one is not None), None)
    shape = next((one for one in shapes if one is not None), None)
    missing = [said for said, value in (("input_type", dtype), ("input_shape", shape)) if value is None]
    if missing or shape is None:
        raise ConversionError(
            f"Converting this model needs {' and '.join(missing)}: the model does not know it.",
            hint=f"For example: {example}\nOr give rows as callers will send them: sample=X_test[:100]",
        )
    return TensorSpec(name, dtype_name(dtype), _batch_shape(shape, example=example))


def dtype_name(input_type: object) -> str:
    """A numpy or torch dtype, a type or a name -> the dtype name of the wire. Raises `ConversionError`."""
    if input_type in (str, np.str_, object, np.dtype(object)):
        return "string"
    name = str(input_type).removeprefix("torch.")
    if name not in DTYPES:
        try:
            name = np.dtype(input_type).name  # type: ignore[call-overload]
        except TypeError:
            name = ""
    if name not in DTYPES:
        raise ConversionError(
            f"input_type={input_type!r} is no tensor type.",
            hint=f"Give one of {', '.join(sorted(DTYPES))}, or the numpy type, e.g. np.float32.",
        )
    return name


def _batch_shape(shape: tuple[int | None, ...], *, example: str) -> Shape:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    known = all(
        size is None or (isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0)
        for size in sizes
    )
    if not sizes or not known or sizes[0] is not None:
        raise ConversionError(
            f"input_shape={shape!r} must be a tuple that starts with None, the number of rows in a batch, "
            "followed by the shape of one row (None where any size will do).",
            hint=f"For example: {example}",
        )
    return tuple(None if size is None else int(size) for size in sizes)
