"""One prediction: what the caller has → by the model's signature → requests → arrays.

The signature is asked for once and remembered. Where inputs do not fit it, it is asked for again, since the
model may have another active version by now. Rows that do not fit into one request go in several, all
answered by the same version, where its certificate says that this changes no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import httpx
import numpy as np

from modelrocket import wire
from modelrocket.api import Api, Budget, Call
from modelrocket.errors import Conflict, InvalidTensor, NotFound, Refusal, api_error
from modelrocket.feeds import fed
from modelrocket.steps import Flow
from modelrocket.tensors import Array, TensorSpec
from modelrocket.wire import Body, Signature

Answer: TypeAlias = Array | dict[str, Array]
"""A model's only output, or several by name."""

_SMALL_BYTES = 1_000_000
"""Every endpoint takes so much; only for more is it asked what it takes."""
_ADVICE = {
    False: " Send fewer rows at once: that this model answers each row by itself is not proved, so they are "
    "not sent in several requests.",
    True: " Make it smaller, for example by a smaller image.",
}
_ATTEMPTS_MAX = 3
"""At a prediction in several requests, while versions take turns."""


class Predictor:
    """Asks the models of one endpoint."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._signatures: dict[str, Signature] = {}
        self._body_bytes_max: float | None = None

    def predicting(self, model_id: str, inputs: Any, *, bearer: str, seconds: float) -> Flow[Answer]:
        """Raises `InvalidTensor`, `ApiError`, `ConnectionFailed` or `Timeout`."""
        asking = _Asking(self._api, model_id, bearer, Budget(seconds, self._api.clock))
        known = self._signatures.get(model_id)
        signature = known or (yield from self._asked_signature(asking))
        try:
            return (yield from self._predicted(asking, inputs, signature))
        except InvalidTensor:
            if known is None:
                raise
            signature = yield from self._asked_signature(asking)
            if signature == known:
                raise
        return (yield from self._predicted(asking, inputs, signature))

    def _asked_signature(self, asking: _Asking) -> Flow[Signature]:
        signature = self._signatures[asking.model_id] = yield from asking.signature()
        return signature

    def _predicted(self, asking: _Asking, inputs: Any, signature: Signature) -> Flow[Answer]:
        arrays = fed(inputs, signature.inputs)
        body = wire.write(arrays, signature)
        if len(body.content) <= _SMALL_BYTES or len(body.content) <= (yield from self._limit(asking)):
            outputs, _ = yield from asking.infer(body)
        else:
            limit = yield from self._limit(asking)
            outputs = yield from _in_pieces(asking, list(_bodies(arrays, signature, limit)))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def _limit(self, asking: _Asking) -> Flow[float]:
        """Bytes of a request. A host's own door publishes none; it says so itself where one is too large."""
        if self._body_bytes_max is None:
            try:
                limits = yield from asking.json("GET", "/v1/limits")
                self._body_bytes_max = limits["body_bytes_max"]
            except NotFound:
                self._body_bytes_max = math.inf
        return self._body_bytes_max


class _Asking:
    """One caller's questions about one model, within one budget."""

    def __init__(self, api: Api, model_id: str, bearer: str, budget: Budget) -> None:
        self._api = api
        self._bearer = bearer
        self._budget = budget
        self.model_id = model_id
        self.path = f"/v2/models/{model_id}"

    def json(self, method: str, path: str) -> Flow[Any]:
        call = Call(method, path, bearer=self._bearer)
        return (yield from self._api.asking_json(call, self._budget))

    def signature(self, version: str = "") -> Flow[Signature]:
        """The active version's, or that of the one named."""
        return wire.read_signature((yield from self.json("GET", self._path_of(version))))

    def infer(self, body: Body, *, version: str = "") -> Flow[tuple[dict[str, Array], str]]:
        """The outputs, and the version that gave them; `version` asks for one."""
        call = Call(
            "POST",
            f"{self._path_of(version)}/infer",
            content=body.content,
            headers=body.headers,
            bearer=self._bearer,
        )
        response: httpx.Response = yield from self._api.asking(call, self._budget)
        json_bytes = int(response.headers.get(wire.HEADER_LENGTH, 0))
        return wire.read(response.content, json_bytes), response.headers.get("x-model-version", "")

    def _path_of(self, version: str) -> str:
        return f"{self.path}/versions/{version}" if version else self.path


def _in_pieces(asking: _Asking, bodies: list[Body]) -> Flow[dict[str, Array]]:
    """Where the version that answered the first stops answering, all begins anew with another.

    It may be another than the one that was described: a candidate, or one that became active since. Raises
    `PayloadTooLarge` where that one's rows are not proved independent.
    """
    for _ in range(_ATTEMPTS_MAX):
        first, version = yield from asking.infer(bodies[0])
        answers = [first]
        try:
            if not (yield from asking.signature(version)).rows_independent:
                told = f"The rows are too many for one request to version {version}."
                raise api_error(Refusal(code="payload_too_large", message=told + _ADVICE[False], status=413))
            for body in bodies[1:]:
                answers.append((yield from asking.infer(body, version=version))[0])
        except NotFound:
            continue
        return {name: np.concatenate([answer[name] for answer in answers]) for name in first}
    told = "The model's versions changed again and again while rows were sent. Try again."
    raise Conflict(Refusal(code="conflict", message=told, status=409))


def _bodies(arrays: Mapping[str, Array], signature: Signature, limit: float) -> Iterator[Body]:
    """Requests of no more than `limit` bytes, for some of the rows each. Raises `PayloadTooLarge`."""
    body = wire.write(arrays, signature)
    size = len(body.content)
    if size <= limit:
        yield body
        return
    rows = _rows(arrays, signature)
    if rows <= 1:
        whole = all(map(_takes_any_rows, signature.inputs)) and _count(arrays) == {1}
        told = f"{'One row' if whole else 'The request'} has {size:,} bytes, {limit:,} are allowed."
        raise api_error(Refusal(code="payload_too_large", message=told + _ADVICE[whole], status=413))
    count = min(rows, max(2, math.ceil(size / limit)))
    edges = [rows * number // count for number in range(count + 1)]
    for start, end in pairwise(edges):
        yield from _bodies({name: array[start:end] for name, array in arrays.items()}, signature, limit)


def _rows(arrays: Mapping[str, Array], signature: Signature) -> int:
    """That may be sent apart from each other; 1 where they may not."""
    counts = _count(arrays)
    free = all(map(_takes_any_rows, (*signature.inputs, *signature.outputs)))
    return counts.pop() if signature.rows_independent and free and len(counts) == 1 else 1


def _count(arrays: Mapping[str, Array]) -> set[int]:
    return {len(array) if array.ndim else 0 for array in arrays.values()}


def _takes_any_rows(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] is None
