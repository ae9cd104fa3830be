"""Large JSON bodies straight into arrays: simdjson makes no Python object of each number.

It takes only what `modelrocket.tensors.decode` takes, and gives the same. Whatever is
not plainly so is left to that, which also says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import simdjson

from chalicelib.contract.metadata import DATATYPES
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

T = TypeVar("T")

BYTES_MIN: Final = 16 * 1024
"""Below this the ordinary way is as fast."""
_BYTES_PER_LIST_MIN: Final = 64
"""Every list costs a look at its length; with fewer values in each the ordinary way is faster."""
_OPENS: Final = ord("[")
_DTYPES: Final = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_WIDE: Final = {"d": np.dtype(np.float64), "i": np.dtype(np.int64), "u": np.dtype(np.uint64)}


def read_numbers(body: bytes, specs: Mapping[str, TensorSpec]) -> dict[str, Array] | None:
    """The JSON object's arrays, or None where the ordinary way has to look at it."""
    return _tried(body, lambda document, lists: _arrays(document, specs, lists))


def read_request(body: bytes) -> dict[str, Any] | None:
    """A request of Open Inference Protocol v2, each input's flat `data` an array of 64-bit numbers.

    None where the ordinary way has to look at it.
    """
    return _tried(body, _request)


def narrowed(wide: Array, dtype: str) -> Array | None:
    """64-bit numbers as the dtype holds them; None where it cannot hold one."""
    with np.errstate(over="ignore"):
        array: Array = wide.astype(numpy_dtype(dtype), copy=False)
    same = np.isfinite(array).all() if wide.dtype.kind == "f" else np.array_equal(array, wide)
    return array if same else None


def _tried(body: bytes, read: Callable[[Any, int], T | None]) -> T | None:
    """`read` gets the document and how many lists there are in it, at least."""
    lists = int(np.count_nonzero(np.frombuffer(body, np.uint8) == _OPENS))  # bytes.count is 4 times slower
    if len(body) < _BYTES_PER_LIST_MIN * lists:
        return None
    try:
        return read(simdjson.Parser().parse(body), lists)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return None  # simdjson's ways to say that it is something else


def _request(document: Any, lists: int) -> dict[str, Any] | None:
    request = _plain(document, but="inputs")
    inputs = [_plain(one, but="data") | {"data": _flat(one)} for one in document["inputs"]]
    known = 1 + 2 * len(inputs) + ("outputs" in request)  # inputs, their shapes and data, outputs
    return request | {"inputs": inputs} if lists == known else None


def _flat(one: Any) -> Array:
    """Raises KeyError or TypeError for what are no numbers."""
    kind = _kind(_DTYPES[one["datatype"]])
    if kind is None:
        raise TypeError
    return np.frombuffer(one["data"].as_buffer(of_type=kind), _WIDE[kind])


def _plain(found: Any, *, but: str) -> dict[str, Any]:
    """Its other fields as Python objects."""
    names = list(found.keys())
    if len(names) != len(set(names)):
        raise KeyError
    return {name: _python(found[name]) for name in names if name != but}


def _python(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _arrays(document: Any, specs: Mapping[str, TensorSpec], lists: int) -> dict[str, Array] | None:
    if sorted(document.keys()) != sorted(specs):
        return None
    arrays: dict[str, Array] = {}
    for name, spec in specs.items():
        shape = _shape(document[name], spec)
        array = None if shape is None else _array(document[name], spec.dtype, shape)
        if shape is None or array is None:
            return None
        arrays[name] = array
        lists -= sum(math.prod(shape[:depth]) for depth in range(len(shape)))
    return arrays if lists == 0 else None  # one list more hides where a number should be


def _shape(value: Any, spec: TensorSpec) -> tuple[int, ...] | None:
    """The lengths of its lists, where those of one depth agree and fit the model."""
    level, shape = [value], []
    for depth, want in enumerate(spec.shape):
        lengths = set(map(len, level))
        size = lengths.pop()
        if lengths or not size or want not in (None, size):
            return None
        shape.append(size)
        if depth + 1 < len(spec.shape):
            level = [item for items in level for item in items]
    return tuple(shape)


def _array(value: Any, dtype: str, shape: tuple[int, ...]) -> Array | None:
    """Every value as the dtype holds it; None where it cannot."""
    kind = _kind(dtype)
    if kind is None or not shape:
        return None
    wide: Array = np.frombuffer(value.as_buffer(of_type=kind), _WIDE[kind])
    array = narrowed(wide, dtype) if wide.size == math.prod(shape) else None
    return None if array is None else array.reshape(shape)


def _kind(dtype: str) -> str | None:
    if "float" in dtype:
        return "d"
    if dtype == "uint64":
        return "u"
    return "i" if "int" in dtype else None
