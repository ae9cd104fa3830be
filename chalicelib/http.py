"""The boundary between Chalice and the use cases: request in, answer or error out.

Every answer carries X-Request-Id; every error has the form of `contract.errors`,
also those that Chalice makes itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from chalice.app import Chalice, Request, Response

from chalicelib.contract import limits, metadata
from chalicelib.contract.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ModelRocketError,
    PayloadTooLarge,
)
from chalicelib.contract.inference import is_request_id

log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=msgspec.Struct)
View = Callable[..., Response]
Headers = dict[str, str | list[str]]
ErrorBody = Callable[[ModelRocketError, str], dict[str, Any]]
"""An error and the request's id → what the caller is told."""
_JSON: Final = {"Content-Type": "application/json"}


class Boundary:
    """Wraps the views of one Chalice object."""

    def __init__(self, app: Chalice, *, new_id: Callable[[], str]) -> None:
        self._app = app
        self._new_id = new_id
        app.register_middleware(self._translate, "http")

    def view(self, function: Callable[..., Any]) -> View:
        """`function(request, request_id, *path arguments)` returning a Response or plain data."""
        return self._guarded(function, ModelRocketError.body)

    def open_inference_view(self, function: Callable[..., Any]) -> View:
        """The same, with errors as Open Inference Protocol v2 has them."""
        return self._guarded(function, metadata.error_body)

    def _guarded(self, function: Callable[..., Any], error_body: ErrorBody) -> View:
        @wraps(function)
        def answer(**path: str) -> Response:
            request: Any = self._app.current_request  # never None inside a view
            request_id = self.request_id(request)
            try:
                return _answer(function(request, request_id, **path), request_id)
            except ModelRocketError as error:
                return error_response(error, request_id, error_body)
            except Exception:  # the route boundary: a defect of ours must not look like the caller's
                log.exception("unexpected", extra={"request_id": request_id})
                return error_response(_unexpected(), request_id, error_body)

        return answer

    def request_id(self, request: Request) -> str:
        """The caller's own X-Request-Id where it is harmless, else a new one. The same all through."""
        given = request.headers.get("x-request-id", "")
        if is_request_id(given):
            return str(given)
        minted = request.context.setdefault("modelrocketRequestId", self._new_id())
        return str(minted)

    def _translate(self, request: Request, get_response: Callable[[Any], Response]) -> Response:
        """Chalice's own errors ({"Code", "Message"}) in our form."""
        response = get_response(request)
        body = response.body
        if isinstance(body, dict) and set(body) == {"Code", "Message"}:
            error = _chalice_error(response.status_code, body["Message"])
            of_open_inference = request.path.encode().startswith(metadata.PREFIX)
            error_body = metadata.error_body if of_open_inference else ModelRocketError.body
            return error_response(error, self.request_id(request), error_body)
        return response


def error_response(
    error: ModelRocketError, request_id: str, error_body: ErrorBody = ModelRocketError.body
) -> Response:
    headers: Headers = {**_JSON, **error.headers(request_id)}
    return Response(body=json.dumps(error_body(error, request_id)), status_code=error.status, headers=headers)


def read_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body as its schema, or InvalidRequest naming the field."""
    raw = read_raw(request)
    if len(raw) > limits.BODY_BYTES_MAX:
        raise PayloadTooLarge(f"The body has {len(raw)} bytes, {limits.BODY_BYTES_MAX} are allowed.")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error


def read_raw(request: Request) -> bytes:
    """The body as it came. Chalice hands text over where API Gateway did."""
    raw = request.raw_body
    return raw if isinstance(raw, bytes) else raw.encode()


def read_query(request: Request, name: str) -> str:
    """A query parameter, empty when absent."""
    parameters: Any = request.query_params or {}
    return str(parameters.get(name, ""))


def _answer(result: Any, request_id: str) -> Response:
    response = result if isinstance(result, Response) else Response(body=result)
    response.headers.setdefault("X-Request-Id", request_id)
    return response


def _chalice_error(status: int, message: str) -> ModelRocketError:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected()
    return InvalidRequest(message)


def _unexpected() -> ModelRocketError:
    return ModelRocketError("Something went wrong on our side. Quote the request id when you report it.")
