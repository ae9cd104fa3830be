"""What is too large for a request, and what takes long: the server's and the store's part in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from modelrocket import Client, Deployment
from modelrocket.errors import (
    ApiError,
    ConnectionFailed,
    ModelLoading,
    PayloadTooLarge,
    Timeout,
    UploadFailed,
)
from tests.unit.client.server import API_KEY, ENDPOINT, MODEL_ID, Server, Time, refusal
from tests.unit.client.test_predict import connected, deploy

ROWS = np.arange(400_000, dtype=np.float32).reshape(-1, 2)
"""1.6 MB."""
STORE = "https://store.test"
Predict = Callable[..., Any]


@dataclass
class StoringServer(Server):
    """With a store for payloads, and answers that are fetched later: after `loading` polls they are there."""

    body_bytes_max: int = 1_200_000
    rows_independent: bool = False
    payload_bytes_max: int = 2_000_000
    response_bytes_max: int = 1_200_000
    loading: int = 0
    result_url: str = STORE
    payloads: dict[str, bytes] = field(default_factory=dict)
    store_troubles: list[Callable[[], httpx.Response | None]] = field(default_factory=list)
    later: dict[str, httpx.Response] = field(default_factory=dict)
    asked_store: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.url.host == "store.test" and path.startswith("/payloads/"):
            return self._payload(request)
        if path == "/v1/limits":
            published = json.loads(super().answer(request).content)
            return httpx.Response(200, json=published | {"payload_bytes_max": self.payload_bytes_max})
        if path == "/v1/payloads":
            return self._begin_payload(request)
        if path.startswith("/v1/answers/"):
            return self._later(path.rpartition("/")[2])
        return super().answer(request)

    def _begin_payload(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] in {f"Bearer {one}" for one in (API_KEY, *self.tokens)}
        wanted = json.loads(request.content)
        assert set(wanted) == {"model", "bytes"}
        number = str(len(self.payloads))
        self.payloads[number] = b""
        upload = {
            "method": "PUT",
            "url": f"{STORE}/payloads/{number}?X-Amz-Signature=a%2Fb",
            "headers": {"Content-Length": str(wanted["bytes"])},
        }
        return httpx.Response(201, json={"id": number, "upload": upload, "expires_in": 900})

    def _payload(self, request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        assert "transfer-encoding" not in request.headers
        assert request.url.query == b"X-Amz-Signature=a%2Fb"
        self.asked_store.append(request.method)
        number = request.url.path.rpartition("/")[2]
        if self.store_troubles:
            trouble = self.store_troubles.pop(0)()
            if trouble is not None:
                return trouble
        if request.method == "PUT":
            assert isinstance(request.stream, httpx.SyncByteStream)
            content = b"".join(request.stream)
            assert request.headers["content-length"] == str(len(content))
            self.payloads[number] = content
        return httpx.Response(200, content=self.payloads[number] if request.method == "GET" else b"")

    def _infer(self, request: httpx.Request, number: str) -> httpx.Response:
        if self.loading and "respond-async" not in request.headers.get("prefer", ""):
            return refusal("model_loading", 503, "It is being loaded.", retry_after=300)
        payload = request.headers.get("x-rocket-inputs-from")
        if payload is not None:
            assert request.content == b""
            request = httpx.Request(
                "POST", request.url, headers=request.headers, content=self.payloads[payload]
            )
            limit, self.body_bytes_max = self.body_bytes_max, self.payload_bytes_max
            answer = super()._infer(request, number)
            self.body_bytes_max = limit
        else:
            answer = super()._infer(request, number)
        if len(answer.content) > self.response_bytes_max:
            answer = self._stored(answer)
        if "respond-async" in request.headers.get("prefer", ""):
            self.later["answer-1"] = answer
            return self._later("answer-1")
        return answer

    def _stored(self, answer: httpx.Response) -> httpx.Response:
        self.payloads["result"] = answer.content
        told = {
            "url": f"{self.result_url}/payloads/result?X-Amz-Signature=a%2Fb",
            "expires_in": 900,
            "bytes": len(answer.content),
            "content_type": "application/octet-stream",
            "json_bytes": int(answer.headers["inference-header-content-length"]),
        }
        headers = {"X-Rocket-Result-From": str(told["bytes"]), "X-Model-Version": "1"}
        return httpx.Response(200, json={"result_from": told}, headers=headers)

    def _later(self, answer_id: str) -> httpx.Response:
        if not self.loading:
            return self.later[answer_id]
        self.loading -= 1
        promised = {"answer": {"id": answer_id, "url": f"{ENDPOINT}/v1/answers/{answer_id}"}}
        return httpx.Response(202, json=promised, headers={"Retry-After": "1"})


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server() -> StoringServer:
    return StoringServer()


@pytest.fixture
def deployment(server: StoringServer, time: Time) -> Deployment:
    deployed = deploy(connected(server, time, api_key=API_KEY))
    time.waits.clear()
    return deployed


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Predict:
    if request.param == "sync":
        return lambda of, *told, **more: of.predict(*told, **more)
    return lambda of, *told, **more: asyncio.run(of.predict_async(*told, **more))


def test_rows_that_belong_together_go_and_come_by_way_of_the_store(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    np.testing.assert_array_equal(ask(deployment, ROWS), ROWS * 2)
    assert server.asked_store == ["PUT", "GET"]


def test_rows_that_may_be_parted_go_in_several_requests(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    server.rows_independent = True
    np.testing.assert_array_equal(ask(deployment, ROWS), ROWS * 2)
    assert server.asked_store == []


def test_more_than_the_store_takes_is_said_before_anything_is_sent(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    server.payload_bytes_max = 1_500_000
    with pytest.raises(PayloadTooLarge, match="fewer rows"):
        ask(deployment, ROWS)
    assert server.asked_store == []


def test_a_store_that_stumbles_is_asked_again(
    server: StoringServer, deployment: Deployment, time: Time, ask: Predict
) -> None:
    def lost() -> httpx.Response:
        raise httpx.ReadError("reset")

    server.store_troubles += [lost, lambda: httpx.Response(503)]
    np.testing.assert_array_equal(ask(deployment, ROWS), ROWS * 2)
    assert server.asked_store == ["PUT", "PUT", "PUT", "GET"]
    assert len(server.payloads) == 2, "the same payload each time"
    assert time.waits == [0.25, 0.5]


def test_what_the_store_refuses_is_not_sent_again(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    server.store_troubles += [lambda: httpx.Response(403)]
    with pytest.raises(UploadFailed, match="the store answered 403"):
        ask(deployment, ROWS)
    assert server.asked_store == ["PUT"]
    redirect = httpx.Response(307, headers={"Location": f"{ENDPOINT}/steal"})
    server.store_troubles += [lambda: None, lambda: redirect]
    with pytest.raises(ConnectionFailed, match="fetch the answer: the store answered 307"):
        ask(deployment, ROWS)


def test_an_answer_is_only_taken_whole_and_from_a_safe_place(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    cut = httpx.Response(200, content=b"x")
    server.store_troubles += [lambda: None, lambda: cut]
    with pytest.raises(ApiError, match="1 of 1600"):
        ask(deployment, ROWS)
    server.result_url = "ftp://store.test"
    with pytest.raises(ApiError, match="ftp"):
        ask(deployment, ROWS)


def test_a_model_that_takes_long_to_load_is_asked_to_answer_later(
    server: StoringServer, deployment: Deployment, time: Time, ask: Predict
) -> None:
    """Though it says to come back after more time than there is."""
    for rows in (ROWS[:10], ROWS):
        server.loading = 3
        np.testing.assert_array_equal(ask(deployment, rows), rows * 2)
    assert time.waits == [1.0] * 6
    assert server.asked_store == ["PUT", "GET"], "one payload for all tries"


def test_a_model_that_takes_too_long_says_where_the_answer_will_be(
    server: StoringServer, deployment: Deployment, ask: Predict
) -> None:
    server.loading = 1_000
    with pytest.raises(Timeout, match=r"still being loaded after 5 s.*/v1/answers/answer-1"):
        ask(deployment, ROWS[:10], timeout_seconds=5)


def test_a_door_that_answers_at_once_is_waited_for(time: Time, ask: Predict) -> None:
    """A host's own does not know of later: it says again that the model is loading, and when to come back."""

    class Plain(Server):
        times = 2

        def _infer(self, request: httpx.Request, number: str) -> httpx.Response:
            self.times -= 1
            if self.times >= 0:
                return refusal("model_loading", 503, "It is being loaded.", retry_after=2)
            return super()._infer(request, number)

    deployment = deploy(connected(Plain(), time, api_key=API_KEY))
    time.waits.clear()
    np.testing.assert_array_equal(ask(deployment, ROWS[:10]), ROWS[:10] * 2)
    assert time.waits == [2.0]


def test_a_model_that_never_loads_says_so(time: Time, ask: Predict) -> None:
    class Never(Server):
        def _infer(self, request: httpx.Request, number: str) -> httpx.Response:
            return refusal("model_loading", 503, "It is being loaded.", retry_after=300)

    with pytest.raises(ModelLoading):
        ask(deploy(connected(Never(), time, api_key=API_KEY)), ROWS[:10])


def test_a_long_transfer_is_shown_where_somebody_looks(
    server: StoringServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelrocket import storing

    shown: list[int] = []
    monkeypatch.setattr(storing, "_bar", lambda total, _: shown.append)
    slow = connected(server, time, api_key=API_KEY)
    deployed = deploy(slow)
    assert deployed.predict(ROWS) is not None
    assert shown == []
    monkeypatch.setattr(storing, "SHOWN_AFTER_SECONDS", 0.0)
    assert deployed.predict(ROWS) is not None
    assert shown == sorted(shown)
    assert shown[-1] > ROWS.nbytes
    assert isinstance(slow, Client)
    assert deployed.model_id == MODEL_ID
