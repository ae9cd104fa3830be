"""The one codec between numpy arrays and what travels as JSON.

`decode` reads parsed JSON by the model's signature and never guesses: a value that the input's dtype
cannot hold exactly is refused with the input's name, what was expected and what came. It needs numpy
alone (ml_dtypes for bfloat16, imported on first use), because client and host share it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import isinf
from typing import Any, TypeAlias

import numpy as np

from modelrocket.errors import InvalidTensor

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Shape: TypeAlias = tuple[int | None, ...]

ONNXRUNTIME_DTYPES: Mapping[str, str] = {
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
"""What onnxruntime calls a tensor type -> the dtype name used on the wire."""

DTYPES = frozenset(ONNXRUNTIME_DTYPES.values())

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_INTEGERS = frozenset(name for name in DTYPES if name.lstrip("u").startswith("int"))
_FLOAT_EXACT_INTEGER_MAX = 2**53
_FLOAT_OVERFLOW: Mapping[str, int] = {
    "float16": 2**16 - 2**4,
    "bfloat16": 2**128 - 2**119,
    "float32": 2**128 - 2**103,
    "float64": 2**1024 - 2**970,
}
"""The smallest magnitude that rounds to infinity: largest finite value plus half a unit in the last place."""
_SHOWN_CHARACTERS_MAX = 40
_DESCRIBED_LEAVES_MAX = 1000


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model: `None` in the shape is a dimension of any size."""

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        if not self.shape:
            return f"a single {self.dtype}"
        return f"{self.dtype} [{', '.join('*' if size is None else str(size) for size in self.shape)}]"


def decode(value: object, spec: TensorSpec) -> Array:
    """Parsed JSON (nested lists, or a scalar for rank 0) -> an array of exactly the spec's dtype and rank.

    In a float input, null is NaN. Where a dimension is empty the sizes behind it cannot be told from the
    lists: they are taken from the spec, and are 0 where the spec leaves them free.
    Raises `InvalidTensor`.
    """
    if spec.dtype not in DTYPES:
        raise InvalidTensor(spec.name, expected="a tensor dtype that JSON can carry", got=spec.dtype)
    leaves, shape = _flatten(value, spec)
    _check_shape(leaves, shape, spec)
    return _READERS[spec.dtype](leaves, shape, spec).reshape(shape)


