"""Every route there is, with everything that can be wrong with a request to it.

The routes are the application's own list: one that is added is asked the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

import app
from chalicelib import openapi
from chalicelib.api import Route
from chalicelib.contract.limits import BODY_BYTES_MAX
from chalicelib.contract.messages import Scope
from chalicelib.contract.tokens import new_token
from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.stack import RunningStack
from tests.support.tenants import Tenants

ROUTES: Final = tuple(app.boundary.routes)
GUARDED: Final = tuple(one for one in ROUTES if one.authenticates)
DESCRIBED: Final = openapi.described(ROUTES)
MISSING: Final = "00000000-0000-4000-8000-000000000000"
TRICKS: Final = (
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%ff",
    "a%0d%0aX-Evil:%201",
    "%27%20or%201=1",
    "$where",
    "%7b%22$gt%22:%22%22%7d",
    "x" * 5_000,
    "%E2%80%AE",
)
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


@dataclass(frozen=True, slots=True)
class World:
    """Alice has a model with a version and a token. Mallory is somebody else."""

    stack: RunningStack
    http: httpx.Client
    alice: dict[str, str]
    """What stands in the paths of her routes, by name."""
    mallory_key: str
    tenants: Tenants
    secrets: list[str]
    """Plain texts that were sent to the platform."""

    def send(
        self, route: Route, ids: dict[str, str], *, key: str | None = None, **request: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if key:
            self.secrets.append(key)
        path = route.path
        for parameter in route.in_path:
            path = path.replace(f"{{{parameter.name}}}", ids.get(parameter.name, ""))
        if "content" not in request and "json" not in request and route.body_argument is not None:
            request["json"] = example(openapi._content(route.accepts)["application/json"]["schema"])
        return self.http.request(route.method, path, headers=headers | request.pop("headers", {}), **request)


@pytest.fixture(scope="module")
def world(stack: RunningStack) -> Iterator[World]:
    deployment: Deployment = Client(stack.base_url, stack.api_key).upload(
        marked(5), "every-route", progress=False
    )
    tenants = Tenants(stack)
    alice = {name: MISSING for one in ROUTES for name in (parameter.name for parameter in one.in_path)}
    alice |= {"model_id": deployment.model_id, "number": "1"}
    with httpx.Client(base_url=stack.base_url, timeout=30) as http:
        keys = http.get("/v1/keys", headers={"Authorization": f"Bearer {stack.api_key}"}).json()["keys"]
        alice["key_id"] = keys[0]["id"]
        yield World(
            stack=stack,
            http=http,
            alice=alice,
            mallory_key=tenants.key(tenants.another()),
            tenants=tenants,
            secrets=[stack.api_key, deployment.token or ""],
        )


def missing(route: Route) -> dict[str, str]:
    """Ids of nothing; numbers of versions stay numbers."""
    return {parameter.name: "1" if parameter.kind is int else MISSING for parameter in route.in_path}


def example(schema: dict[str, Any]) -> Any:
    """The least that fits: required fields only."""
    if "$ref" in schema:
        return example(DESCRIBED["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: example(schema["properties"][name]) for name in schema.get("required", ())}
    least = schema.get("minimum", 1)
    return {"array": [], "integer": least, "number": least, "boolean": False, "string": "x"}[schema["type"]]


def error_of(reply: httpx.Response) -> dict[str, Any]:
    """The error object without its request id, after checking what every error has."""
    told = reply.json()
    error: dict[str, Any] = told["error"] if isinstance(told["error"], dict) else told
    assert {"code", "retryable", "request_id"} <= set(error), error
    assert reply.headers["x-request-id"] == error["request_id"]
    assert "Traceback" not in reply.text
    return {name: value for name, value in error.items() if name != "request_id"}


@pytest.mark.parametrize("route", GUARDED, ids=named)
def test_without_a_good_credential_nobody_is_heard(world: World, route: Route) -> None:
    other = world.tenants.own
    credentials = {
        "unknown": new_token(),
        "revoked": world.tenants.key(other, revoked=True),
        "expired": world.tenants.key(other, expired=True),
        "for one model": world.tenants.key(other, scopes=(Scope.INFER,), model_id=world.alice["model_id"]),
    }
    told = {name: world.send(route, world.alice, key=key) for name, key in credentials.items()}
    assert {name: reply.status_code for name, reply in told.items()} == dict.fromkeys(credentials, 401)
    assert len({json.dumps(error_of(reply)) for reply in told.values()}) == 1  # never says why
    malformed = [
        "Bearer",
        "Basic YTpi",
        "Bearer x",
        f"Bearer {new_token()[:-1]}",
        "mr_x",
        "Bearer ä",
    ]
    for header in malformed:
        sent = {"Authorization": header.encode()}
        reply = world.send(route, world.alice, headers=sent)
        assert (reply.status_code, error_of(reply)["code"]) == (401, "unauthenticated"), header
    assert world.send(route, world.alice).status_code == 401


@pytest.mark.parametrize("route", [one for one in GUARDED if one.scope is not None], ids=named)
def test_a_key_without_the_scope_is_refused(world: World, route: Route) -> None:
    key = world.tenants.key(world.tenants.own, scopes=tuple(set(Scope) - {route.scope}))
    reply = world.send(route, world.alice, key=key)
    assert (reply.status_code, error_of(reply)["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("route", [one for one in GUARDED if one.in_path], ids=named)
def test_another_tenants_id_is_answered_like_a_missing_one(world: World, route: Route) -> None:
    foreign = world.send(route, world.alice, key=world.mallory_key)
    nothing = world.send(route, missing(route), key=world.mallory_key)
    assert foreign.status_code == nothing.status_code
    assert foreign.status_code in (403, 404)  # 403: routes for operators
    assert error_of(foreign) == error_of(nothing)


@pytest.mark.parametrize("route", [one for one in ROUTES if one.in_path], ids=named)
def test_tricks_in_a_path_lead_nowhere(world: World, route: Route) -> None:
    for parameter in route.in_path:
        for trick in TRICKS:
            reply = world.send(route, missing(route) | {parameter.name: trick}, key=world.mallory_key)
            assert 400 <= reply.status_code < 500, (trick, reply.text)
            assert reply.headers.get("x-evil") is None
            error_of(reply)


@pytest.mark.parametrize("path", sorted({one.path for one in ROUTES}))
def test_a_wrong_method_is_405(world: World, path: str) -> None:
    [*serving] = [one for one in ROUTES if one.path == path]
    for method in METHODS - {one.method for one in serving}:
        where = path.replace("{", "").replace("}", "")
        reply = world.http.request(method, where, headers={"Authorization": f"Bearer {world.mallory_key}"})
        assert reply.status_code == 405, method
        error_of(reply)


@pytest.mark.parametrize("route", [one for one in ROUTES if one.body_argument], ids=named)
def test_a_body_that_does_not_fit_is_400(world: World, route: Route) -> None:
    good = example(openapi._content(route.accepts)["application/json"]["schema"])
    bad: list[bytes] = [b"[]", b'"x"', b"5", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000]
    bad += [json.dumps(good | {"tenant": "x", "role": "operator", "state": "ready"}).encode()]
    bad += [json.dumps(good | {name: {"$gt": ""}}).encode() for name in good]
    for body in bad:
        reply = world.send(route, world.alice, key=world.stack.api_key, content=body)
        assert reply.status_code == 400, (body[:40], reply.text)
        error_of(reply)


@pytest.mark.parametrize("route", [one for one in ROUTES if one.method != "GET"], ids=named)
def test_a_body_that_is_too_large_is_413(world: World, route: Route) -> None:
    body = b" " * (BODY_BYTES_MAX + 1)
    reply = world.send(route, missing(route), key=world.mallory_key, content=body)
    assert (reply.status_code, error_of(reply)["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("route", [one for one in GUARDED if one.in_query], ids=named)
def test_a_query_that_makes_no_sense_fails_nothing_of_ours(world: World, route: Route) -> None:
    for parameter in route.in_query:
        for value in ("", "\x00", "-1", "1e99", "9" * 400, "[]", "$gt", "ä", "2026-13-45"):
            reply = world.send(route, world.alice, key=world.stack.api_key, params={parameter.name: value})
            assert reply.status_code < 500, (parameter.name, value, reply.text)


def test_no_credential_is_in_any_log(world: World) -> None:
    """The last of this file: everything above has been sent by now."""
    logs = {name: world.stack.log(name) for name in world.stack.children}
    assert "POST" in logs["gateway"]
    found = {(name, secret) for name, text in logs.items() for secret in world.secrets if secret in text}
    assert found == set()
