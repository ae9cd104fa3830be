"""The API's description in OpenAPI 3.1, generated from the routes' own types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from chalicelib import __version__
from chalicelib.api import Parameter, Route
from chalicelib.contract import limits
from chalicelib.contract.tokens import TOKEN_PATTERN
from chalicelib.contract.transfers import INPUTS_FROM
from chalicelib.cookies import SECURE_NAME
from chalicelib.views import ErrorAnswer, OpenInferenceErrorAnswer, Promise

_REFERENCE: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_FIELD: Final = re.compile(r"^(\w+(?:, \w+)*): (.*(?:\n .*)*)", re.MULTILINE)
"""`name: what it is`, in the Attributes of a docstring; further lines of it are indented."""
_TAGS: Final = (
    (re.compile(r"^/(inference|v2/|v1/payloads|v1/answers)"), "Inference"),
    (re.compile(r"^/v1/models"), "Models"),
    (re.compile(r"^/v1/keys"), "Keys"),
    (re.compile(r"^/v1/(account|sessions|operator)"), "Accounts"),
    (re.compile(r""), "Platform"),
)
_SOMETIMES: Final = (401, 403, 409, 422, 504)
_ALWAYS: Final = (400, 404, 405, 413, 415, 429, 500, 503)
_OWN_CHECK: Final = (
    "/inference",
    "/v2",
    "/v1/payloads",
    "/v1/answers",
    "/v1/accounts",
    "/v1/sessions",
)
"""Paths of routes that look at credentials themselves."""
_ABOUT: Final = """\
Turn a trained model into an inference API in one line, and call it from any language.

Send an API key or a model's token as `Authorization: Bearer mr_…`. Every answer carries `X-Request-Id`;
every refusal says what was wrong and what to do, and whether sending it again may help. A write that is sent
again with the same `Idempotency-Key` is done once.
"""
_ABOUT_SESSIONS: Final = """\
What a log-in sets, for browsers. A request that changes something also needs `X-Rocket-Request: 1` and has to
come from a page of this host. On one's own machine, without https, the name is `modelrocket`.
"""


def text(routes: Iterable[Route]) -> str:
    """As JSON."""
    return _text(tuple(routes))


@lru_cache(maxsize=1)
def _text(routes: tuple[Route, ...]) -> str:
    return msgspec.json.format(msgspec.json.encode(described(routes), order="sorted"), indent=1).decode()


def described(routes: Iterable[Route]) -> dict[str, Any]:
    """As plain data."""
    listed = tuple(routes)
    types = [kind for one in listed for kind in (one.accepts, one.answer) if kind is not None]
    types += [parameter.kind for one in listed for parameter in one.in_query]
    types += [ErrorAnswer, OpenInferenceErrorAnswer, Promise]
    _, found = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    components = {name: _explained(schema) for name, schema in found.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    session = {"type": "apiKey", "in": "cookie", "name": SECURE_NAME, "description": _ABOUT_SESSIONS}
    bearer = {"type": "http", "scheme": "bearer", "description": f"Matches {TOKEN_PATTERN}"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "ModelRocket", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _refusals(),
            "securitySchemes": {"credential": bearer, "session": session},
        },
    }


def _explained(schema: dict[str, Any]) -> dict[str, Any]:
    """With what the type's docstring says of its fields beside them."""
    about, _, fields = inspect.cleandoc(schema.get("description", "")).partition("Attributes:")
    explained = {
        name: " ".join(said.split())
        for names, said in _FIELD.findall(inspect.cleandoc("\n" + fields))
        for name in names.split(", ")
    }
    described: dict[str, Any] = schema | ({"description": " ".join(about.split())} if about else {})
    for name, properties in schema.get("properties", {}).items():
        if name in explained:
            described["properties"] = described["properties"] | {
                name: properties | {"description": explained[name][:1].upper() + explained[name][1:]}
            }
    return described


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary.partition("\n")[0].rstrip("."),
        "tags": [next(tag for pattern, tag in _TAGS if pattern.search(route.path))],
        "parameters": [*_parameters(route), *_headers(route)],
        "responses": _responses(route),
    }
    if route.authenticates:
        operation["security"] = [{"credential": []}, {"session": []}]
    if route.scope is not None:
        operation["description"] = f"Needs the scope `{route.scope}`."
    if route.accepts is not None:
        required = bool(_required(route.accepts))
        operation["requestBody"] = {"required": required, "content": _content(route.accepts)}
    return operation


