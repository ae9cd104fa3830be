"""Open Inference Protocol v2: a request's bytes → arrays by a model's signature; arrays → an answer's bytes.

JSON, and the binary tensor extension in both directions: tensors with a
`binary_data_size` lie behind the JSON in order, little-endian, strings each behind
their length in 4 bytes. A binary tensor is a view of the request where its place in
memory allows. Whatever a request claims is compared with what is there before any
memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidRequest, InvalidTensor
from chalicelib.contract.metadata import DATATYPES
from host_container.numbers import BYTES_MIN, narrowed, read_request
from modelrocket import errors as codec_errors
from modelrocket.tensors import Array, TensorSpec, decode, encode, numpy_dtype

Body = bytes | bytearray | memoryview

ANY_INPUT: Final = "modelInput"
"""The one input of a model with a single input may always be called this."""

_SIZE: Final = "binary_data_size"
_BINARY: Final = "binary_data"
_BINARY_DEFAULT: Final = "binary_data_output"
_UNSUPPORTED: Final = ("shared_memory_region", "classification")
_LENGTH_BYTES: Final = 4
_ID_LENGTH_MAX: Final = 1_000
_SHOWN_LENGTH_MAX: Final = 100
_RANK_MAX: Final = 32
_VALUES_MAX: Final = 2**40
"""Also of a shape with a zero in it, which no count of bytes bounds."""

_Name = Annotated[str, msgspec.Meta(max_length=1_000)]
_Shape = Annotated[list[int], msgspec.Meta(max_length=_RANK_MAX)]
_Parameters = dict[str, Any]


class _Input(msgspec.Struct, frozen=True):
    name: _Name
    shape: _Shape
    datatype: str
    data: Any = msgspec.UNSET
    parameters: _Parameters = {}


class _Output(msgspec.Struct, frozen=True):
    name: _Name
    parameters: _Parameters = {}


class _Header(msgspec.Struct, frozen=True):
    inputs: Annotated[list[_Input], msgspec.Meta(max_length=limits.TENSORS_MAX)]
    outputs: Annotated[list[_Output], msgspec.Meta(max_length=limits.TENSORS_MAX)] = []
    id: Annotated[str, msgspec.Meta(max_length=_ID_LENGTH_MAX)] = ""
    parameters: _Parameters = {}


_HEADER: Final = msgspec.json.Decoder(_Header)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a request wants its answer: its id, and each output's name with whether it goes binary."""

    request_id: str
    outputs: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Written:
    """`json_bytes` of the body are JSON, 0 means all."""

    body: bytes
    json_bytes: int


def read(
    body: Body, header_length: int, *, inputs: Mapping[str, TensorSpec], outputs: Sequence[str]
) -> tuple[dict[str, Array], Wanted]:
    """The arrays in the signature's order. `header_length` of the body are JSON, 0 means all.

    Raises InvalidRequest, InvalidTensor.
    """
    whole = memoryview(body)
    if header_length > len(whole):
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {header_length}, the body has {len(whole)} bytes."
        )
    end = header_length or len(whole)
    header = _header(whole[:end])
    given = _by_name(header.inputs, inputs)
    pieces = dict(zip(given, _pieces(list(given.values()), whole[end:]), strict=True))
    arrays = {name: _array(given[name], pieces[name], spec) for name, spec in inputs.items()}
    return arrays, Wanted(header.id, dict(_selected(header, outputs)))


def write(wanted: Wanted, outputs: Mapping[str, Array], *, model_id: str, version: int) -> Written:
    """The answer. Raises InferenceFailed."""
    tensors, pieces = [], []
    for name, binary in wanted.outputs.items():
        tensor: dict[str, Any] = _described(name, outputs[name])
        if binary:
            pieces.append(_raw(outputs[name]))
            tensor["parameters"] = {_SIZE: len(pieces[-1])}
        else:
            tensor["data"] = encode(outputs[name].reshape(-1))
        tensors.append(tensor)
    answer: dict[str, Any] = {"model_name": model_id, "model_version": str(version), "outputs": tensors}
    if wanted.request_id:
        answer["id"] = wanted.request_id
    try:
        header = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InferenceFailed("The model's answer cannot be written as JSON.") from error
    return Written(b"".join((header, *pieces)), len(header) if pieces else 0)


# What a request claims.


def _header(part: memoryview) -> _Header:
    try:
        numbers = read_request(bytes(part)) if len(part) >= BYTES_MIN else None
        return _HEADER.decode(part) if numbers is None else msgspec.convert(numbers, _Header)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"{error}. Expected "
            '{"inputs": [{"name": "…", "shape": […], "datatype": "FP32", "data": […]}]}'
        ) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The request is not valid JSON: {error}") from error


def _by_name(given: Sequence[_Input], specs: Mapping[str, TensorSpec]) -> dict[str, _Input]:
    """Exactly the model's inputs, in the request's order."""
    named: dict[str, _Input] = {}
    for one in given:
        name = _own_name(one.name, specs)
        if name in named:
            raise InvalidRequest(f'The input "{_shown(name)}" is there twice.')
        if name not in specs:
            raise InvalidTensor(
                f'The model has no input "{_shown(one.name)}"; it takes {_names(specs)}.',
                input=_shown(one.name),
                expected=_names(specs),
                got=_shown(one.name),
            )
        named[name] = one
    for name in specs.keys() - named.keys():
        raise InvalidTensor(
            f'The input "{name}" is missing; this model takes {_names(specs)}.',
            input=name,
            expected=str(specs[name]),
            got="nothing",
        )
    return named


def _own_name(given: str, specs: Mapping[str, TensorSpec]) -> str:
    """What the model itself calls the input."""
    return next(iter(specs)) if given == ANY_INPUT and len(specs) == 1 else given


