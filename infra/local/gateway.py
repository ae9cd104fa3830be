"""The Chalice `app` served over HTTP in process: Chalice's own LocalGateway behind granian.

Run as `python -m infra.local.gateway PORT [MODULE:APP [FOLDER]]`. What API Gateway would
answer by itself (unknown routes, too large bodies) has the same form here as
every other error. What is not the API's is answered with the web UI's files, from the folder.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from chalice.config import Config
from chalice.local import ForbiddenError, LambdaContext, LocalGateway

from chalicelib.contract.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ModelRocketError,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Unauthenticated,
)
from chalicelib.contract.limits import BODY_BYTES_MAX, MIB, REQUEST_ID_LENGTH_MAX
from chalicelib.contract.tokens import without_tokens
from infra.local.jsonlog import JsonFormatter, logging_config, write_event
from infra.local.leash import die_with_parent
from infra.local.ports import LOOPBACK
from infra.local.site import BUILT, METHODS, Site

THREADS: Final = 128
"""Requests in progress at once. They mostly wait for a host."""
_FUNCTION_SECONDS: Final = 28
_FUNCTION_MEMORY: Final = 512
_STOP_SECONDS: Final = 8
_READ_BYTES: Final = 65_536
_DROPPED_BYTES_MAX: Final = 64 * MIB
_REQUEST_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{REQUEST_ID_LENGTH_MAX}}}")
_STATUS_LINES: Final = {status: f"{status} " for status in range(100, 600)}

Environ = Mapping[str, Any]
Headers = list[tuple[str, str]]
StartResponse = Callable[[str, Headers], Any]

_request_id: ContextVar[str] = ContextVar("request_id")
_source_address: ContextVar[str] = ContextVar("source_address")


class UnsupportedMediaType(InvalidRequest):
    status = 415


_ERROR_OF_STATUS: Final[Mapping[int, type[ModelRocketError]]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes


class Gateway(LocalGateway):
    """LocalGateway with a request id and the caller's address, as the real one has.

    It is shared by all threads: after construction it only reads itself.
    """

    def _generate_lambda_context(self) -> LambdaContext:
        context = LambdaContext("api_handler", _FUNCTION_MEMORY, max_runtime_ms=_FUNCTION_SECONDS * 1000)
        context.aws_request_id = _request_id.get()
        return context

    def _generate_lambda_event(
        self, method: str, path: str, headers: dict[str, Any], body: bytes | None
    ) -> dict[str, Any]:
        event: dict[str, Any] = super()._generate_lambda_event(method, path, headers, body)
        context = event["requestContext"]
        context["requestId"] = _request_id.get()
        context["identity"]["sourceIp"] = _source_address.get()
        routes = self._app_object.routes[context["resourcePath"]]
        if method == "HEAD" and "HEAD" not in routes and "GET" in routes:
            context["httpMethod"] = "GET"  # the body is dropped on the way out
        return event


@dataclass(frozen=True, slots=True)
class WsgiGateway:
    """WSGI in, one Lambda-shaped call, WSGI out. One log line per request."""

    gateway: Gateway
    site: Site
    log: Callable[[dict[str, Any]], None]
    body_bytes_max: int = BODY_BYTES_MAX

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        started = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        _request_id.set(request_id)
        _source_address.set(environ["REMOTE_ADDR"])
        answer = self._answer(environ, request_id)
        method = environ["REQUEST_METHOD"]
        start_response(_STATUS_LINES[answer.status], answer.headers)
        self.log(
            {
                "event": "request",
                "request_id": without_tokens(_header(answer, "x-request-id")),
                "method": method,
                "path": without_tokens(environ["PATH_INFO"]),
                "status": answer.status,
                "ms": round((time.perf_counter() - started) * 1000, 2),
                "bytes_out": len(answer.body),
            }
        )
        return [b"" if method == "HEAD" else answer.body]

    def _answer(self, environ: Environ, request_id: str) -> Answer:
        """Boundary: whatever goes wrong, the caller gets an error in our form."""
        try:
            return self._call(environ, request_id)
        except ModelRocketError as error:
            return _error_answer(error, request_id)
        except Exception as error:
            self.log({"event": "gateway_error", "request_id": request_id, "error": repr(error)})
            return _error_answer(_internal(), request_id)

    def _call(self, environ: Environ, request_id: str) -> Answer:
        if environ["REQUEST_METHOD"] in METHODS:
            served = self.site.answer(environ)
            if served is not None:
                return Answer(served.status, [*served.headers, ("X-Request-Id", request_id)], served.body)
        path = _path(environ)
        body = read_body(environ, self.body_bytes_max)
        try:
            response = self.gateway.handle_request(
                environ["REQUEST_METHOD"], path, _headers(environ), body or None
            )
        except (ForbiddenError, UnicodeEncodeError):  # the latter: no route, and a token that is not ASCII
            raise NotFound(
                f"There is no route {environ['REQUEST_METHOD']} {path.partition('?')[0]}."
            ) from None
        return _translate(response, request_id)


def read_body(environ: Environ, bytes_max: int) -> bytes:
    """The whole body, with or without a Content-Length. Raises PayloadTooLarge.

    What is too large is still read, up to a point, and dropped: a caller that is
    cut off while sending would see a broken connection instead of the answer.
    """
    declared = environ.get("CONTENT_LENGTH", "")
    if declared == "0" or (not declared and "HTTP_TRANSFER_ENCODING" not in environ):
        return b""
    parts, length = [], 0
    while part := environ["wsgi.input"].read(_READ_BYTES):
        length += len(part)
        if length <= bytes_max:
            parts.append(part)
        elif length > _DROPPED_BYTES_MAX:
            break
    if length > bytes_max:
        raise PayloadTooLarge(f"A request body has at most {bytes_max} bytes.")
    return b"".join(parts)


def make_wsgi_app(target: str = "app:app", folder: Path = BUILT) -> WsgiGateway:
    """The gateway around `MODULE:APP`. Importing the module composes the control plane."""
    module_name, _, attribute = target.partition(":")
    app = getattr(importlib.import_module(module_name), attribute)
    for handler in app.log.handlers:
        handler.setFormatter(JsonFormatter())
    site = Site(folder, api=app.routes, monotonic=time.monotonic)
    return WsgiGateway(gateway=Gateway(app, Config()), site=site, log=write_event)


def _worker_app(target: str, folder: Path) -> WsgiGateway:
    """Runs in granian's worker process, a child of the one that the stack watches."""
    die_with_parent(os.getppid())
    return make_wsgi_app(target, folder)


