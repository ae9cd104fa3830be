"""One prediction: what the caller has → by the model's signature → requests → arrays.

The signature is asked for once and remembered. Where inputs do not fit it, it is asked for again, since the
model may have another active version by now. Rows that do not fit into one request go in several, all
answered by the same version, where its certificate says that this changes no answer; else all of them go by
way of the store. A model that takes long to load is asked to answer later, and the answer fetched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import numpy as np
import orjson

from modelrocket import wire
from modelrocket.api import Api, Budget, Call
from modelrocket.errors import (
    Conflict,
    InvalidTensor,
    ModelLoading,
    NotFound,
    PayloadTooLarge,
    Refusal,
    Timeout,
    api_error,
)
from modelrocket.feeds import fed
from modelrocket.steps import Flow, Wait
from modelrocket.storing import fetching, storing
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
_INPUTS_FROM = "X-Rocket-Inputs-From"
_RESULT_FROM = "x-rocket-result-from"
_LATER = {"Prefer": "respond-async"}
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Taken:
    """Bytes that an endpoint takes: in a request, and by way of the store."""

    body_bytes_max: float
    payload_bytes_max: float


class Predictor:
    """Asks the models of one endpoint."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._signatures: dict[str, Signature] = {}
        self._taken: _Taken | None = None

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
        size = len(body.content)
        taken = (yield from self._limits(asking)) if size > _SMALL_BYTES else None
        if taken is None or size <= taken.body_bytes_max:
            outputs, _ = yield from asking.infer(body)
        else:
            try:
                pieces = list(_bodies(arrays, signature, taken.body_bytes_max))
                outputs = yield from _in_pieces(asking, pieces)
            except PayloadTooLarge:
                if size > taken.payload_bytes_max:
                    raise
                outputs = yield from asking.infer_stored(body)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def _limits(self, asking: _Asking) -> Flow[_Taken]:
        """A host's own door publishes none; it says so itself where a request is too large."""
        if self._taken is None:
            try:
                limits = yield from asking.json("GET", "/v1/limits")
                self._taken = _Taken(limits["body_bytes_max"], limits.get("payload_bytes_max", 0))
            except NotFound:
                self._taken = _Taken(math.inf, 0)
        return self._taken


def _own_id() -> dict[str, str]:
    """The same for all tries of a request, so that it is counted once however often its answer gets lost."""
    return {"X-Request-Id": uuid4().hex}


class _Asking:
    """One caller's questions about one model, within one budget."""

    def __init__(self, api: Api, model_id: str, bearer: str, budget: Budget) -> None:
        self._api = api
        self._bearer = bearer
        self._budget = budget
        self.model_id = model_id
        self.path = f"/v2/models/{model_id}"

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Flow[Any]:
        call = Call(method, path, body, bearer=self._bearer)
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
            headers={**body.headers, **_own_id()},
            deferrable=True,
            bearer=self._bearer,
        )
        return (yield from self._answer(call))

    def infer_stored(self, body: Body) -> Flow[dict[str, Array]]:
        """`infer` with the inputs by way of the store."""
        wanted = {"model": self.model_id, "bytes": len(body.content)}
        begun = yield from self.json("POST", "/v1/payloads", wanted)
        yield from storing(self._api, begun["upload"], body.content, self._budget)
        call = Call(
            "POST",
            f"{self.path}/infer",
            content=b"",
            headers={**body.headers, _INPUTS_FROM: begun["id"], **_own_id()},
            deferrable=True,
            bearer=self._bearer,
        )
        return (yield from self._answer(call))[0]

    def _answer(self, call: Call) -> Flow[tuple[dict[str, Array], str]]:
        try:
            response: httpx.Response = yield from self._api.asking(call, self._budget)
        except ModelLoading:
            response = yield from self._later(replace(call, deferrable=False))
        content, json_bytes = response.content, int(response.headers.get(wire.HEADER_LENGTH, 0))
        if _RESULT_FROM in response.headers:
            told = orjson.loads(content)["result_from"]
            content, json_bytes = (
                (yield from fetching(self._api, told, self._budget)),
                told.get("json_bytes", 0),
            )
        return wire.read(content, json_bytes), response.headers.get("x-model-version", "")

    def _later(self, call: Call) -> Flow[httpx.Response]:
        """The answer, asked for again and again until it is there. A host's own door answers at once."""
        later = replace(call, headers={**call.headers, **_LATER})
        response: httpx.Response = yield from self._api.asking(later, self._budget)
        if response.status_code != httpx.codes.ACCEPTED:
            return response
        path = f"/v1/answers/{orjson.loads(response.content)['answer']['id']}"
        while response.status_code == httpx.codes.ACCEPTED:
            pause = float(response.headers.get("retry-after", _POLL_SECONDS))
            if pause >= self._budget.remaining():
                raise Timeout(
                    f"The model is still being loaded after {self._budget.seconds:.0f} s. Wait longer with "
                    f"timeout_seconds=…, or fetch the answer: GET {path}"
                )
            yield Wait(pause)
            ask = Call("GET", path, headers={"Accept": wire.MEDIA_TYPE}, bearer=self._bearer)
            response = yield from self._api.asking(ask, self._budget)
        return response

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