def _pieces(given: Sequence[_Input], rest: memoryview) -> Iterator[memoryview | None]:
    """Each input's bytes, None for those in JSON. Everything behind the JSON must be somebody's."""
    position = 0
    for one in given:
        _check_supported(one.name, one.parameters)
        size = one.parameters.get(_SIZE)
        if size is None:
            yield None
            continue
        if type(size) is not int or not 0 <= size <= len(rest) - position:
            raise InvalidRequest(
                f'The input "{_shown(one.name)}" claims {_shown(repr(size))} binary bytes; '
                f"{len(rest) - position} are left behind the JSON."
            )
        if one.data is not msgspec.UNSET:
            raise InvalidRequest(f'The input "{_shown(one.name)}" has both data and {_SIZE}.')
        yield rest[position : position + size]
        position += size
    if position != len(rest):
        raise InvalidRequest(f"{len(rest) - position} bytes behind the JSON belong to no input.")


def _selected(header: _Header, names: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The outputs to answer with, and whether each goes binary."""
    default = _flag(header.parameters, _BINARY_DEFAULT, default=False)
    if not header.outputs:
        yield from ((name, default) for name in names)
        return
    seen: set[str] = set()
    for one in header.outputs:
        if one.name not in names or one.name in seen:
            problem = "is asked for twice" if one.name in seen else "is none of the model's"
            known = ", ".join(f'"{name}"' for name in names)
            raise InvalidRequest(f'The output "{_shown(one.name)}" {problem}; it gives {known}.')
        seen.add(one.name)
        _check_supported(one.name, one.parameters)
        yield one.name, _flag(one.parameters, _BINARY, default=default)


def _flag(parameters: _Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.")
    return value


def _check_supported(tensor: str, parameters: _Parameters) -> None:
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise InvalidRequest(f'"{name}" of "{_shown(tensor)}" is not supported here.')


# Tensors.


def _array(given: _Input, piece: memoryview | None, spec: TensorSpec) -> Array:
    if given.datatype != DATATYPES[spec.dtype]:
        raise _refuse(spec, f"the datatype {_shown(given.datatype)}, not {DATATYPES[spec.dtype]}")
    if not _fits(given.shape, spec):
        raise _refuse(spec, f"the shape {_shown(str(given.shape))}")
    size = math.prod(given.shape)
    if piece is None:
        return _from_json(given, size, spec).reshape(given.shape)
    flat = _from_texts(piece, size, spec) if spec.dtype == "string" else _from_raw(piece, size, spec)
    return flat.reshape(given.shape)


def _fits(shape: Sequence[int], spec: TensorSpec) -> bool:
    return (
        len(shape) == len(spec.shape)
        and all(size >= 0 and want in (None, size) for size, want in zip(shape, spec.shape, strict=True))
        and math.prod(size or 1 for size in shape) <= _VALUES_MAX
    )


def _from_json(given: _Input, size: int, spec: TensorSpec) -> Array:
    """Values may lie flat or nested like the shape."""
    if isinstance(given.data, np.ndarray):
        array = narrowed(given.data, spec.dtype) if given.data.size == size else None
        return _from_list(given.data.tolist(), given.shape, spec) if array is None else array
    if type(given.data) is not list:
        raise _refuse(spec, "no list of data")
    return _from_list(given.data, given.shape, spec)


def _from_list(values: list[Any], declared: Sequence[int], spec: TensorSpec) -> Array:
    nested = bool(values) and type(values[0]) is list
    shape = tuple(declared) if nested else (math.prod(declared),)
    try:
        return decode(values, TensorSpec(spec.name, spec.dtype, shape))
    except codec_errors.InvalidTensor as error:
        raise _refuse(spec, error.got) from error


def _from_raw(piece: memoryview, size: int, spec: TensorSpec) -> Array:
    dtype = numpy_dtype(spec.dtype)
    if len(piece) != size * dtype.itemsize:
        raise _refuse(spec, f"{len(piece)} bytes for {size} values of {dtype.itemsize}")
    if spec.dtype == "bool":
        flags = np.frombuffer(piece, np.uint8)
        if flags.size and flags.max() > 1:
            raise _refuse(spec, "a byte that is neither 0 nor 1")
        return flags.view(np.bool_)
    array: Array = np.frombuffer(piece, dtype)
    return array if array.flags.aligned else array.copy()


def _from_texts(piece: memoryview, size: int, spec: TensorSpec) -> Array:
    if len(piece) < size * _LENGTH_BYTES:
        raise _refuse(spec, f"{len(piece)} bytes for {size} strings")
    content, texts, position = bytes(piece), [], 0
    try:
        for _ in range(size):
            start = position + _LENGTH_BYTES
            position = start + int.from_bytes(content[position:start], "little")
            texts.append(content[start:position].decode())
    except UnicodeDecodeError as error:
        raise _refuse(spec, f"string {len(texts)}, which is not UTF-8") from error
    if position != len(content):
        raise _refuse(spec, f"{size} strings that take {position} of {len(content)} bytes")
    return np.fromiter(texts, dtype=object, count=size)


def _described(name: str, array: Array) -> dict[str, Any]:
    dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
    return {"name": name, "datatype": DATATYPES[dtype], "shape": list(array.shape)}


def _raw(array: Array) -> bytes:
    if array.dtype.kind not in "OUS":
        return array.tobytes()
    encoded = [str(text).encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in encoded)


def _refuse(spec: TensorSpec, got: str) -> InvalidTensor:
    found = codec_errors.InvalidTensor(spec.name, expected=str(spec), got=got)
    return InvalidTensor(str(found), input=found.input, expected=found.expected, got=found.got)


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f'"{name}"' for name in specs)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH_MAX else text[:_SHOWN_LENGTH_MAX] + "…"
