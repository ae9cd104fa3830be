"""Answers: a body by a model's signature → arrays → the model → the body of an answer.

Bytes in, bytes out, in the form that each asks for; knows nothing of HTTP, hosts or queues. Requests that may
share a run do, and what is wrong with one of them is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from host_container import numbers, openinference
from host_container.frames import Asked, Form
from host_container.openinference import ANY_INPUT, Wanted, Written
from host_container.session import Session
from modelrocket import errors as codec_errors
from modelrocket.tensors import Array, TensorSpec, decode, encode

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
    """`rows` shared the run that took `run_seconds`, `own_rows` of them are this request's.

    `json_bytes` of the body are JSON, 0 means all.

    `batch_seconds` went by before the run, with reading and joining, and after it, with splitting.
    """

    body: bytes
    batch_seconds: float
    run_seconds: float
    rows: int
    own_rows: int
    json_bytes: int


@dataclass(frozen=True, slots=True)
class _Ran:
    outputs: dict[str, Array]
    batch_seconds: float
    run_seconds: float
    rows: int
    own_rows: int


Clock = Callable[[], float]
Feeds = dict[str, Array]
Write = Callable[[VersionRecord, Mapping[str, Array]], Written]
"""Outputs → the body that one request asked for."""


@dataclass(frozen=True, slots=True)
class _Request:
    position: int
    feeds: Feeds
    write: Write


def answer(model: Model, asked: Asked, *, clock: Clock) -> Output:
    """The body of a 200. Raises InvalidRequest and its kinds, InferenceFailed."""
    [outcome] = answer_batch(model, [asked], clock=clock)
    if isinstance(outcome, ModelRocketError):
        raise outcome
    return outcome


def answer_batch(model: Model, batch: Sequence[Asked], *, clock: Clock) -> list[Output | ModelRocketError]:
    """An outcome for each request, in order. Several only for a model whose rows may share runs."""
    taken = clock()
    outcomes: list[Output | ModelRocketError | None] = [None] * len(batch)
    requests: list[_Request] = []
    for position, asked in enumerate(batch):
        try:
            requests.append(_Request(position, *_read(model, asked)))
        except ModelRocketError as error:
            outcomes[position] = _alone(error)
    for group in _groups(requests):
        ran = _run_group(model, [request.feeds for request in group], clock, taken=taken)
        for request, one in zip(group, ran, strict=True):
            outcomes[request.position] = _written(model.record, one, request.write)
    return [outcome for outcome in outcomes if outcome is not None]


def read_inputs(model: Model, asked: Asked) -> Feeds:
    """Of a request, by the model's signature. Raises InvalidRequest and its kinds."""
    return _read(model, asked)[0]


