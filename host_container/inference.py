"""Answers: JSON inputs by a model's signature → arrays → the model → JSON.

Bytes in, bytes out; knows nothing of HTTP, hosts or queues. Requests that may
share a run do, and what is wrong with one of them is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    InferenceFailed,
    InvalidRequest,
    InvalidTensor,
    ModelRocketError,
    PayloadTooLarge,
)
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
    """`rows` shared the run that took `run_seconds`."""

    body: bytes
    run_seconds: float
    rows: int = 1


@dataclass(frozen=True, slots=True)
class _Ran:
    outputs: dict[str, Array]
    run_seconds: float
    rows: int


Body = bytes | bytearray | memoryview
Clock = Callable[[], float]
Feeds = dict[str, Array]


def answer(model: Model, body: Body, *, clock: Clock) -> Output:
    """The body of a 200. Raises InvalidRequest and its kinds, InferenceFailed."""
    [outcome] = answer_batch(model, [body], clock=clock)
    if isinstance(outcome, ModelRocketError):
        raise outcome
    return outcome


def answer_batch(model: Model, bodies: Sequence[Body], *, clock: Clock) -> list[Output | ModelRocketError]:
    """An outcome for each body, in order. Several only for a model whose rows may share runs."""
    outcomes: list[Output | ModelRocketError | None] = [None] * len(bodies)
    feeds: list[tuple[int, Feeds]] = []
    for position, body in enumerate(bodies):
        try:
            feeds.append((position, _inputs(model, _object(body))))
        except ModelRocketError as error:
            outcomes[position] = error
    for group in _groups(feeds):
        ran = _run_group(model, [feed for _, feed in group], clock)
        for (position, _), one in zip(group, ran, strict=True):
            outcomes[position] = _written(model.record, one)
    return [outcome for outcome in outcomes if outcome is not None]


def _groups(feeds: list[tuple[int, Feeds]]) -> list[list[tuple[int, Feeds]]]:
    """Those together whose rows have the same shapes."""
    if len(feeds) == 1:
        return [feeds]
    groups: dict[tuple[tuple[int, ...], ...], list[tuple[int, Feeds]]] = {}
    for position, feed in feeds:
        shapes = tuple(array.shape[1:] for array in feed.values())
        groups.setdefault(shapes, []).append((position, feed))
    return list(groups.values())


def _run_group(model: Model, feeds: Sequence[Feeds], clock: Clock) -> list[_Ran | ModelRocketError]:
    """One run where it works; each by itself where not, so that a bad row fails alone."""
    if len(feeds) > 1:
        sizes = [_rows(feed) for feed in feeds]
        if None not in sizes:
            shared = _run_together(model, feeds, [size for size in sizes if size is not None], clock)
            if shared is not None:
                return list(shared)
    return [_run_alone(model, feed, clock) for feed in feeds]


def _run_together(model: Model, feeds: Sequence[Feeds], sizes: list[int], clock: Clock) -> list[_Ran] | None:
    joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    total, started = sum(sizes), clock()
    try:
        outputs = model.session.run(joined)
    except ModelRocketError:
        return None
    if any(output.shape[:1] != (total,) for output in outputs.values()):
        return None
    took, ends = clock() - started, list(accumulate(sizes))
    return [
        _Ran({name: output[end - size : end] for name, output in outputs.items()}, took, total)
        for size, end in zip(sizes, ends, strict=True)
    ]


def _run_alone(model: Model, feed: Feeds, clock: Clock) -> _Ran | ModelRocketError:
    started = clock()
    try:
        return _Ran(model.session.run(feed), clock() - started, _rows(feed) or 1)
    except ModelRocketError as error:
        return error


def _rows(feed: Feeds) -> int | None:
    """How many rows all inputs have; None where they differ or there are none."""
    sizes = {array.shape[0] if array.ndim else -1 for array in feed.values()}
    size = sizes.pop() if len(sizes) == 1 else -1
    return size if size > 0 else None


def _written(record: VersionRecord, ran: _Ran | ModelRocketError) -> Output | ModelRocketError:
    if isinstance(ran, ModelRocketError):
        return ran
    try:
        return Output(_body(record, ran.outputs), ran.run_seconds, ran.rows)
    except ModelRocketError as error:
        return error


def _object(body: Body) -> dict[str, Any]:
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
