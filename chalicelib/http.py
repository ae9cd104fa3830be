"""The boundary between Chalice and the use cases: request in, answer or error out.

Every answer carries X-Request-Id; every error has the form of `contract.errors`,
also those that Chalice makes itself. What a route declares is done here: who calls is found out, what was
done before under the same Idempotency-Key is answered again, and what changes something is written down.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from chalice.app import Chalice, Request, Response

from chalicelib import edge
from chalicelib.api import Asked, Route, Routes
from chalicelib.auth import Principal, require
from chalicelib.contract import metadata
from chalicelib.contract.errors import (
    Draining,
    InferenceFailed,
    InvalidRequest,
    MethodNotAllowed,
    ModelLoading,
    ModelRocketError,
    NoCapacity,
    Overloaded,
)
from chalicelib.contract.inference import is_request_id
from chalicelib.idempotency import Attempt
from chalicelib.patience import one_request

log = logging.getLogger(__name__)
Headers = dict[str, str | list[str]]
ErrorBody = Callable[[ModelRocketError, str], dict[str, Any]]
"""An error and the request's id → what the caller is told."""
_JSON: Final = {"Content-Type": "application/json"}
_ANY_TYPE: Final = ["*/*"]
_GATEWAYS_ID: Final = "requestId"
_EXPECTED: Final = (InferenceFailed, ModelLoading, Overloaded, Draining, NoCapacity)
"""The model's own fault, or over as soon as there are more hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What the audit log may want to know of one request: the route, who asked, about what, how it ended.

    Attributes:
        principal: None where nobody was recognised.
        path: the values in the path, by name.
        answer: what the route returned; None where it was refused.
        error: why it was refused; None where it was not.
    """

    action: str
    principal: Principal | None
    asked: Asked
    path: Mapping[str, str]
    answer: Any
    error: ModelRocketError | None


class Guards(Protocol):
    """What every route goes through."""

    def authenticate(self, asked: Asked) -> Principal:
        """Raises Unauthenticated, PermissionDenied for a session from a foreign page."""

    def attempt(self, principal: Principal, asked: Asked, *, keep_body: bool) -> Attempt | None:
        """The attempt that a request with an Idempotency-Key is. Raises Conflict, InvalidRequest."""

    def record(self, happened: Happened) -> None:
        """Raises nothing."""

    def is_edge(self, shown: str) -> bool:
        """Whether who shows this key is the CloudFront that stands before the API."""


