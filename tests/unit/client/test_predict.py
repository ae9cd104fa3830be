"""Predictions, with asyncio and without, against the server's side of the contract in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from modelrocket.client import Client, Deployment
from modelrocket.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    InvalidTensor,
    ModelLoading,
    NotFound,
    PayloadTooLarge,
    Timeout,
)
from modelrocket.tensors import TensorSpec
from tests.unit.client.server import API_KEY, ENDPOINT, MODEL_ID, Server, Time, refusal

ROWS = np.array([[1, -2], [3, 4]], dtype=np.float32)
INFER = f"POST /v2/models/{MODEL_ID}/infer"
DESCRIBE = f"GET /v2/models/{MODEL_ID}"

Predict = Callable[..., Any]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(server: Server, time: Time) -> Client:
    return connected(server, time, api_key=API_KEY)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("MODELROCKET_API_KEY", raising=False)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Predict:
    """`ask(client or deployment, …)` predicts in either way."""

    def by_asyncio(of: Client | Deployment, *told: Any, **more: Any) -> Any:
        return asyncio.run(of.predict_async(*told, **more))

    return by_asyncio if request.param == "async" else lambda of, *told, **more: of.predict(*told, **more)


def connected(server: Server, time: Time, *, api_key: str | None) -> Client:
    transport = server.transport
    return Client(ENDPOINT, api_key, transport=transport, async_transport=transport, clock=time.clock)


def doubling(dtype: int = TensorProto.FLOAT, rows: int | None = None) -> ModelProto:
    shown = [helper.make_tensor_value_info(name, dtype, [rows, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", shown[:1], shown[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def passing_on(dtype: int) -> ModelProto:
    shown = [helper.make_tensor_value_info(name, dtype, [None, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", shown[:1], shown[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def deploy(client: Client, model: ModelProto | None = None, name: str = "doubling") -> Deployment:
    return client.upload(model or doubling(), name, progress=False)


def lines(server: Server) -> list[str]:
    """What was asked since the upload."""
    return [line for line in server.requests if "/v2/" in line]


def test_the_signature_is_asked_for_once(server: Server, client: Client, ask: Predict) -> None:
    deployment = deploy(client)
    for _ in range(2):
        np.testing.assert_array_equal(ask(deployment, ROWS.astype(np.float64)), ROWS * 2)
    assert lines(server) == [DESCRIBE, INFER, INFER]


def test_a_deployment_knows_what_its_version_takes_and_gives(client: Client) -> None:
    deployment = deploy(client)
    spec = TensorSpec("x", "float32", (None, 2))
    assert (deployment.inputs, deployment.outputs) == ((spec,), (TensorSpec("y", "float32", (None, 2)),))


@pytest.mark.parametrize("model", [MODEL_ID, "doubling"])
def test_with_an_api_key_a_model_goes_by_id_or_name(
    server: Server, client: Client, ask: Predict, model: str
) -> None:
    deploy(client)
    for _ in range(2):
        np.testing.assert_array_equal(ask(client, model, ROWS), ROWS * 2)
    assert server.requests.count("GET /v1/models") == (model == "doubling")


def test_a_name_that_went_to_another_model_is_looked_up_again(
    server: Server, client: Client, ask: Predict
) -> None:
    deploy(client)
    client._ids["doubling"] = "5b1c5f5e-0000-4000-8000-00000000dead"
    np.testing.assert_array_equal(ask(client, "doubling", ROWS), ROWS * 2)
    assert client._ids["doubling"] == MODEL_ID


def test_a_token_alone_asks_by_id(server: Server, client: Client, time: Time, ask: Predict) -> None:
    token = deploy(client).token
    stranger = connected(server, time, api_key=None)
    np.testing.assert_array_equal(ask(stranger, MODEL_ID, ROWS, token=token), ROWS * 2)
    for of, told in ((stranger, {"token": token}), (stranger, {})):
        with pytest.raises(ConfigurationError, match="API_KEY"):
            ask(of, "doubling", ROWS, **told)
    with pytest.raises(NotFound):
        ask(stranger, "5b1c5f5e-0000-4000-8000-00000000dead", ROWS, token=token)


def test_infinities_and_nan_go_there_and_back(client: Client, ask: Predict) -> None:
    rows = np.array([[np.inf, -np.inf], [np.nan, 0]], np.float32)
    np.testing.assert_array_equal(ask(deploy(client), rows), rows)


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        (TensorProto.STRING, [["grün", ""], ["x" * 300, "\x00"]]),
        (TensorProto.INT64, [[2**63 - 1, -(2**63)]]),
        (TensorProto.UINT64, [[2**64 - 1, 0]]),
        (TensorProto.BOOL, [[True, False]]),
        (TensorProto.DOUBLE, [[1e-300, 0.1]]),
        (TensorProto.FLOAT16, [[0.5, -65504.0]]),
        (TensorProto.BFLOAT16, [[0.5, -1.0]]),
        (TensorProto.UINT8, [[255, 0]]),
    ],
)
def test_values_of_every_type_come_back_exactly(client: Client, dtype: int, rows: list[Any]) -> None:
    deployment = deploy(client, passing_on(dtype))
    answer = deployment.predict(rows)
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == rows
    answer[0, 0] = answer[0, 1]  # it may be written to


def test_what_does_not_fit_is_refused_before_it_is_sent(server: Server, client: Client, ask: Predict) -> None:
    deployment = deploy(client)
    with pytest.raises(InvalidTensor) as caught:
        ask(deployment, [["1", "2"]])
    error = caught.value
    assert (error.input, error.expected) == ("x", "float32 [*, 2]")
    assert INFER not in lines(server)


def test_a_new_version_that_takes_something_else_is_noticed(
    server: Server, client: Client, ask: Predict
) -> None:
    deployment = deploy(client)
    ask(deployment, ROWS)
    deploy(client, passing_on(TensorProto.STRING))
    assert ask(deployment, [["a", "b"]]).tolist() == [["a", "b"]]
    deploy(client)
    server.requests.clear()
    with pytest.raises(InvalidTensor, match=r"expected float32 \[\*, 2\]"):
        ask(deployment, [["a", "b"]])  # the server refuses it, and says what it takes now
    assert lines(server) == [INFER, DESCRIBE]


# Many rows.


def test_rows_too_many_for_one_request_go_in_several(server: Server, client: Client, ask: Predict) -> None:
    deployment = deploy(client)
    server.body_bytes_max = 1_200_000
    rows = np.arange(800_000, dtype=np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(ask(deployment, rows), rows * 2)
    pinned = INFER.replace("/infer", "/versions/1/infer")
    assert lines(server) == [
        DESCRIBE,
        INFER,
        pinned.replace("POST", "GET").removesuffix("/infer"),
        *[pinned] * 2,
    ]


def test_the_version_that_answers_must_be_the_one_that_is_proved(
    server: Server, client: Client, ask: Predict
) -> None:
    deployment = deploy(client)
    server.body_bytes_max = 1_200_000
    ask(deployment, ROWS)  # the signature is remembered
    server.rows_independent = False
    with pytest.raises(PayloadTooLarge, match=r"version 1\..*is not proved"):
        ask(deployment, np.ones((200_000, 2), np.float32))


def test_rows_are_not_taken_apart_where_that_might_change_the_answer(
    server: Server, time: Time, ask: Predict
) -> None:
    server.body_bytes_max = 1_200_000
    rows = np.zeros((200_000, 2), np.float32)
    models = {False: doubling(), True: doubling(rows=len(rows))}
    for server.rows_independent, model in models.items():
        client = connected(server, time, api_key=API_KEY)
        deployment = deploy(client, model)
        server.requests.clear()
        with pytest.raises(PayloadTooLarge, match=r"1,600,\d+ bytes, 1,200,000 are allowed.*fewer rows"):
            ask(deployment, rows)
        assert INFER not in server.requests


def test_one_row_that_is_too_large_says_so(server: Server, client: Client, ask: Predict) -> None:
    server.body_bytes_max = 1_200_000
    deployment = deploy(client, passing_on(TensorProto.STRING))
    with pytest.raises(PayloadTooLarge, match="One row has"):
        ask(deployment, [["x" * 1_300_000, ""]])


def test_all_rows_are_answered_by_one_version(server: Server, client: Client, ask: Predict) -> None:
    """A version that stops answering in the middle begins the whole anew; once too often, it is said."""
    deployment = deploy(client)
    server.body_bytes_max = 1_200_000

    def gone(request: httpx.Request) -> httpx.Response | None:
        return refusal("not_found", 404, "gone") if "/versions/" in request.url.path else None

    def nothing(_: httpx.Request) -> None:
        return None

    server.requests.clear()
    server.troubles += [nothing, nothing, gone]
    rows = np.ones((200_000, 2), np.float32)
    np.testing.assert_array_equal(ask(deployment, rows), rows * 2)
    assert lines(server).count(INFER) == 2
    server.troubles += [gone] * 100
    with pytest.raises(Conflict, match="again and again"):
        ask(deployment, rows)


# What goes wrong.


def test_waiting_takes_as_long_as_the_server_asks(
    server: Server, client: Client, time: Time, ask: Predict
) -> None:
    deployment = deploy(client)
    before = len(time.waits)
    server.troubles += [lambda _: refusal("model_loading", 503, "loading", retry_after=3)] * 2
    ask(deployment, ROWS)
    assert time.waits[before:] == [3, 3]


def test_the_time_that_a_prediction_may_take_is_kept(
    server: Server, client: Client, time: Time, ask: Predict
) -> None:
    deployment = deploy(client)
    server.troubles += [lambda _: refusal("model_loading", 503, "loading", retry_after=3)]
    with pytest.raises(ModelLoading):
        ask(deployment, ROWS, timeout_seconds=2)
    with pytest.raises(Timeout):
        ask(deployment, ROWS, timeout_seconds=0)


def test_a_connection_that_breaks_is_tried_again(server: Server, client: Client, ask: Predict) -> None:
    deployment = deploy(client)

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset", request=request)

    server.troubles += [broken, broken]
    np.testing.assert_array_equal(ask(deployment, ROWS), ROWS * 2)


def test_an_answer_of_another_kind_is_doubted(server: Server, client: Client, ask: Predict) -> None:
    deployment = deploy(client)
    ask(deployment, ROWS)
    server.troubles.append(lambda _: httpx.Response(200, text="<html>welcome</html>"))
    with pytest.raises(ApiError, match="not one of Open Inference Protocol"):
        ask(deployment, ROWS)


# With asyncio.


def test_many_predictions_at_once_need_no_thread(server: Server, client: Client) -> None:
    deployment = deploy(client)
    threads = threading.active_count()
    seen: set[int] = set()

    async def all_of_them() -> list[Any]:
        async def one(number: int) -> Any:
            answer = await deployment.predict_async([[number, 0]])
            seen.add(threading.active_count())
            return answer

        return await asyncio.gather(*map(one, range(200)))

    answers = asyncio.run(all_of_them())
    assert [answer[0, 0] for answer in answers] == [2 * number for number in range(200)]
    assert max(seen) <= threads


def test_each_event_loop_has_a_pool_that_goes_with_it(client: Client) -> None:
    deployment = deploy(client)
    pools = []

    async def twice() -> None:
        for _ in range(2):
            await deployment.predict_async(ROWS)
        assert client._api._pools is not None
        pools.append(await client._api._pools.pool())
        assert not pools[-1].is_closed

    asyncio.run(twice())
    asyncio.run(twice())
    assert (pools[0] is not pools[1], [pool.is_closed for pool in pools]) == (True, [True, True])


def test_a_cancelled_prediction_ends_at_once(time: Time) -> None:
    class Silent(httpx.AsyncBaseTransport):
        ended = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
            except asyncio.CancelledError:
                self.ended = True
                raise

    silent = Silent()
    client = Client(ENDPOINT, API_KEY, async_transport=silent, clock=time.clock)

    async def cancelled() -> None:
        await asyncio.wait_for(client.predict_async(MODEL_ID, ROWS), 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    assert silent.ended
