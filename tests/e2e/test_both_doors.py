"""The gateway and a host's own door say the same to the same request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
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


# Open Inference Protocol v2.


def same_v2(
    doors: tuple[str, ...],
    deployment: Deployment,
    tail: str = "/infer",
    *,
    method: str = "POST",
    headers: Mapping[str, str] = MappingProxyType({}),
    model: str | None = None,
    **request: Any,
) -> httpx.Response:
    """What every door answers to `/v2/models/{model}{tail}`, after checking that they agree to the byte."""
    sent = {"Authorization": f"Bearer {deployment.token}", "X-Request-Id": "mine"} | dict(headers)
    path = f"/v2/models/{model or deployment.model_id}{tail}"
    replies = [httpx.request(method, f"{door}{path}", timeout=30, headers=sent, **request) for door in doors]
    first, *others = map(_comparable_v2, replies)
    assert all(other == first for other in others), (first, others)
    return replies[0]


def _comparable_v2(reply: httpx.Response) -> tuple[Any, ...]:
    said = ("content-type", "x-model-version", "x-request-id", "inference-header-content-length")
    if reply.headers["content-type"] == "application/json":
        return reply.status_code, reply.json(), *map(reply.headers.get, said)
    return reply.status_code, reply.content, *map(reply.headers.get, said)


def x(*rows: float, **changed: Any) -> dict[str, Any]:
    return {"name": "modelInput", "shape": [len(rows), 1], "datatype": "FP32", "data": list(rows)} | changed


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"inputs": [x(1, 2)]}, 200, id="good"),
        pytest.param({"inputs": [x(1)], "id": "r"}, 200, id="with an id"),
        pytest.param({"inputs": [x(1, name="y")]}, 422, id="unknown input"),
        pytest.param({"inputs": []}, 422, id="no input"),
        pytest.param({"inputs": [x(1, datatype="FP64")]}, 422, id="datatype"),
        pytest.param({"inputs": [x(1, shape=[1, 2])]}, 422, id="shape"),
        pytest.param({"inputs": [x(1)], "outputs": [{"name": "y"}]}, 400, id="unknown output"),
        pytest.param({"inputs": 1}, 400, id="inputs is a number"),
        pytest.param([], 400, id="a list"),
    ],
)
def test_a_v2_body(doors: tuple[str, ...], deployment: Deployment, body: Any, status: int) -> None:
    assert same_v2(doors, deployment, json=body).status_code == status


BINARY = {"inputs": [{"name": "modelInput", "shape": [2, 1], "datatype": "FP32"}]}


@pytest.mark.parametrize(
    ("size", "length", "status"),
    [
        pytest.param(8, None, 200, id="good"),
        pytest.param(7, None, 422, id="bytes that make no values"),
        pytest.param(80, None, 400, id="more than there is"),
        pytest.param(8, 10_000, 400, id="JSON longer than all"),
        pytest.param(8, 0, 400, id="no JSON"),
        pytest.param(8, "much", 400, id="no number"),
    ],
)
def test_binary_tensors(
    doors: tuple[str, ...], deployment: Deployment, size: int, length: object, status: int
) -> None:
    told = {**BINARY["inputs"][0], "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [told], "parameters": {"binary_data_output": True}}).encode()
    sent = {
        "Content-Type": "application/octet-stream",
        "Accept": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header) if length is None else length),
    }
    content = header + np.array([[0.1], [-np.inf]], "<f4").tobytes()[: max(size, 7)]
    reply = same_v2(doors, deployment, content=content, headers=sent)
    assert reply.status_code == status
    if status == 200:
        rows = np.frombuffer(reply.content[int(reply.headers["inference-header-content-length"]) :], "<f4")
        np.testing.assert_array_equal(rows, np.array([5, 0.1, np.nan, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("tail", "status"),
    [("", 200), ("/ready", 200), ("/versions/1", 200), ("/versions/1/ready", 200), ("/versions/9", 404)],
)
def test_what_a_model_takes_and_gives(
    doors: tuple[str, ...], deployment: Deployment, tail: str, status: int
) -> None:
    assert same_v2(doors, deployment, tail, method="GET").status_code == status


def test_a_version_in_the_path(doors: tuple[str, ...], deployment: Deployment) -> None:
    body = {"inputs": [x(1)]}
    assert same_v2(doors, deployment, "/versions/1/infer", json=body).status_code == 200
    assert same_v2(doors, deployment, "/versions/9/infer", json=body).status_code == 404


@pytest.mark.parametrize(
    ("headers", "model", "status"),
    [
        pytest.param({"Authorization": ""}, None, 401, id="no token"),
        pytest.param({"Authorization": "Bearer wrong"}, None, 401, id="no token at all"),
        pytest.param({"Authorization": f"Bearer {new_token()}"}, None, 401, id="unknown token"),
        pytest.param({}, MISSING, 404, id="missing model"),
        pytest.param({}, "no-id", 404, id="no model id"),
        pytest.param({"X-Deadline-Ms": "soon"}, None, 400, id="deadline"),
    ],
)
def test_who_may_ask_by_v2(
    doors: tuple[str, ...], deployment: Deployment, headers: dict[str, str], model: str | None, status: int
) -> None:
    body = {"inputs": [x(1)]}
    assert same_v2(doors, deployment, json=body, headers=headers, model=model).status_code == status


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
