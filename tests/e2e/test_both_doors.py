"""The gateway and hosts' own doors say the same to the same request: where the model is, and where it is not.

Some accounts, keys and models here are only told to the hot state, which is all that doors look at.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import (
    CandidateRecord,
    ModelRecord,
    ReplicaState,
    Scope,
    TokenKind,
    TokenRecord,
    VersionRecord,
)
from chalicelib.contract.tokens import new_token, token_sha256
from infra.local.credentials import load_or_create
from infra.local.embedded import EmbeddedServers
from infra.local.servers import Layout
from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.hosts import HostProcess, running_host
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for

MISSING = "00000000-0000-4000-8000-000000000000"
GOOD = {"modelInput": [[1]]}


@pytest.fixture(scope="module")
def deployment(stack: RunningStack) -> Deployment:
    return Client(stack.base_url, stack.api_key).upload(marked(5), "both-doors", progress=False)


@pytest.fixture(scope="module")
def hot(stack: RunningStack) -> HotState:
    return HotState.connect(stack.redis_url, timeout_seconds=5)


@pytest.fixture(scope="module")
def lacking(
    stack: RunningStack, deployment: Deployment, hot: HotState, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostProcess]:
    """A third host. When it comes both others have the model, and copies stay where they are."""
    names = {name for name in stack.children if name.startswith("host")}

    def ready_on() -> set[str]:
        replicas = hot.replicas(deployment.model_id)
        return {replica.host_id for _, replica in replicas if replica.state is ReplicaState.READY}

    wait_for(lambda: ready_on() == names, what="both hosts to have the model")
    environ = {
        "MODELROCKET_DISPATCH_KEY": load_or_create(stack.home).dispatch_key,
        "MODELROCKET_SANDBOX": "preferred",
        "MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": "20000",
    }
    layout = Layout(home=stack.home, ports={}, credentials=load_or_create(stack.home), external=None)  # type: ignore[arg-type]  # nothing is started from it
    servers = EmbeddedServers(layout=layout, connections=stack.connections, children={})
    with running_host(servers, tmp_path_factory.mktemp("lacking"), environ=environ) as host:
        yield host


@pytest.fixture(scope="module")
def doors(stack: RunningStack, lacking: HostProcess) -> tuple[str, ...]:
    hosts = [child["address"] for name, child in stack.children.items() if name.startswith("host")]
    having = [f"http://{address.removeprefix('http://')}" for address in hosts]
    return (stack.base_url, *having, f"http://127.0.0.1:{lacking.port}")


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


@pytest.mark.parametrize(
    ("path", "told"),
    [("", {"name": "modelrocket"}), ("/health/live", {"live": True}), ("/health/ready", {"ready": True})],
)
def test_what_a_server_says_of_itself(doors: tuple[str, ...], path: str, told: dict[str, Any]) -> None:
    replies = [httpx.get(f"{door}/v2{path}", timeout=30) for door in doors]
    assert {reply.status_code for reply in replies} == {200}
    assert all(reply.json() == replies[0].json() for reply in replies)
    assert told.items() <= replies[0].json().items()


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


def test_the_third_host_answers_what_it_does_not_have(
    doors: tuple[str, ...], deployment: Deployment, hot: HotState, lacking: HostProcess
) -> None:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": GOOD}
    told = [httpx.post(f"{door}/inference", json=body).headers["server-timing"] for door in doors]
    assert ["forward;dur=" in one for one in told] == [False, False, False, True]
    assert ["route;dur=" in one for one in told] == [True, False, False, False]
    model = hot.model(deployment.model_id)
    assert model is not None and model.active is not None
    assert model.active.version_id not in {event["version"] for event in lacking.events("loaded")}


# Requests at all doors.


class Account:
    """Keys and models of an account that only the doors know."""

    def __init__(self, hot: HotState, like: VersionRecord) -> None:
        self.hot, self.like, self.tenant = hot, like, str(uuid.uuid4())

    def key(self, **changes: Any) -> str:
        plain = new_token()
        record = TokenRecord(self.tenant, TokenKind.API_KEY, 1, plain, (Scope.INFER,))
        self.hot.put_token(token_sha256(plain), msgspec.structs.replace(record, **changes))
        return plain

    def model(self, *, candidate_percent: int = 0) -> str:
        model_id = str(uuid.uuid4())
        active, other = (self._version(model_id, number) for number in (1, 2))
        candidate = CandidateRecord(other, candidate_percent, 0, 1, 0.1) if candidate_percent else None
        self.hot.put_model(ModelRecord(model_id, self.tenant, 1, active=active, candidate=candidate))
        return model_id

    def _version(self, model_id: str, number: int) -> VersionRecord:
        changes = {"version_id": str(uuid.uuid4()), "model_id": model_id, "number": number}
        return msgspec.structs.replace(self.like, tenant=self.tenant, **changes)


@pytest.fixture(scope="module")
def account(hot: HotState, deployment: Deployment) -> Account:
    model = hot.model(deployment.model_id)
    assert model is not None and model.active is not None
    return Account(hot, model.active)


@pytest.fixture(scope="module")
def model_id(account: Account) -> str:
    return account.model()


def shown(reply: httpx.Response) -> tuple[Any, ...]:
    """All of an answer but ids and times."""
    said = ("content-type", "x-model-version", "retry-after", "inference-header-content-length")
    body = json.dumps(reply.json()) if reply.headers["content-type"] == "application/json" else reply.text
    text = re.sub(r"in \d+\.\d+ s", "in … s", body)
    given = reply.headers.get("x-request-id") or "…"
    return reply.status_code, text.replace(given, "…"), *map(reply.headers.get, said)


def agreed(replies: list[httpx.Response]) -> httpx.Response:
    first, *others = map(shown, replies)
    for other in others:
        assert other == first
    return replies[0]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({}, 200, id="good"),
        pytest.param({"expires_at": 1.0}, 401, id="expired"),
        pytest.param({"revoked": True}, 401, id="revoked or suspended"),
        pytest.param({"scopes": (Scope.MODELS_READ, Scope.MODELS_WRITE)}, 403, id="no scope for it"),
        pytest.param({"model_id": MISSING}, 403, id="for another model"),
        pytest.param({"tenant": "somebody-else"}, 404, id="another account's"),
    ],
)
def test_a_key(
    doors: tuple[str, ...], account: Account, model_id: str, changes: dict[str, Any], status: int
) -> None:
    key = account.key(**changes)
    body = {"token": key, "model": model_id, "inputs": GOOD}
    assert (
        agreed([httpx.post(f"{door}/inference", json=body, timeout=30) for door in doors]).status_code
        == status
    )
    sent, v2 = {"Authorization": f"Bearer {key}"}, {"inputs": [x(1)]}
    path = f"/v2/models/{model_id}/infer"
    replies = [httpx.post(f"{door}{path}", json=v2, headers=sent, timeout=30) for door in doors]
    assert agreed(replies).status_code == status


def test_who_asks_too_often(doors: tuple[str, ...], account: Account, model_id: str) -> None:
    replies = []
    for door in doors:
        body = {"token": account.key(requests_per_second=0.01), "model": model_id, "inputs": GOOD}
        first, *more = (httpx.post(f"{door}/inference", json=body, timeout=30) for _ in range(3))
        assert first.status_code == 200
        replies += more
    reply = agreed(replies)
    assert (reply.status_code, reply.json()["error"]["limit"], reply.headers["retry-after"]) == (
        429,
        "key",
        "100",
    )


def test_who_asks_for_too_much_at_once(
    doors: tuple[str, ...], hot: HotState, stack: RunningStack, deployment: Deployment
) -> None:
    model = hot.model(deployment.model_id)
    assert model is not None and model.active is not None
    busy = Account(hot, model.active)
    model_id, now = busy.model(), time.time()
    under_way = {f"lease-{one}": now for one in range(10_000)}
    redis.Redis.from_url(stack.redis_url).zadd(f"mr:running:{busy.tenant}", under_way)
    body = {"token": busy.key(), "model": model_id, "inputs": GOOD}
    reply = agreed([httpx.post(f"{door}/inference", json=body) for door in doors])
    assert (reply.status_code, reply.json()["error"]["limit"]) == (429, "concurrency")


def test_a_model_that_is_nowhere_in_memory(doors: tuple[str, ...], account: Account) -> None:
    answers = []
    for door in doors:
        model_id = account.model()
        body = {"token": account.key(), "model": model_id, "inputs": GOOD}
        reply = httpx.post(f"{door}/inference", json=body, timeout=30)
        load = re.search(r"load;dur=([\d.]+)", reply.headers["server-timing"])
        assert load is not None and float(load[1]) > 0
        answers.append(
            (reply.status_code, reply.text.replace(model_id, "…"), reply.headers["x-model-version"])
        )
    assert len(set(answers)) == 1
    assert answers[0][0] == 200


def test_a_sticky_key_is_answered_by_one_version_at_all_doors(
    doors: tuple[str, ...], account: Account
) -> None:
    body = {"token": account.key(), "model": account.model(candidate_percent=50), "inputs": GOOD}
    versions = []
    for one in range(12):
        sent = {"X-Sticky-Key": f"user-{one}"}
        replies = [httpx.post(f"{door}/inference", json=body, headers=sent, timeout=30) for door in doors]
        versions.append(agreed(replies).headers["x-model-version"])
    assert set(versions) == {"1", "2"}


def test_a_version_in_quarantine(doors: tuple[str, ...], account: Account, hot: HotState) -> None:
    model_id = account.model()
    model = hot.model(model_id)
    assert model is not None and model.active is not None
    hot.quarantine(model_id, model.active.version_id, seconds=60)
    body = {"token": account.key(), "model": model_id, "inputs": GOOD}
    assert agreed([httpx.post(f"{door}/inference", json=body) for door in doors]).status_code == 422


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param({"method": "GET"}, 405, id="GET"),
        pytest.param({"method": "PUT"}, 405, id="PUT"),
        pytest.param({"method": "DELETE"}, 405, id="DELETE"),
        pytest.param({"content": b"x" * (limits.BODY_BYTES_MAX + 1)}, 413, id="too large"),
        pytest.param({"headers": {"Content-Encoding": "br"}}, 415, id="an encoding that nobody reads"),
        pytest.param({"headers": {"Content-Type": "text/plain"}}, 200, id="another content type"),
        pytest.param({"headers": {"X-Sticky-Key": "x" * 129}}, 400, id="a sticky key that is too long"),
        pytest.param({"headers": {"X-Request-Id": "no good!"}}, 200, id="a request id that is no good"),
        pytest.param({"headers": {"X-Deadline-Ms": "-1"}}, 400, id="a deadline before now"),
        pytest.param({"gzip": True}, 200, id="gzip"),
    ],
)
def test_a_request(
    doors: tuple[str, ...], account: Account, model_id: str, request_: dict[str, Any], status: int
) -> None:
    good = json.dumps({"token": account.key(), "model": model_id, "inputs": GOOD}).encode()
    sent: dict[str, Any] = {"method": "POST", "content": good, "headers": {}} | request_
    if sent.pop("gzip", False):
        sent |= {"content": gzip.compress(good), "headers": {"Content-Encoding": "gzip"}}
    replies = [httpx.request(url=f"{door}/inference", timeout=30, **sent) for door in doors]
    assert agreed(replies).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/{}/infer", 405),
        ("POST", "/v2/models/{}", 405),
        ("POST", "/v2/models/{}/ready", 405),
        ("GET", "/v2/models/{}/versions/1/ready", 200),
        ("GET", "/v2/models/{}/versions/x", 404),
    ],
)
def test_a_path(
    doors: tuple[str, ...], account: Account, model_id: str, method: str, path: str, status: int
) -> None:
    sent = {"Authorization": f"Bearer {account.key()}"}
    replies = [httpx.request(method, door + path.format(model_id), headers=sent) for door in doors]
    assert agreed(replies).status_code == status


def test_what_only_the_gateway_does_is_said_so(
    doors: tuple[str, ...], account: Account, model_id: str
) -> None:
    _, *hosts = doors
    key = account.key()
    for door in hosts:
        named = {"token": key, "model": model_id, "inputs_from": "x"}
        reply = httpx.post(f"{door}/inference", json=named)
        assert (reply.status_code, "gateway" in reply.json()["error"]["message"]) == (400, True)
        later = {"token": key, "model": model_id, "inputs": GOOD}
        reply = httpx.post(f"{door}/inference", json=later, headers={"Prefer": "respond-async"})
        assert reply.status_code == 200, "a preference that is not met is no error"
        assert "preference-applied" not in reply.headers