def _operation_id(route: Route) -> str:
    """Unique: a function may answer several paths."""
    of_version = "versions" in route.path and "number" in route.path and "version" not in route.name
    return f"{route.name}_of_version" if of_version and route.open_inference else route.name


def _parameters(route: Route) -> Iterable[dict[str, Any]]:
    for parameter in route.in_path:
        yield _parameter(parameter, "path")
    for parameter in route.in_query:
        yield _parameter(parameter, "query")


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([parameter.kind], ref_template=_REFERENCE)
    if place == "query":
        schema = schema | {"default": parameter.default}
    if parameter.kind is int:
        schema = schema | {"minimum": 0}
    return {"name": parameter.name, "in": place, "required": place == "path", "schema": schema}


def _headers(route: Route) -> Iterable[dict[str, Any]]:
    if route.authenticates and route.method != "GET":
        schema = {"type": "string", "pattern": r"^[\x21-\x7e]{1,200}$"}
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema}
    if route.path.endswith(("/infer", "/inference")):
        number = {"type": "integer", "minimum": 1, "maximum": int(limits.DEADLINE_SECONDS_DEFAULT * 1000)}
        yield {"name": "X-Deadline-Ms", "in": "header", "required": False, "schema": number}
        preference = {"type": "string", "enum": ["respond-async"]}
        yield {"name": "Prefer", "in": "header", "required": False, "schema": preference}
    if route.path.endswith("/infer"):
        payload = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
        yield {"name": INPUTS_FROM, "in": "header", "required": False, "schema": payload}


def _responses(route: Route) -> dict[str, Any]:
    kind = OpenInferenceErrorAnswer if route.open_inference else ErrorAnswer
    good: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        good["content"] = _content(route.answer)
    codes = sorted({*_ALWAYS, *_more(route)})
    refused = {str(code): {"$ref": f"#/components/responses/{_refusal_name(kind, code)}"} for code in codes}
    return {str(int(route.status)): good} | _later(route) | refused


def _refusals() -> dict[str, Any]:
    """Each way to be refused, once."""
    return {
        _refusal_name(kind, code): {"description": HTTPStatus(code).phrase, "content": _content(kind)}
        for kind in (ErrorAnswer, OpenInferenceErrorAnswer)
        for code in sorted({*_ALWAYS, *_SOMETIMES})
    }


def _refusal_name(kind: type[msgspec.Struct], code: int) -> str:
    return f"{kind.__name__}{code}"


def _later(route: Route) -> dict[str, Any]:
    """What may be promised instead of an answer."""
    if not route.path.startswith("/v1/answers") and not route.path.endswith(("/infer", "/inference")):
        return {}
    return {"202": {"description": HTTPStatus(202).phrase, "content": _content(Promise)}}


def _more(route: Route) -> set[int]:
    """Codes of what only some routes do."""
    more: set[int] = set()
    if route.authenticates or route.path.startswith(_OWN_CHECK):
        more |= {401, 403}
    if route.accepts is not None or route.method != "GET":
        more |= {409, 422}
    if route.path.startswith(("/inference", "/v2", "/v1/answers")):
        more |= {409, 422, 504}
    return more


def _content(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return {_JSON: {"schema": schema}}


def _required(kind: Any) -> bool:
    """Whether an empty body is not one of these."""
    fields = getattr(kind, "__struct_fields__", ())
    return len(fields) > len(getattr(kind, "__struct_defaults__", ()))
