"""The gateway and a host's own door say the same to the same request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chalicelib.contract.tokens import new_token
from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.stack import RunningStack

MISSING = "00000000-0000-4000-8000-000000000000"
GOOD = {"modelInput": [[1]]}


@pytest.fixture(scope="module")
def deployment(stack: RunningStack) -> Deployment:
    return Client(stack.base_url, stack.api_key).upload(marked(5), "both-doors", progress=False)


@pytest.fixture(scope="module")
def doors(stack: RunningStack) -> tuple[str, ...]:
    hosts = [child["address"] for name, child in stack.children.items() if name.startswith("host")]
    return (stack.base_url, *(f"http://{address.removeprefix('http://')}" for address in hosts))


def same(doors: tuple[str, ...], method: str = "POST", **request: Any) -> httpx.Response:
    """What every door answers, after checking that they agree on all but the ids of requests."""
    replies = [httpx.request(method, f"{door}/inference", timeout=30, **request) for door in doors]
    first, *others = map(_comparable, replies)
    assert all(other == first for other in others), (first, others)
    return replies[0]


def _comparable(reply: httpx.Response) -> tuple[int, Any, str | None, bool]:
    body = reply.json()
    if "error" in body:
        assert body["error"].pop("request_id") == reply.headers["x-request-id"]
    return reply.status_code, body, reply.headers.get("x-model-version"), "retry-after" in reply.headers


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({}, 200, id="good"),
        pytest.param({"inputs": {"x": [[1], [2]]}}, 422, id="unknown input"),
        pytest.param({"inputs": {}}, 422, id="no input"),
        pytest.param({"inputs": {"modelInput": [[1, 2]]}}, 422, id="width"),
        pytest.param({"inputs": {"modelInput": [[1], [2, 3]]}}, 422, id="ragged"),
        pytest.param({"inputs": {"modelInput": [[True]]}}, 422, id="bool"),
        pytest.param({"inputs": [1]}, 400, id="inputs is a list"),
        pytest.param({"model": MISSING}, 404, id="missing model"),
        pytest.param({"model": "no id"}, 404, id="no model id"),
        pytest.param({"model": 5}, 400, id="model is a number"),
        pytest.param({"token": None}, 401, id="no token"),
        pytest.param({"token": "wrong"}, 401, id="no token at all"),
        pytest.param({"token": new_token()}, 401, id="unknown token"),
        pytest.param({"token": 5}, 400, id="token is a number"),
    ],
)
def test_a_body(doors: tuple[str, ...], deployment: Deployment, changes: dict[str, Any], status: int) -> None:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": GOOD} | changes
    assert same(doors, json=body).status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[" * 100_000, 400), (b"[]", 400), (b"{}", 400)],
)
def test_no_body(doors: tuple[str, ...], content: bytes, status: int) -> None:
    assert same(doors, content=content).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"X-Deadline-Ms": "5000"}, 200), ({"X-Deadline-Ms": "soon"}, 400), ({"X-Request-Id": "mine"}, 200)],
)
def test_a_header(
    doors: tuple[str, ...], deployment: Deployment, headers: dict[str, str], status: int
) -> None:
    body = {"model": deployment.model_id, "inputs": GOOD}
    bearer = {"Authorization": f"Bearer {deployment.token}"}
    assert same(doors, json=body, headers=bearer | headers).status_code == status


def test_a_deadline_of_no_time_at_all(doors: tuple[str, ...], deployment: Deployment) -> None:
    body = json.dumps({"token": deployment.token, "model": deployment.model_id, "inputs": GOOD})
    for door in doors:
        reply = httpx.post(f"{door}/inference", content=body, headers={"X-Deadline-Ms": "0"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_an_api_key_may_ask_for_all_models_of_its_account(
    doors: tuple[str, ...], deployment: Deployment, stack: RunningStack
) -> None:
    body = {"token": stack.api_key, "model": deployment.model_id, "inputs": GOOD}
    assert same(doors, json=body).status_code == 200


def test_a_token_for_another_model(
    doors: tuple[str, ...], deployment: Deployment, stack: RunningStack
) -> None:
    other = Client(stack.base_url, stack.api_key).upload(marked(6), "both-doors-other", progress=False)
    body = {"token": other.token, "model": deployment.model_id, "inputs": GOOD}
    assert same(doors, json=body).status_code == 403
