"""What callers get for bad input: the right code, the field, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chalicelib.contract.tokens import new_token
from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.stack import RunningStack

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def deployment(stack: RunningStack) -> Deployment:
    return Client(stack.base_url, stack.api_key).upload(marked(5), "bad-input", progress=False)


@pytest.fixture
def http(stack: RunningStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.base_url, timeout=30) as connected:
        yield connected


def ask(http: httpx.Client, deployment: Deployment, **changed: Any) -> httpx.Response:
    body = {
        "token": deployment.token,
        "model": deployment.model_id,
        "inputs": {"modelInput": [[1]]},
        **changed,
    }
    return http.post("/inference", json=body)


def error_of(reply: httpx.Response) -> dict[str, Any]:
    """The error object, after checking what every error has."""
    error: dict[str, Any] = reply.json()["error"]
    assert {"code", "message", "retryable", "request_id"} <= set(error)
    assert reply.headers["x-request-id"] == error["request_id"]
    assert "Traceback" not in reply.text
    return error


def test_a_good_answer_says_which_version_and_where_the_time_went(
    http: httpx.Client, deployment: Deployment
) -> None:
    reply = ask(http, deployment)
    assert reply.status_code == 200
    assert reply.json() == {
        "result": {"modelOutput": [[5.0, 1.0]]},
        "model": deployment.model_id,
        "version": 1,
    }
    assert reply.headers["x-model-version"] == "1"
    assert {part.split(";")[0].strip() for part in reply.headers["server-timing"].split(",")} >= {
        "auth",
        "route",
        "run",
    }
    assert reply.headers["x-request-id"]


def test_the_callers_request_id_is_kept(http: httpx.Client, deployment: Deployment) -> None:
    reply = http.post("/inference", content=b"{}", headers={"X-Request-Id": "mine-1"})
    assert error_of(reply)["request_id"] == "mine-1"
    reply = http.post("/inference", content=b"{}", headers={"X-Request-Id": "x" * 500})
    assert len(error_of(reply)["request_id"]) <= 64


@pytest.mark.parametrize(
    ("inputs", "code", "says"),
    [
        pytest.param({}, "invalid_tensor", "modelInput", id="missing input"),
        pytest.param({"other": [[1]]}, "invalid_tensor", "modelInput", id="unknown input"),
        pytest.param({"modelInput": [[1]], "more": [[1]]}, "invalid_tensor", "more", id="one input too many"),
        pytest.param({"modelInput": [[1, 2]]}, "invalid_tensor", "modelInput", id="wrong width"),
        pytest.param({"modelInput": [1]}, "invalid_tensor", "modelInput", id="wrong rank"),
        pytest.param({"modelInput": [[1], [2, 3]]}, "invalid_tensor", "modelInput", id="ragged"),
        pytest.param({"modelInput": [["one"]]}, "invalid_tensor", "modelInput", id="text for a number"),
        pytest.param({"modelInput": [[True]]}, "invalid_tensor", "modelInput", id="bool for a number"),
        pytest.param({"modelInput": {"a": 1}}, "invalid_tensor", "modelInput", id="object for an array"),
        pytest.param({"modelInput": None}, "invalid_tensor", "modelInput", id="null"),
        pytest.param([1], "invalid_request", "inputs", id="inputs is a list"),
        pytest.param("x", "invalid_request", "inputs", id="inputs is text"),
    ],
)
def test_a_wrong_tensor_is_named_with_what_was_expected(
    http: httpx.Client, deployment: Deployment, inputs: Any, code: str, says: str
) -> None:
    reply = ask(http, deployment, inputs=inputs)
    error = error_of(reply)
    assert (reply.status_code, error["code"]) == ({"invalid_tensor": 422, "invalid_request": 400}[code], code)
    assert says in error["message"]
    assert not error["retryable"]
    if code == "invalid_tensor":
        assert {"input", "expected", "got"} <= set(error)


@pytest.mark.parametrize(
    "token",
    [None, "", "wrong", "mr_" + "a" * 36, pytest.param(new_token(), id="unknown")],
)
def test_a_wrong_token_is_401(http: httpx.Client, deployment: Deployment, token: str | None) -> None:
    reply = ask(http, deployment, token=token)
    assert (reply.status_code, error_of(reply)["code"]) == (401, "unauthenticated")


def test_another_tenants_model_is_404_like_a_missing_one(
    http: httpx.Client, deployment: Deployment, stack: RunningStack
) -> None:
    stranger = stranger_key(stack)
    foreign = ask(http, deployment, token=stranger)
    missing = ask(http, deployment, token=stranger, model=MISSING)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    drop = {"request_id"}
    assert {k: v for k, v in error_of(foreign).items() if k not in drop} == {
        k: v for k, v in error_of(missing).items() if k not in drop
    }


def stranger_key(stack: RunningStack) -> str:
    """An API key of another account."""
    from chalicelib.wiring import build

    environ = {
        **stack.connections.control_plane("gateway"),
        "MODELROCKET_DISPATCH_KEY": "00",
        "MODELROCKET_PUBLIC_URL": stack.base_url,
        "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        plane = build(environ)
    key = new_token()
    plane.keys.ensure_api_key("stranger", key)
    return key


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 401),
        ("POST", "/v1/models", 401),
        ("GET", f"/v1/models/{MISSING}", 401),
        ("POST", f"/v1/models/{MISSING}/tokens", 401),
        ("GET", f"/v1/models/{MISSING}/versions/1", 401),
        ("POST", f"/v1/models/{MISSING}/versions/1/complete", 401),
        ("GET", "/inference", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/nothing/here", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
    ],
)
def test_routes_refuse_in_one_form(http: httpx.Client, method: str, path: str, status: int) -> None:
    reply = http.request(method, path)
    assert reply.status_code == status, reply.text
    error_of(reply)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/v1/models/{MISSING}", 404),
        ("POST", f"/v1/models/{MISSING}/tokens", 404),
        ("GET", f"/v1/models/{MISSING}/versions", 404),
        ("GET", f"/v1/models/{MISSING}/versions/1", 404),
        ("GET", f"/v1/models/{MISSING}/versions/x", 400),
        ("GET", f"/v1/models/{MISSING}/versions/-1", 400),
        ("POST", f"/v1/models/{MISSING}/versions/1/complete", 404),
        ("POST", "/v1/models", 400),
    ],
)
def test_with_a_key_the_right_code(
    http: httpx.Client, stack: RunningStack, method: str, path: str, status: int
) -> None:
    reply = http.request(method, path, headers={"Authorization": f"Bearer {stack.api_key}"})
    assert reply.status_code == status, reply.text
    error_of(reply)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"\xff\xfe\x00", 400),
        (b'{"model": ', 400),
        (b"[" * 200_000, 400),
        (b'{"token": "t", "model": "m", "inputs": ' + b"[" * 2000 + b"]" * 2000 + b"}", 400),
        (b" " * 4_500_000, 413),
    ],
)
def test_a_body_that_is_no_request_is_400_or_413(http: httpx.Client, body: bytes, status: int) -> None:
    reply = http.post("/inference", content=body)
    assert reply.status_code == status, reply.text[:300]
    error_of(reply)


def test_json_nested_too_deep_inside_the_inputs_is_refused(
    http: httpx.Client, deployment: Deployment
) -> None:
    inputs = '{"modelInput": ' + "[" * 900 + "]" * 900 + "}"
    body = f'{{"token": "{deployment.token}", "model": "{deployment.model_id}", "inputs": {inputs}}}'
    reply = http.post("/inference", content=body)
    assert reply.status_code in (400, 422), reply.text[:300]
    error_of(reply)


def test_a_deadline_of_no_time_at_all_is_504(http: httpx.Client, deployment: Deployment) -> None:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    reply = http.post("/inference", json=body, headers={"X-Deadline-Ms": "0"})
    assert (reply.status_code, error_of(reply)["code"]) == (504, "deadline_exceeded")
    reply = http.post("/inference", json=body, headers={"X-Deadline-Ms": "soon"})
    assert reply.status_code == 400


def test_the_token_may_come_as_a_bearer(http: httpx.Client, deployment: Deployment) -> None:
    body = {"model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    reply = http.post("/inference", json=body, headers={"Authorization": f"Bearer {deployment.token}"})
    assert reply.status_code == 200, reply.text


def test_a_hosts_door_is_closed_to_who_has_no_ticket(stack: RunningStack, deployment: Deployment) -> None:
    address = stack.children["host-1"]["address"].removeprefix("http://")
    for headers in ({}, {"X-Rocket-Ticket": "a|b|c|d|1|e"}, {"Authorization": f"Bearer {deployment.token}"}):
        reply = httpx.post(f"http://{address}/infer", json={"modelInput": [[1]]}, headers=headers)
        assert reply.status_code == 401, reply.text
