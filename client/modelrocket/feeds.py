"""What callers hold → arrays exactly as a model takes them, or a refusal that says how to write it.

numpy arrays, nested lists, tables with columns (pandas and its like), series, sparse matrices, tensors of
torch, JAX and TensorFlow; for several inputs a mapping of these by name, a tuple of them in order, or a table
with a column for each. No framework is imported.

A number is cast to the type the model takes (float64 to float32, an integer or a boolean to a float) unless
it would not fit: an integer out of range, a fraction or NaN for an integer, a finite value that a float type
has no room for. A string is no number and a number is no string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelrocket.errors import InvalidTensor
from modelrocket.tensors import Array, Shape, TensorSpec, decode, numpy_dtype

ANY_INPUT = "modelInput"
"""The only input of a model may always be called this."""

_SHOWN_CHARACTERS_MAX = 40
_MATRIX_RANK = 2
_NUMBERS = "buif"
_TEXTS = "UST"
_FLOAT_EXACT_INTEGER_MAX = 2**53


def fed(inputs: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """An array for each of the model's inputs, of its dtype and rank. Raises `InvalidTensor`."""
    if isinstance(inputs, Mapping):
        named = _by_name(inputs, specs)
    elif len(specs) == 1:
        return {specs[0].name: _only(inputs, specs[0])}
    elif _is_table(inputs):
        named = _by_column(inputs, specs)
    elif isinstance(inputs, tuple) and len(inputs) == len(specs):
        named = dict(zip((spec.name for spec in specs), inputs, strict=True))
    else:
        written = ", ".join(f'"{spec.name}": …' for spec in specs)
        raise _refuse(specs[0], f"one {_kind(inputs)} for {len(specs)} inputs: write {{{written}}}")
    return {spec.name: _only(named[spec.name], spec) for spec in specs}


def _by_name(inputs: Mapping[Any, Any], specs: Sequence[TensorSpec]) -> Mapping[str, Any]:
    if len(specs) == 1 and list(inputs) == [ANY_INPUT]:
        return {specs[0].name: inputs[ANY_INPUT]}
    known = {spec.name: spec for spec in specs}
    for name in inputs:
        if name not in known:
            raise InvalidTensor(str(name), expected=f"one of the model's inputs {_names(specs)}", got="it")
    for name in known.keys() - inputs.keys():
        raise _refuse(known[name], f"nothing: this model takes {_names(specs)}")
    return inputs


def _by_column(table: Any, specs: Sequence[TensorSpec]) -> Mapping[str, Any]:
    """Further columns are left out: a table often holds more than the model was trained on."""
    columns = list(table.columns)
    for spec in specs:
        if spec.name not in columns:
            raise _refuse(spec, f"no such column; the table has {', '.join(map(str, columns))}")
    return {spec.name: table[spec.name] for spec in specs}


def _only(value: Any, spec: TensorSpec) -> Array:
    array = _matrix(value, spec) if _is_table(value) else cast(_array(value, spec), spec)
    return _shaped(array, value, spec)


def _matrix(table: Any, spec: TensorSpec) -> Array:
    """Column by column, so that one column of strings does not make strings of the others."""
    if len(set(table.columns)) < len(table.columns):
        raise _refuse(spec, "a table with two columns of the same name")
    columns = [cast(_array(table[name], spec), spec, column=name) for name in table.columns]
    if not columns:
        raise _refuse(spec, "a table without columns")
    return np.stack(columns, axis=-1)


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _array(value: Any, spec: TensorSpec) -> Array:
    """As numpy has it; strings, and what no type of numpy's holds, as Python objects."""
    try:
        array = np.asarray(_detached(value))
        if not hasattr(value, "dtype") and (array.dtype.kind in _TEXTS or _may_have_rounded(array, spec)):
            array = np.array(value, dtype=object)  # numbers among strings would have become strings
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refuse(spec, f"{_kind(value)} that is no array: {error}") from error
    return array.astype(object) if array.dtype.kind in _TEXTS else array


def _may_have_rounded(array: Array, spec: TensorSpec) -> bool:
    """numpy makes float64 of integers too large for int64."""
    return array.dtype == np.float64 and spec.dtype in ("int64", "uint64")


def _detached(value: Any) -> Any:
    """Out of the framework that holds it, onto this machine's memory."""
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        return value.float() if str(value.dtype) == "torch.bfloat16" else value
    if hasattr(value, "toarray"):  # sparse
        return value.toarray()
    return value


# Types.