def serve(port: int, target: str = "app:app", folder: str | Path = BUILT, *, address: str = LOOPBACK) -> None:
    """Serve until SIGTERM, at this address."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    Granian(
        target,
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        backpressure=THREADS,
        workers_kill_timeout=_STOP_SECONDS,
        log_access=False,
        log_level=LogLevels.error,
        log_dictconfig=logging_config(),
    ).serve(target_loader=partial(_worker_app, target, Path(folder)), wrap_loader=False)


def _path(environ: Environ) -> str:
    """The path as it was on the wire: granian has decoded it, LocalGateway wants it encoded."""
    path: str = environ["PATH_INFO"]
    if path.startswith("//"):  # LocalGateway would take the first part for a host name
        raise NotFound(f"There is no route {environ['REQUEST_METHOD']} {path}.")
    query = environ["QUERY_STRING"]
    encoded = quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=-._~")
    return f"{encoded}?{query}" if query else encoded


def _headers(environ: Environ) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if name in environ:
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers


def _translate(response: Mapping[str, Any], request_id: str) -> Answer:
    """A Lambda proxy response as an answer; what Chalice says by itself becomes our error form."""
    status, body = response["statusCode"], response["body"]
    headers = list(_flat_headers(response))
    if response.get("isBase64Encoded"):
        body = base64.b64decode(body)
    elif isinstance(body, str):
        body = body.encode()
    if status >= 400 and body.startswith(b'{"Code":'):  # noqa: PLR2004
        kept = [(name, value) for name, value in headers if name.lower() in _KEPT_ON_ERRORS]
        return _error_answer(_foreign_error(status, body), request_id, kept)
    names = {name.lower() for name, _ in headers}
    if "content-type" not in names and body:
        headers.append(("Content-Type", "application/json"))
    if "x-request-id" not in names:
        headers.append(("X-Request-Id", request_id))
    return Answer(status, headers, body or b"")


_KEPT_ON_ERRORS: Final = ("allow", "access-control-allow-origin", "vary")


def _header(answer: Answer, wanted: str) -> str:
    return next(value for name, value in answer.headers if name.lower() == wanted)


def _flat_headers(response: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in response["headers"].items():
        yield name, str(value)
    for name, values in response.get("multiValueHeaders", {}).items():
        for value in values:
            yield name, str(value)


def _foreign_error(status: int, body: bytes) -> ModelRocketError:
    kind = _ERROR_OF_STATUS.get(status)
    if kind is None:
        return _internal()
    return kind(str(json.loads(body).get("Message", "")))


def _error_answer(
    error: ModelRocketError, request_id: str, headers: Iterable[tuple[str, str]] = ()
) -> Answer:
    body = json.dumps(error.body(request_id)).encode()
    return Answer(
        error.status,
        [*headers, ("Content-Type", "application/json"), *error.headers(request_id).items()],
        body,
    )


def _internal() -> ModelRocketError:
    return ModelRocketError("Something failed on our side. The request id leads to it in the logs.")


if __name__ == "__main__":
    serve(int(sys.argv[1]), *sys.argv[2:])
