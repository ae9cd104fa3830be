"""The server's side of the HTTP contract, in memory and strict: what the real one refuses, it refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from chalicelib.contract import errors, metadata
from host_container import openinference
from modelrocket import runtime
from modelrocket.api import Clock

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

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep, sleep_async=self.sleep_async)


@dataclass
class Server:
    """One account with at most one model."""

    parts: int = 1
    body_bytes_max: int = 4_400_000
    rows_independent: bool = True
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
            published = {"model_file": {"opsets": OPSETS}, "body_bytes_max": self.body_bytes_max}
            return httpx.Response(200, json=published)
        self.requests.append(f"{request.method} {request.url.path}")
        if self.troubles:
            response = self.troubles.pop(0)(request)
            if response is not None:
                return response
        if request.url.host == "store.test":
            return self._store(request)
        if request.url.path.startswith("/v2/"):
            return self._open_inference(request)
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

    def _open_inference(self, request: httpx.Request) -> httpx.Response:
        """The host's own reading and writing of Open Inference Protocol v2."""
        told = request.headers.get("authorization")
        if told not in {f"Bearer {known}" for known in (API_KEY, *self.tokens)}:
            return refusal("unauthenticated", 401, "The token is not known.")
        path = re.fullmatch(rf"/v2/models/{MODEL_ID}(?:/versions/(\d+))?(/infer)?", request.url.path)
        number = str(self.versions[-1]["number"])
        if path is None or path[1] not in (None, number):
            return refusal("not_found", 404, "There is no such model.")
        return self._infer(request, number) if path[2] else httpx.Response(200, json=self._described(number))

    def _infer(self, request: httpx.Request, number: str) -> httpx.Response:
        assert request.headers["content-type"] == request.headers["accept"] == "application/octet-stream"
        if len(request.content) > self.body_bytes_max:
            return refusal("payload_too_large", 413, "The body is too large.")
        session = runtime.load(self.model_bytes)
        header_length = int(request.headers["inference-header-content-length"])
        try:
            feeds, wanted = openinference.read(
                request.content,
                header_length,
                inputs={spec.name: spec for spec in session.inputs},
                outputs=[spec.name for spec in session.outputs],
            )
        except errors.ModelRocketError as error:
            headers = error.headers("req-1")
            return httpx.Response(error.status, json=metadata.error_body(error, "req-1"), headers=headers)
        written = openinference.write(wanted, session.run(feeds), model_id=MODEL_ID, version=int(number))
        headers = {"Inference-Header-Content-Length": str(written.json_bytes), "X-Model-Version": number}
        return httpx.Response(200, content=written.body, headers=headers)

    def _described(self, number: str) -> dict[str, Any]:
        session = runtime.load(self.model_bytes)
        inputs, outputs = (
            [
                {
                    "name": spec.name,
                    "datatype": metadata.DATATYPES[spec.dtype],
                    "shape": [-1 if size is None else size for size in spec.shape],
                }
                for spec in specs
            ]
            for specs in (session.inputs, session.outputs)
        )
        parameters = {"rows_independent": self.rows_independent}
        known = {"name": MODEL_ID, "versions": [number], "platform": "onnxruntime_onnx"}
        return known | {"inputs": inputs, "outputs": outputs, "parameters": parameters}


def refusal(
    code: str, status: int, message: str, *, retry_after: float | None = None, **details: Any
) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    retryable = status in (429, 503)
    error = {"code": code, "message": message, "retryable": retryable, "request_id": "req-1", **details}
    return httpx.Response(status, json={"error": error}, headers=headers)
