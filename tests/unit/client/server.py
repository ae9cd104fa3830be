"""The server's side of the HTTP contract, in memory and strict: what the real one refuses, it refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson

from modelrocket import runtime
from modelrocket.api import Clock
from modelrocket.errors import InvalidTensor
from modelrocket.tensors import decode, encode

ENDPOINT = "http://rocket.test"
STORE = "http://store.test"
API_KEY = "mr_account"
OPSETS = {"ai.onnx": {"min": 7, "max": 28}, "ai.onnx.ml": {"min": 1, "max": 5}}
MODEL_ID = "5b1c5f5e-0000-4000-8000-000000000001"


class Time:
    """Passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


@dataclass
class Server:
    """One account with at most one model."""

    parts: int = 1
    stages: Iterable[str] = ("queued", "optimising")
    failure: str | None = None
    superseded: bool = False
    troubles: list[Callable[[httpx.Request], httpx.Response | None]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    stored: dict[int, bytes] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    @property
    def model_bytes(self) -> bytes:
        return b"".join(self.stored[offset] for offset in sorted(self.stored))

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/limits":
            return httpx.Response(200, json={"model_file": {"opsets": OPSETS}})
        self.requests.append(f"{request.method} {request.url.path}")
        if self.troubles:
            response = self.troubles.pop(0)(request)
            if response is not None:
                return response
        if request.url.host == "store.test":
            return self._store(request)
        if request.url.path == "/inference":
            return self._inference(request)
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return refusal("unauthenticated", 401, "The API key is not known.")
        return self._management(request)

    def _management(self, request: httpx.Request) -> httpx.Response:
        routes: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            r"POST /v1/models": self._begin,
            rf"POST /v1/models/{MODEL_ID}/versions/\d+/complete": self._complete,
            rf"GET /v1/models/{MODEL_ID}/versions/\d+": self._version,
            rf"POST /v1/models/{MODEL_ID}/tokens": self._token,
            r"GET /v1/models": self._models,
            rf"GET /v1/models/{MODEL_ID}": lambda _: httpx.Response(200, json=self._model()),
        }
        line = f"{request.method} {request.url.path}"
        for pattern, route in routes.items():
            if re.fullmatch(pattern, line):
                return route(request)
        return refusal("not_found", 404, "There is no such thing.")

    def _begin(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        assert set(body) <= {"name", "bytes", "sha256", "framework", "receipt", "activate"}
        assert re.fullmatch(r"[0-9a-f]{64}", body["sha256"])
        assert body["receipt"]["model_sha256"] == body["sha256"]
        if not re.fullmatch(r"[A-Za-z0-9 ._-]{1,100}", body["name"]):
            return refusal("invalid_request", 400, "name: 1 to 100 letters, digits, spaces, dots, dashes.")
        created = not self.versions
        self.progress = list(self.stages)
        self.stored.clear()
        self.versions.append(body | {"state": "uploading", "number": len(self.versions) + 1})
        model = {"id": MODEL_ID, "name": body["name"], "created": created, "tokens": len(self.tokens)}
        upload = {"expires_in": 900, "parts": self._parts(body["bytes"])}
        return httpx.Response(
            201, json={"model": model, "version": self._shown(self.versions[-1]), "upload": upload}
        )

    def _parts(self, size: int) -> list[dict[str, Any]]:
        step = -(-size // self.parts)
        return [
            {
                "method": "PUT",
                "url": f"{STORE}/bucket/{offset}?X-Amz-Signature=abc%2Fdef",
                "headers": {"x-amz-checksum-sha256": "Zm9v", "Content-Type": "application/octet-stream"},
                "offset": offset,
                "bytes": min(step, size - offset),
            }
            for offset in range(0, size, step)
        ]

    def _store(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "PUT"
        assert request.url.query == b"X-Amz-Signature=abc%2Fdef"
        assert request.headers["x-amz-checksum-sha256"] == "Zm9v"
        assert request.headers["content-type"] == "application/octet-stream"
        assert "authorization" not in request.headers
        assert "transfer-encoding" not in request.headers
        content = request.read()
        assert request.headers["content-length"] == str(len(content))
        self.stored[int(request.url.path.rpartition("/")[2])] = content
        return httpx.Response(200)

    def _complete(self, request: httpx.Request) -> httpx.Response:
        version = self.versions[-1]
        if not self.stored:
            return refusal("conflict", 409, "The upload has not arrived yet.")
        digest = hashlib.sha256(self.model_bytes).hexdigest()
        if (len(self.model_bytes), digest) != (version["bytes"], version["sha256"]):
            return refusal("invalid_model", 422, "The stored bytes are not those announced.")
        version["state"] = "preparing"
        return httpx.Response(202, json=self._shown(version))

    def _version(self, request: httpx.Request) -> httpx.Response:
        version = self.versions[-1]
        if version["state"] == "preparing":
            if self.progress:
                version["stage"] = self.progress.pop(0)
            else:
                version |= {"state": "failed" if self.failure else "ready", "stage": None}
                version |= {"reason": self.failure, "activating": version["activate"] and not self.failure}
        elif version["state"] == "ready":
            version |= {"activating": False, "active": version["activate"] and not self.superseded}
        return httpx.Response(200, json=self._shown(version))

    def _shown(self, version: dict[str, Any]) -> dict[str, Any]:
        shown = {
            "model_id": MODEL_ID,
            "stage": None,
            "active": False,
            "activating": False,
            "reason": None,
            "signature": None,
            "passport": None,
            "created_at": "2026-01-01T00:00:00+00:00",
        } | {name: value for name, value in version.items() if name not in ("activate", "receipt")}
        if shown["state"] == "ready":
            session = runtime.load(self.model_bytes)
            shown["signature"] = {
                side: [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in specs]
                for side, specs in (("inputs", session.inputs), ("outputs", session.outputs))
            }
        return shown

    def _token(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(f"mr_token{len(self.tokens)}_of_this_model")
        return httpx.Response(201, json={"id": "1", "token": self.tokens[-1], "hint": "mr_t…"})

    def _model(self) -> dict[str, Any]:
        return {
            "id": MODEL_ID,
            "name": self.versions[-1]["name"],
            "active": self.versions[-1]["number"],
            "created_at": "2026-01-01T00:00:00+00:00",
            "url": f"{ENDPOINT}/inference",
        }

    def _models(self, request: httpx.Request) -> httpx.Response:
        if request.url.params.get("after") == MODEL_ID:
            return httpx.Response(200, json={"models": [self._model() | {"name": "last"}], "next": None})
        return httpx.Response(200, json={"models": [self._model()], "next": MODEL_ID})

    def _inference(self, request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        if request.headers.get("authorization") not in {f"Bearer {token}" for token in self.tokens}:
            return refusal("unauthenticated", 401, "The token is not known.")
        assert body["model"] == MODEL_ID
        session = runtime.load(self.model_bytes)
        (spec,) = session.inputs
        try:
            feeds = {spec.name: decode(body["inputs"]["modelInput"], spec)}
        except InvalidTensor as error:
            told: Any = {"input": error.input, "expected": error.expected, "got": error.got}
            return refusal("invalid_tensor", 422, str(error), **told)
        result = {name: encode(np.asarray(value)) for name, value in session.run(feeds).items()}
        content = orjson.dumps({"result": result}, option=orjson.OPT_SERIALIZE_NUMPY)
        return httpx.Response(200, content=content)


def refusal(
    code: str, status: int, message: str, *, retry_after: float | None = None, **details: Any
) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    retryable = status in (429, 503)
    error = {"code": code, "message": message, "retryable": retryable, "request_id": "req-1", **details}
    return httpx.Response(status, json={"error": error}, headers=headers)
