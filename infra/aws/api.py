"""The API as API Gateway is told it: what Chalice generates from `app.py`, and two things of ours.

Which function answers a path is ours to say. And what API Gateway itself refuses is answered as the
platform would have answered it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from chalice.deploy.swagger import TemplatedSwaggerGenerator

import app as application
from chalicelib.contract.errors import (
    DeadlineExceeded,
    DependencyFailed,
    InvalidRequest,
    ModelRocketError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
)
from chalicelib.routes import inference

INFERENCE: Final = frozenset(route.path for route in inference.route.declared)
"""The paths of requests to models; all others manage them."""
_INTEGRATION: Final = "x-amazon-apigateway-integration"
_UNKNOWN_PATH: Final = NotFound("There is no such path or method. GET /v1/openapi.json lists them.")
_REFUSED: Final[Mapping[str, tuple[int | None, ModelRocketError]]] = {
    "MISSING_AUTHENTICATION_TOKEN": (404, _UNKNOWN_PATH),  # so it calls a path that it does not know
    "RESOURCE_NOT_FOUND": (404, _UNKNOWN_PATH),
    "THROTTLED": (429, RateLimited("Too many requests for this deployment. Try again shortly.")),
    "REQUEST_TOO_LARGE": (
        413,
        PayloadTooLarge("More than 10 MB in one request. Ask for POST /v1/payloads and send inputs there."),
    ),
    "INTEGRATION_TIMEOUT": (504, DeadlineExceeded("No answer in the time that there is for one.")),
    "DEFAULT_4XX": (None, InvalidRequest("The request cannot be read.")),
    "DEFAULT_5XX": (None, DependencyFailed("The platform could not answer. Try again shortly.")),
}
"""By API Gateway's name of what happened; None for the status that it has chosen."""


def definition(uri: Callable[[str], str], *, name: str) -> dict[str, Any]:
    """`uri`: a path → the function that answers it, as API Gateway calls it.

    `name`: of the API. Its metrics go by that, and a definition with another title would rename it.
    """
    described: dict[str, Any] = TemplatedSwaggerGenerator().generate_swagger(application.app)
    described["info"]["title"] = name
    for path, methods in described["paths"].items():
        for method in methods.values():
            method[_INTEGRATION]["uri"] = uri(path)
    responses = {name: _response(status, error) for name, (status, error) in _REFUSED.items()}
    return {**described, "x-amazon-apigateway-gateway-responses": responses}


def _response(status: int | None, error: ModelRocketError) -> dict[str, Any]:
    headers = {"X-Request-Id": "context.requestId"}
    if error.retryable:
        headers["Retry-After"] = "'1'"
    told: dict[str, Any] = {
        "responseParameters": {f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        "responseTemplates": {"application/json": json.dumps(error.body("$context.requestId"))},
    }
    return told if status is None else {"statusCode": str(status), **told}