def encode(array: Array) -> object:
    """An array -> what `orjson.dumps(..., option=OPT_SERIALIZE_NUMPY)` writes as nested lists.

    Half precision widens to float32, which is exact; NaN and infinities come out as null.
    """
    if array.dtype.kind in "OUS":
        return array.tolist()
    if array.dtype.name in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array) if array.ndim else array[()]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype for a wire dtype name; strings are kept as Python objects."""
    if name == "string":
        return np.dtype(object)
    if name == "bfloat16":
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return dtype
    return np.dtype(name)


def _flatten(value: object, spec: TensorSpec) -> tuple[list[Any], tuple[int, ...]]:
    """The leaves in order and the shape, peeling one level of lists per dimension of the spec."""
    level: list[Any] = [value]
    shape: tuple[int, ...] = ()
    for size in spec.shape:
        if not level:
            shape += (size or 0,)
            continue
        if set(map(type, level)) != {list}:
            raise _not_lists(level, shape, spec)
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise _refuse(spec, _ragged(level, shape))
        shape += (lengths.pop(),)
        level = list(chain.from_iterable(level))
    return level, shape


def _check_shape(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> None:
    if any(want is not None and want != size for want, size in zip(spec.shape, shape, strict=True)):
        raise _refuse(spec, _described(leaves, shape, spec))
    if leaves and type(leaves[0]) is list:
        raise _refuse(spec, _described(leaves, shape, spec))


def _floats(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> Array:
    if not set(map(type, leaves)) <= {float, int, type(None)}:
        raise _bad_leaf(leaves, shape, spec)
    try:
        with np.errstate(over="ignore"):
            array = _float_array(leaves, spec.dtype)
    except OverflowError:
        raise _bad_leaf(leaves, shape, spec) from None
    if np.isinf(array).any() and _first_bad(leaves, spec) is not None:
        raise _bad_leaf(leaves, shape, spec)
    return array


def _float_array(leaves: list[Any], dtype: str) -> Array:
    """From Python numbers, None as NaN; bfloat16 takes a detour because ml_dtypes reads no None."""
    if dtype == "bfloat16":
        return _float_array(leaves, "float64").astype(numpy_dtype(dtype))
    return np.fromiter(leaves, dtype=dtype, count=len(leaves))


def _integers(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> Array:
    if set(map(type, leaves)) <= {int}:
        numbers = leaves
    elif _first_bad(leaves, spec) is None:
        numbers = [int(leaf) for leaf in leaves]
    else:
        raise _bad_leaf(leaves, shape, spec)
    try:
        return np.fromiter(numbers, dtype=spec.dtype, count=len(numbers))
    except OverflowError:
        raise _bad_leaf(leaves, shape, spec) from None


def _booleans(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> Array:
    if not set(map(type, leaves)) <= {bool}:
        raise _bad_leaf(leaves, shape, spec)
    return np.fromiter(leaves, dtype=np.bool_, count=len(leaves))


def _strings(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> Array:
    if not set(map(type, leaves)) <= {str}:
        raise _bad_leaf(leaves, shape, spec)
    return np.fromiter(leaves, dtype=object, count=len(leaves))


_Reader: TypeAlias = Callable[[list[Any], tuple[int, ...], TensorSpec], Array]
_READERS: Mapping[str, _Reader] = (
    dict.fromkeys(_FLOATS, _floats)
    | dict.fromkeys(_INTEGERS, _integers)
    | {"bool": _booleans, "string": _strings}
)


# Diagnosis: only reached once a value has been refused.


def _refuse(spec: TensorSpec, got: str) -> InvalidTensor:
    return InvalidTensor(spec.name, expected=str(spec), got=got)


def _not_lists(level: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> InvalidTensor:
    if any(type(item) is list for item in level):
        return _refuse(spec, _ragged(level, shape))
    return _refuse(spec, _described(level, shape, spec))


def _ragged(level: list[Any], shape: tuple[int, ...]) -> str:
    odd = next(index for index, item in enumerate(level) if _extent(item) != _extent(level[0]))
    return f"a ragged list: {_row(odd, shape)} {_extent(level[odd])}, {_row(0, shape)} {_extent(level[0])}"


def _row(index: int, shape: tuple[int, ...]) -> str:
    return f"row {index}" if len(shape) == 1 else f"the list at {_position(index, shape)}"


def _extent(item: object) -> str:
    if not isinstance(item, list):
        return f"is {_shown(item)}"
    return f"has {len(item)} value{'' if len(item) == 1 else 's'}"


def _described(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> str:
    """`float32 [3, 63]`: the kind of values and the shape, following first elements where it goes deeper."""
    while leaves and type(leaves[0]) is list:
        shape += (len(leaves[0]),)
        leaves = leaves[0]
    if not shape:
        return _shown(leaves[0])
    return f"{_kind(leaves, spec)} [{', '.join(map(str, shape))}]"


def _kind(leaves: list[Any], spec: TensorSpec) -> str:
    leaves = leaves[:_DESCRIBED_LEAVES_MAX]
    kinds = {type(leaf) for leaf in leaves}
    if not kinds or _first_bad(leaves, spec) is None:
        return spec.dtype
    if kinds <= {int, float}:
        return "numbers"
    words = {bool: "bool", str: "string", type(None): "null", dict: "object"}
    return words.get(kinds.pop(), "numbers") if len(kinds) == 1 else "mixed values"


def _bad_leaf(leaves: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> InvalidTensor:
    found = _first_bad(leaves, spec)
    assert found is not None
    index, why = found
    place = f" at {_position(index, shape)}" if shape else ""
    return _refuse(spec, f"{_shown(leaves[index])}{place}{why}")


def _first_bad(leaves: list[Any], spec: TensorSpec) -> tuple[int, str] | None:
    """Where the first value is that the dtype cannot hold, and why where that is not plain to see."""
    fault = (
        _float_fault if spec.dtype in _FLOATS else _integer_fault if spec.dtype in _INTEGERS else _kind_fault
    )
    faults = ((index, fault(leaf, spec.dtype)) for index, leaf in enumerate(leaves))
    return next(((index, why) for index, why in faults if why is not None), None)


def _float_fault(leaf: object, dtype: str) -> str | None:
    if leaf is None:
        return None
    if type(leaf) is not int and type(leaf) is not float:
        return ""
    overflown = abs(leaf) >= _FLOAT_OVERFLOW[dtype] and not (isinstance(leaf, float) and isinf(leaf))
    return f", beyond {dtype}" if overflown else None


def _integer_fault(leaf: object, dtype: str) -> str | None:
    if isinstance(leaf, float):
        if not leaf.is_integer():
            return ", not a whole number"
        if abs(leaf) > _FLOAT_EXACT_INTEGER_MAX:
            return ", a float too large to be a whole number exactly"
    elif type(leaf) is not int:
        return ""
    limits = np.iinfo(dtype)
    return None if limits.min <= leaf <= limits.max else f", outside {limits.min} to {limits.max}"


def _kind_fault(leaf: object, dtype: str) -> str | None:
    return None if type(leaf) is {"bool": bool, "string": str}[dtype] else ""


def _position(index: int, shape: tuple[int, ...]) -> str:
    return f"[{', '.join(str(int(part)) for part in np.unravel_index(index, shape))}]"


def _shown(leaf: object) -> str:
    match leaf:
        case None:
            return "null"
        case bool():
            return "true" if leaf else "false"
        case dict():
            return "an object"
        case list():
            return f"a list of {len(leaf)}"
        case str():
            return f"the string {_shortened(repr(leaf))}"
        case _:
            return f"the number {_shortened(repr(leaf))}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"