class Boundary:
    """Adds routes to one Chalice object. `guards` is asked for when the first request comes."""

    def __init__(self, app: Chalice, *, new_id: Callable[[], str], guards: Callable[[], Guards]) -> None:
        self._app = app
        self._new_id = new_id
        self._guards = guards
        self.routes: list[Route] = []
        app.register_middleware(self._translate, "http")

    def mount(self, routes: Routes) -> None:
        """Have these served."""
        for route in routes.declared:
            self.routes.append(route)
            self._app.route(route.path, methods=[route.method], content_types=_ANY_TYPE)(self._view(route))

    def _view(self, route: Route) -> Callable[..., Response]:
        error_body = metadata.error_body if route.open_inference else ModelRocketError.body

        def answer(**path: str) -> Response:
            asked = self._asked(self._app.current_request, route.path.format(**path))
            try:
                with one_request():
                    return self._answered(route, asked, path)
            except ModelRocketError as error:
                self._note(error, asked)
                return error_response(error, asked.request_id, error_body)
            except Exception:  # the route boundary: a defect of ours must not look like the caller's
                log.exception("unexpected", extra={"request_id": asked.request_id})
                return error_response(_unexpected(), asked.request_id, error_body)

        answer.__name__ = route.name
        return answer

    def _answered(self, route: Route, asked: Asked, path: Mapping[str, str]) -> Response:
        if not route.authenticates and route.audit is None:
            return _response(route, asked, route.function(**route.arguments(asked, None, path)))
        principal: Principal | None = None
        answer: Any = None
        refused: ModelRocketError | None = None
        try:
            if route.authenticates:
                principal = self._guards().authenticate(asked)
            if principal is not None and route.scope is not None:
                require(principal, route.scope)
            answer, response = self._attempted(route, asked, principal, path)
            return response
        except ModelRocketError as error:
            refused = error
            raise
        except Exception:
            refused = _unexpected()
            raise
        finally:
            if route.audit is not None:
                self._guards().record(
                    Happened(
                        action=route.audit,
                        principal=principal,
                        asked=asked,
                        path=path,
                        answer=answer,
                        error=refused,
                    )
                )

    def _attempted(
        self, route: Route, asked: Asked, principal: Principal | None, path: Mapping[str, str]
    ) -> tuple[Any, Response]:
        """What the route answers, or answered before under the same Idempotency-Key."""
        attempt = None
        if principal is not None and asked.writes:
            attempt = self._guards().attempt(principal, asked, keep_body=not route.secret)
        if attempt is None:
            answer = route.function(**route.arguments(asked, principal, path))
            return answer, _response(route, asked, answer)
        if attempt.answered is not None:
            return None, _again(attempt.answered.status, attempt.answered.body, asked)
        with attempt:
            answer = route.function(
                **route.arguments(msgspec.structs.replace(asked, seed=attempt.seed), principal, path)
            )
            response = _response(route, asked, answer)
            attempt.succeed(response.status_code, response.body)
        return answer, response

    def _asked(self, request: Any, path: str) -> Asked:
        """Chalice's request, which is never None inside a view, as ours. Its own path is the route's.

        The key that CloudFront shows stays here: neither routes nor the audit log see it.
        """
        identity = request.context.get("identity") or {}
        source = str(identity.get("sourceIp") or "")
        headers = _headers(request)
        shown = headers.pop(edge.HEADER, "")

        def find_address() -> str:
            if shown and self._guards().is_edge(shown):
                return edge.address(source, headers.get(edge.FORWARDED, ""))
            return source

        return Asked(
            request_id=self.request_id(request),
            method=request.method,
            path=path,
            find_address=find_address,
            headers=headers,
            query=request.query_params or {},
            raw=_raw(request),
        )

    def request_id(self, request: Request) -> str:
        """The caller's own X-Request-Id where it is harmless, else that of API Gateway's log, which a caller
        may have chosen too (x-amzn-RequestId), else a new one. The same all through."""
        for given in (request.headers.get("x-request-id", ""), request.context.get(_GATEWAYS_ID, "")):
            if is_request_id(given):
                return str(given)
        return str(request.context.setdefault("modelrocketRequestId", self._new_id()))

    def _note(self, error: ModelRocketError, asked: Asked) -> None:
        """In the log, where the platform itself failed: of what is refused under load there are metrics."""
        if error.status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, _EXPECTED):
            return
        request: Any = self._app.current_request
        told = {
            "code": error.code,
            "status": error.status,
            "request_id": asked.request_id,
            "gateway_request_id": request.context.get(_GATEWAYS_ID),
        }
        log.warning("answered with an error", extra=told)

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


def _response(route: Route, asked: Asked, answer: Any) -> Response:
    if isinstance(answer, Response):
        response = answer
    elif answer is None:
        response = Response(body="", status_code=route.status)
    else:
        body = msgspec.json.encode(answer).decode()
        response = Response(body=body, status_code=route.status, headers=dict(_JSON))
    response.headers.setdefault("X-Request-Id", asked.request_id)
    response.headers.update(asked.reply_headers)
    return response


def _again(status: int, body: str, asked: Asked) -> Response:
    headers: Headers = {"X-Request-Id": asked.request_id, "Idempotency-Replayed": "true"}
    if body:
        headers["Content-Type"] = "application/json"
    return Response(body=body, status_code=status, headers=headers)


def _headers(request: Request) -> dict[str, str]:
    """A plain dictionary: Chalice's own mapping takes two calls of Python to look at one."""
    return {name.lower(): value for name, value in (request.to_original_event()["headers"] or {}).items()}


def _raw(request: Request) -> bytes:
    """The body as it came. Chalice hands text over where API Gateway did."""
    raw = request.raw_body
    return raw if isinstance(raw, bytes) else raw.encode()


def _chalice_error(status: int, message: str) -> ModelRocketError:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected()
    return InvalidRequest(message)


def _unexpected() -> ModelRocketError:
    return ModelRocketError("Something went wrong on our side. Quote the request id when you report it.")
