"""Requests as bytes, and answers as arrays, for every protocol a server under test may speak.

`/inference` and the plain form `{"inputs": {name: nested lists}}`, the Open
Inference Protocol v2 in JSON, and v2 with the binary tensor extension
(github.com/kserve/open-inference-protocol, "Binary Tensor Data Extension").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from chalicelib.contract.metadata import DATATYPES
from modelrocket.tensors import Array, encode, numpy_dtype

Tensors: TypeAlias = Mapping[str, Array]

JSON: Final = {"Content-Type": "application/json"}
_HEADER_LENGTH: Final = "Inference-Header-Content-Length"
_LENGTH_BYTES: Final = 4
_DTYPES: Final = {datatype: dtype for dtype, datatype in DATATYPES.items()}


@dataclass(frozen=True, slots=True)
class Body:
    """What a request or an answer carries, and the headers that describe it (lower case in answers)."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def post(path: str, body: Body, *, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 request that keeps the connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body.content)}"]
    lines += [f"{name}: {value}" for name, value in {**body.headers, **(headers or {})}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body.content


def split_answer(answer: bytes) -> Body:
    """A whole HTTP response, without its status line."""
    head, _, content = answer.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return Body(content, {name.strip().lower(): value.strip() for name, _, value in lines})


# POST /inference, and servers that take and give nested lists by name.


def inference_body(inputs: Tensors, *, model_id: str, token: str) -> Body:
    """As DESIGN's one line says: token and model beside the inputs."""
    return _json({"token": token, "model": model_id, "inputs": _nested(inputs)})


def inputs_body(inputs: Tensors) -> Body:
    """The inputs alone, as a host takes them behind a ticket."""
    return _json(_nested(inputs))


def wrapped_body(inputs: Tensors) -> Body:
    return _json({"inputs": _nested(inputs)})


def listed_body(inputs: Tensors) -> Body:
    """As a list of one, for servers that batch lists."""
    return _json({"inputs": [_nested(inputs)]})


def read_inference(answer: Body) -> dict[str, Array]:
    return named_arrays(orjson.loads(answer.content)["result"])


def read_wrapped(answer: Body) -> dict[str, Array]:
    return named_arrays(orjson.loads(answer.content)["outputs"])


def read_listed(answer: Body) -> dict[str, Array]:
    (result,) = orjson.loads(answer.content)
    return named_arrays(result)


# Open Inference Protocol v2.


def v2_json_body(inputs: Tensors) -> Body:
    tensors = [_described(name, array) | {"data": _flat(array)} for name, array in inputs.items()]
    return _json({"inputs": tensors})


def v2_binary_body(inputs: Tensors, *, role: str = "inputs") -> Body:
    """JSON header, then each tensor's bytes, little-endian; asks for binary outputs too."""
    raw = [_raw(array) for array in inputs.values()]
    tensors = [
        _described(name, array) | {"parameters": {"binary_data_size": len(content)}}
        for (name, array), content in zip(inputs.items(), raw, strict=True)
    ]
    header = orjson.dumps({role: tensors, "parameters": {"binary_data_output": True}})
    headers = {"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(header))}
    return Body(header + b"".join(raw), headers)


def read_v2(answer: Body, *, role: str = "outputs") -> dict[str, Array]:
    """Of either form: tensors with a `binary_data_size` lie behind the JSON header, in order."""
    length = answer.headers.get(_HEADER_LENGTH.lower()) or answer.headers.get(_HEADER_LENGTH)
    end = int(length) if length is not None else len(answer.content)
    position, arrays = end, {}
    for tensor in orjson.loads(answer.content[:end])[role]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        dtype, shape = _DTYPES[tensor["datatype"]], tensor["shape"]
        if size is None:
            array = np.array(_leaves(tensor["data"]), dtype=numpy_dtype(dtype))
        else:
            array = _from_raw(answer.content[position : position + size], dtype)
            position += size
        arrays[tensor["name"]] = array.reshape(shape)
    return arrays


# Comparing.


def difference(answer: Tensors, expected: Tensors) -> str | None:
    """What is wrong with an answer, or None. Floats may differ as kernels order their sums."""
    if not answer:
        return "an answer without outputs"
    unknown = answer.keys() - expected.keys()
    if unknown:
        return f"an unknown output {min(unknown)}"
    wrong = (name for name, array in answer.items() if not _equal(array, expected[name]))
    name = next(wrong, None)
    return None if name is None else f"another value in {name}"


def _equal(array: Array, expected: Array) -> bool:
    if array.shape != expected.shape:
        return False
    if expected.dtype.kind == "f":
        return bool(np.allclose(array, expected, rtol=1e-3, atol=1e-4))
    return bool(np.array_equal(array, expected))


def _json(content: object) -> Body:
    return Body(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def _nested(inputs: Tensors) -> dict[str, object]:
    return {name: encode(array) for name, array in inputs.items()}


def named_arrays(result: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(value) for name, value in result.items()}


def _described(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[_dtype_name(array)]}


def _dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "OU" else array.dtype.name


def _flat(array: Array) -> object:
    return encode(array.reshape(-1))


def _leaves(content: Sequence[Any]) -> Iterable[Any]:
    """v2 allows flat and nested data."""
    if content and isinstance(content[0], list):
        return [leaf for part in content for leaf in _leaves(part)]
    return content


def _raw(array: Array) -> bytes:
    if _dtype_name(array) != "string":
        return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
    encoded = [str(text).encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in encoded)


def _from_raw(content: bytes, dtype: str) -> Array:
    if dtype != "string":
        return np.frombuffer(content, dtype=numpy_dtype(dtype).newbyteorder("<"))
    texts, position = [], 0
    while position < len(content):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(content[position:start], "little")
        texts.append(content[start:position].decode())
    return np.array(texts, dtype=object)
