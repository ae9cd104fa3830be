"""One answer: JSON inputs by a model's signature → arrays → the model → JSON.

Bytes in, bytes out; knows nothing of HTTP, hosts or queues. Meant to run off the
event loop: parsing and serialising large bodies takes as long as running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidRequest, InvalidTensor, PayloadTooLarge
from chalicelib.contract.messages import TensorSignature, VersionRecord
from host_container.session import Session
from modelrocket import errors as codec_errors
from modelrocket.tensors import Array, TensorSpec, decode, encode

ANY_INPUT: Final = "modelInput"
"""The one input of a model with a single input may always be called this."""
_SHOWN_LENGTH_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Model:
    """A version that is ready to answer."""

    record: VersionRecord
    session: Session
    inputs: Mapping[str, TensorSpec]

    @classmethod
    def of(cls, record: VersionRecord, session: Session) -> Model:
        return cls(record, session, {given.name: _spec(given) for given in session.signature.inputs})


@dataclass(frozen=True, slots=True)
class Output:
    body: bytes
    run_seconds: float


def answer(model: Model, body: bytes | bytearray, *, clock: Callable[[], float]) -> Output:
    """The body of a 200. Raises InvalidRequest and its kinds, InferenceFailed."""
    inputs = _inputs(model, _object(body))
    started = clock()
    outputs = model.session.run(inputs)
    run_seconds = clock() - started
    return Output(_body(model.record, outputs), run_seconds)


def _object(body: bytes | bytearray) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The inputs are not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"The inputs must be a JSON object, input name to array; got a {type(value).__name__}."
        )
    return value


def _inputs(model: Model, values: dict[str, Any]) -> dict[str, Array]:
    specs = model.inputs
    if len(specs) == 1 and ANY_INPUT in values:
        (name,) = specs
        if name not in values:
            values = values | {name: values[ANY_INPUT]}
            del values[ANY_INPUT]
    for name in values.keys() - specs.keys():
        raise _unknown(name, specs)
    for name in specs.keys() - values.keys():
        raise InvalidTensor(
            f'The input "{name}" is missing; this model takes {_names(specs)}.',
            input=name,
            expected=str(specs[name]),
            got="nothing",
        )
    return {name: _decode(values[name], spec) for name, spec in specs.items()}


def _unknown(name: str, specs: Mapping[str, TensorSpec]) -> InvalidTensor:
    shown = name if len(name) <= _SHOWN_LENGTH_MAX else name[:_SHOWN_LENGTH_MAX] + "…"
    return InvalidTensor(
        f'The model has no input "{shown}"; it takes {_names(specs)}.',
        input=shown,
        expected=_names(specs),
        got=shown,
    )


def _decode(value: Any, spec: TensorSpec) -> Array:
    try:
        return decode(value, spec)
    except codec_errors.InvalidTensor as error:
        raise InvalidTensor(str(error), input=error.input, expected=error.expected, got=error.got) from error


def _body(record: VersionRecord, outputs: Mapping[str, Array]) -> bytes:
    if sum(array.nbytes for array in outputs.values()) > limits.RESPONSE_BYTES_MAX:
        raise _too_large()
    answer = {
        "result": {name: encode(array) for name, array in outputs.items()},
        "model": record.model_id,
        "version": record.number,
    }
    try:
        body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InferenceFailed("The model's answer cannot be written as JSON.") from error
    if len(body) > limits.RESPONSE_BYTES_MAX:
        raise _too_large()
    return body


def _too_large() -> PayloadTooLarge:
    size = limits.RESPONSE_BYTES_MAX // limits.MIB
    return PayloadTooLarge(f"The answer would be larger than {size} MiB. Send fewer rows at once.")


def _spec(given: TensorSignature) -> TensorSpec:
    return TensorSpec(given.name, given.dtype, given.shape)


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f'"{name}"' for name in specs)