def _alone(error: ModelRocketError) -> ModelRocketError:
    """Without the frames it came through: they hold all that was read and, in a circle, the error itself."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _read(model: Model, asked: Asked) -> tuple[Feeds, Write]:
    if asked.form != Form.V2:
        feeds = _numbers(model, asked.body)
        return feeds or _inputs(model, _object(asked.body)), _write_json
    outputs = [output.name for output in model.session.signature.outputs]
    feeds, wanted = openinference.read(asked.body, asked.header_length, inputs=model.inputs, outputs=outputs)
    return feeds, partial(_write_v2, wanted)


def _groups(requests: list[_Request]) -> list[list[_Request]]:
    """Those together whose rows have the same shapes, whatever form they came in."""
    if len(requests) == 1:
        return [requests]
    groups: dict[tuple[tuple[int, ...], ...], list[_Request]] = {}
    for request in requests:
        shapes = tuple(array.shape[1:] for array in request.feeds.values())
        groups.setdefault(shapes, []).append(request)
    return list(groups.values())


def _run_group(
    model: Model, feeds: Sequence[Feeds], clock: Clock, *, taken: float
) -> list[_Ran | ModelRocketError]:
    """One run where it works; each by itself where not, so that a bad row fails alone."""
    if len(feeds) > 1:
        sizes = [size for feed in feeds if (size := _rows(feed)) is not None]
        if len(sizes) == len(feeds):
            shared = _run_together(model, feeds, sizes, clock, taken=taken)
            if shared is not None:
                return list(shared)
    return [_run_alone(model, feed, clock, taken=taken) for feed in feeds]


def _run_together(
    model: Model, feeds: Sequence[Feeds], sizes: list[int], clock: Clock, *, taken: float
) -> list[_Ran] | None:
    joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    total, started = sum(sizes), clock()
    try:
        outputs = model.session.run(joined)
    except ModelRocketError:
        return None
    if any(output.shape[:1] != (total,) for output in outputs.values()):
        return None
    ended = clock()
    split = [
        {name: output[end - size : end] for name, output in outputs.items()}
        for size, end in zip(sizes, accumulate(sizes), strict=True)
    ]
    batched, took = started - taken + clock() - ended, ended - started
    return [_Ran(one, batched, took, total, size) for one, size in zip(split, sizes, strict=True)]


def _run_alone(model: Model, feed: Feeds, clock: Clock, *, taken: float) -> _Ran | ModelRocketError:
    started, rows = clock(), _rows(feed) or 1
    try:
        return _Ran(model.session.run(feed), started - taken, clock() - started, rows, rows)
    except ModelRocketError as error:
        return error


def _rows(feed: Feeds) -> int | None:
    """How many rows all inputs have; None where they differ or there are none."""
    sizes = {array.shape[0] if array.ndim else -1 for array in feed.values()}
    size = sizes.pop() if len(sizes) == 1 else -1
    return size if size > 0 else None


def _written(record: VersionRecord, ran: _Ran | ModelRocketError, write: Write) -> Output | ModelRocketError:
    if isinstance(ran, ModelRocketError):
        return ran
    try:
        if sum(array.nbytes for array in ran.outputs.values()) > limits.RESPONSE_BYTES_MAX:
            raise _too_large()
        written = write(record, ran.outputs)
        if len(written.body) > limits.RESPONSE_BYTES_MAX:
            raise _too_large()
    except ModelRocketError as error:
        return error
    return Output(
        written.body, ran.batch_seconds, ran.run_seconds, ran.rows, ran.own_rows, written.json_bytes
    )


def _write_v2(wanted: Wanted, record: VersionRecord, outputs: Mapping[str, Array]) -> Written:
    return openinference.write(wanted, outputs, model_id=record.model_id, version=record.number)


def _numbers(model: Model, body: bytes | bytearray | memoryview) -> Feeds | None:
    """The inputs of a large body, where they are plain numbers under the model's own names."""
    if len(body) < numbers.BYTES_MIN:
        return None
    content = bytes(body)
    feeds = numbers.read_numbers(content, model.inputs)
    if feeds is not None or len(model.inputs) > 1:
        return feeds
    (spec,) = model.inputs.values()
    feeds = numbers.read_numbers(content, {ANY_INPUT: spec})
    return None if feeds is None else {spec.name: feeds[ANY_INPUT]}


def _object(body: bytes | bytearray | memoryview) -> dict[str, Any]:
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


def _write_json(record: VersionRecord, outputs: Mapping[str, Array]) -> Written:
    answer = {
        "result": {name: encode(array) for name, array in outputs.items()},
        "model": record.model_id,
        "version": record.number,
    }
    try:
        return Written(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), 0)
    except orjson.JSONEncodeError as error:
        raise InferenceFailed("The model's answer cannot be written as JSON.") from error


def _too_large() -> PayloadTooLarge:
    size = limits.RESPONSE_BYTES_MAX // limits.MIB
    return PayloadTooLarge(f"The answer would be larger than {size} MiB. Send fewer rows at once.")


def _spec(given: TensorSignature) -> TensorSpec:
    return TensorSpec(given.name, given.dtype, given.shape)


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f'"{name}"' for name in specs)
