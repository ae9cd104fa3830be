"""Open Inference Protocol v2 as a caller speaks it: arrays → a request's body, an answer's body → arrays.

Numbers travel as binary tensors whatever their size: exactly, NaN and infinities included. A request and
an answer of n float32 values each, written and read by the client (microseconds on one core of an AMD EPYC;
JSON as `POST /inference` has it, with orjson and `tensors.decode`), and the bytes of one of them:

    n                   1       16       64    1,024     65,536      262,144
    JSON           7.3 µs   8.3 µs    11 µs   190 µs  15,400 µs   102,000 µs
    binary         3.7 µs   3.7 µs   3.7 µs   4.0 µs      19 µs        69 µs
    JSON             41 B    205 B    725 B  11.3 kB     717 kB      2.87 MB
    binary          180 B    242 B    435 B   4.3 kB     262 kB      1.05 MB

So JSON is never cheaper but for some dozen bytes of the smallest requests. Strings go as JSON: 10,000 of them
are written in 53 µs, and in 3,600 µs each behind its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from modelrocket.errors import InvalidTensor, Refusal, api_error
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

HEADER_LENGTH = "Inference-Header-Content-Length"
MEDIA_TYPE = "application/octet-stream"
_LENGTH_BYTES = 4
_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_DTYPES = {datatype: dtype for dtype, datatype in _DATATYPES.items()}


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives. `rows_independent`: each row is answered alike in any company."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows_independent: bool = False


@dataclass(frozen=True)
class Body:
    """`json_bytes` of the content are JSON; binary tensors follow."""

    content: bytes
    json_bytes: int

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE, HEADER_LENGTH: str(self.json_bytes)}


def read_signature(told: Mapping[str, Any]) -> Signature:
    """From what `GET /v2/models/{model}` answers."""
    return Signature(
        inputs=tuple(map(_spec, told["inputs"])),
        outputs=tuple(map(_spec, told["outputs"])),
        rows_independent=told.get("parameters", {}).get("rows_independent") is True,
    )


def write(arrays: Mapping[str, Array], signature: Signature) -> Body:
    """Arrays of exactly the signature's dtypes, as a request. Raises `InvalidTensor` for half a character."""
    tensors, pieces = [], []
    for spec in signature.inputs:
        array = arrays[spec.name]
        tensor: dict[str, Any] = {
            "name": spec.name,
            "shape": array.shape,
            "datatype": _DATATYPES[spec.dtype],
        }
        if spec.dtype == "string":
            tensor["data"] = array.ravel().tolist()
        else:
            pieces.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            tensor["parameters"] = {"binary_data_size": len(pieces[-1])}
        tensors.append(tensor)
    try:
        header = orjson.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}})
    except orjson.JSONEncodeError as error:
        texts = ", ".join(spec.name for spec in signature.inputs if spec.dtype == "string")
        raise InvalidTensor(texts, expected="strings of whole characters", got=str(error)) from error
    return Body(b"".join((header, *pieces)), len(header))


def read(content: bytes, json_bytes: int) -> dict[str, Array]:
    """An answer's outputs by name, each writable. `json_bytes` of it are JSON, 0 means all.

    Raises `ApiError` where it is no answer of this protocol.
    """
    try:
        header = orjson.loads(content[: json_bytes or len(content)])
        return dict(_tensors(header["outputs"], memoryview(content)[json_bytes or len(content) :]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = f"The answer is not one of Open Inference Protocol v2 ({type(error).__name__}: {error})."
        raise api_error(Refusal(code="invalid_answer", message=told, status=200)) from error


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(None if size < 0 else size for size in told["shape"])
    return TensorSpec(told["name"], _DTYPES[told["datatype"]], shape)


def _tensors(told: Sequence[Mapping[str, Any]], rest: memoryview) -> Iterator[tuple[str, Array]]:
    position = 0
    for tensor in told:
        dtype, size = _DTYPES[tensor["datatype"]], tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            flat: Array = np.array(tensor["data"], numpy_dtype(dtype))
        else:
            piece, position = rest[position : position + size], position + size
            flat = _texts(piece) if dtype == "string" else _numbers(piece, dtype)
        yield tensor["name"], flat.reshape(tensor["shape"])


def _numbers(piece: memoryview, dtype: str) -> Array:
    """A copy, since views of the answer could not be written to."""
    native = numpy_dtype(dtype)
    return np.frombuffer(piece, native.newbyteorder("<")).astype(native)


def _texts(piece: memoryview) -> Array:
    texts, position = [], 0
    while position < len(piece):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(piece[position:start], "little")
        texts.append(str(piece[start:position], "utf-8"))
    return np.array(texts, object)