def cast(array: Array, spec: TensorSpec, *, column: object = None) -> Array:
    """To exactly the input's dtype. `column`: of a table, which a refusal names. Raises `InvalidTensor`."""
    place = None if column is None else f'column "{column}"'
    if array.dtype.kind == "O":
        return _from_objects(array, spec, place)
    target = numpy_dtype(spec.dtype)
    if array.dtype == target:
        return array
    if spec.dtype in ("bool", "string") or not _is_number(array.dtype):
        raise _refuse(spec, _typed(array), place)
    return _floats(array, spec, place) if _is_float(target) else _integers(array, spec, place)


def _floats(array: Array, spec: TensorSpec, place: str | None) -> Array:
    with np.errstate(over="ignore"):
        floats: Array = array.astype(numpy_dtype(spec.dtype))
    overflown = np.isinf(floats)
    if overflown.any():
        overflown &= np.isfinite(array)
        _refuse_first(overflown, array, spec, place, f", beyond {spec.dtype}")
    return floats


def _integers(array: Array, spec: TensorSpec, place: str | None) -> Array:
    limits = np.iinfo(spec.dtype)
    outside = f", outside {limits.min} to {limits.max}"
    if _is_float(array.dtype):
        array = array.astype(np.float64)
        _refuse_first(~(np.trunc(array) == array), array, spec, place, ", not a whole number")
        vague = np.abs(array) > _FLOAT_EXACT_INTEGER_MAX
        _refuse_first(vague, array, spec, place, ", a float too large to be a whole number exactly")
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8)
    _refuse_first((array < limits.min) | (array > limits.max), array, spec, place, outside)
    return array.astype(spec.dtype)


def _from_objects(array: Array, spec: TensorSpec, place: str | None) -> Array:
    """Python's own values, with what is missing (None, pandas' NA) as NaN where the input is of floats."""
    try:
        leaves = [_plain(leaf, spec) for leaf in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise _refuse(spec, "bytes that are not UTF-8", place) from error
    nested = np.fromiter(leaves, dtype=object, count=len(leaves)).reshape(array.shape).tolist()
    try:
        return decode(nested, TensorSpec(spec.name, spec.dtype, array.shape))
    except InvalidTensor as error:
        raise _refuse(spec, error.got, place) from error


def _plain(leaf: Any, spec: TensorSpec) -> object:
    if isinstance(leaf, np.generic):
        leaf = leaf.item()
    if isinstance(leaf, bool) and spec.dtype != "bool":
        return int(leaf)
    if isinstance(leaf, bytes):  # as TensorFlow has strings
        return leaf.decode()
    return None if type(leaf).__name__ == "NAType" else leaf


def _refuse_first(bad: Array, array: Array, spec: TensorSpec, place: str | None, why: str) -> None:
    if bad.any():
        index = int(np.argmax(bad))
        raise _refuse(spec, _shown(array.ravel()[index].item()) + _at(index, array.shape) + why, place)


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in _NUMBERS or dtype.name == "bfloat16"


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


# Shapes.


def _shaped(array: Array, value: Any, spec: TensorSpec) -> Array:
    """A column of values may be written flat, and a flat input as a column; nothing else is guessed."""
    if _fits(array.shape, spec.shape):
        return array
    if array.ndim == 1 and spec.shape[1:] == (1,) and _fits((len(array), 1), spec.shape):
        return array.reshape(-1, 1)
    if array.ndim == _MATRIX_RANK and array.shape[1] == 1 and _fits(array.shape[:1], spec.shape):
        return array.reshape(-1)
    if spec.shape and _fits(array.shape, spec.shape[1:]):
        raise _refuse(spec, f"one row without the dimension of rows: {_as_rows(value)}")
    raise _refuse(spec, _typed(array))


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, got) for size, got in zip(wanted, shape, strict=True)
    )


def _as_rows(value: Any) -> str:
    if hasattr(value, "to_frame"):
        return "for a row of a table write table.iloc[[0]], else [row]"
    if isinstance(value, (list, tuple)):
        return "write [row], even for one"
    return "write row[None], even for one"


# What a refusal says.


def _refuse(spec: TensorSpec, got: str, place: str | None = None) -> InvalidTensor:
    return InvalidTensor(spec.name, expected=str(spec), got=got if place is None else f"{got} in {place}")


def _at(index: int, shape: tuple[int, ...]) -> str:
    position = [str(int(part)) for part in np.unravel_index(index, shape)] if shape else []
    return f" at [{', '.join(position)}]" if position else ""


def _typed(array: Array) -> str:
    name = "string" if array.dtype.kind in f"O{_TEXTS}" else array.dtype.name
    return f"{name} [{', '.join(map(str, array.shape))}]"


def _kind(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]} {type(value).__name__}".removeprefix("builtins ")


def _shown(leaf: object) -> str:
    kind = "the string " if isinstance(leaf, str) else "the number " if isinstance(leaf, (int, float)) else ""
    text = repr(leaf)
    return kind + (text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…")


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f'"{spec.name}"' for spec in specs)
