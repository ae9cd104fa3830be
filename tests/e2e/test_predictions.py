"""Whatever a caller holds, through the whole platform and back, with asyncio and without."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import tritonclient.http as triton
from onnx import ModelProto, TensorProto, helper

from modelrocket import Client, Deployment, InvalidTensor
from tests.support.stack import RunningStack

WANTED = [[2, 4], [6, 8]]
Ask = Callable[..., Any]


def doubling() -> ModelProto:
    """`x: float32 [n, 2] → y = 2 x`."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def of_columns() -> ModelProto:
    """`age: float32 [n, 1], town: string [n] → older = 2 age, where = town`."""
    age, older = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("age", "older")
    )
    town, where = (
        helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in ("town", "where")
    )
    nodes = [
        helper.make_node("Add", ["age", "age"], ["older"]),
        helper.make_node("Identity", ["town"], ["where"]),
    ]
    graph = helper.make_graph(nodes, "g", [age, town], [older, where])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture(scope="module")
def connected(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.base_url, stack.api_key) as client:
        yield client


@pytest.fixture(scope="module")
def matrix(connected: Client) -> Deployment:
    return connected.upload(doubling(), "predict matrix", progress=False)


@pytest.fixture(scope="module")
def columns(connected: Client) -> Deployment:
    return connected.upload(of_columns(), "predict columns", progress=False)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda of, *told, **more: of.predict(*told, **more)
    return lambda of, *told, **more: asyncio.run(of.predict_async(*told, **more))


def test_every_kind_of_rows_gets_the_same_answer(matrix: Deployment, ask: Ask) -> None:
    rows = np.array([[1, 2], [3, 4]])
    table = pd.DataFrame(rows, columns=["a", "b"])
    for value in (rows, rows.astype(np.float64), rows.tolist(), table, torch.tensor(rows), {"x": rows}):
        answer = ask(matrix, value)
        assert (answer.dtype, answer.tolist()) == (np.float32, WANTED)
    odd = np.array([[np.inf, np.nan], [-np.inf, 0.1]], np.float32)
    np.testing.assert_array_equal(ask(matrix, odd), odd * 2)


def test_every_kind_of_columns_gets_the_same_answer(columns: Deployment, ask: Ask) -> None:
    age, town = [1, 2], ["Köln", ""]
    kinds = (
        {"age": age, "town": town},
        {"age": np.array([[1.0], [2.0]]), "town": np.array(town)},
        {"age": torch.tensor(age), "town": pd.Series(town)},
        pd.DataFrame({"town": town, "age": age, "more": 0}),
        (age, town),
    )
    for value in kinds:
        answer = ask(columns, value)
        assert {name: array.tolist() for name, array in answer.items()} == {
            "older": [[2], [4]],
            "where": town,
        }


def test_by_token_or_key_by_id_or_name(
    matrix: Deployment, connected: Client, stack: RunningStack, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(stack.home / "nobody.json"))
    stranger = Client(stack.base_url)
    assert ask(stranger, matrix.model_id, [[1, 2], [3, 4]], token=matrix.token).tolist() == WANTED
    for model in (matrix.model_id, matrix.name):
        assert ask(connected, model, [[1, 2], [3, 4]]).tolist() == WANTED


def test_a_hosts_own_door_answers_too(matrix: Deployment, stack: RunningStack, ask: Ask) -> None:
    inside = Client(f"http://127.0.0.1:{stack.port_of('host-1')}")
    assert ask(inside, matrix.model_id, [[1, 2], [3, 4]], token=matrix.token).tolist() == WANTED


def test_what_does_not_fit_is_refused_by_name(matrix: Deployment, columns: Deployment, ask: Ask) -> None:
    with pytest.raises(InvalidTensor, match=re.escape('input "x": expected float32 [*, 2], got the string')):
        ask(matrix, [["red", 1]])
    with pytest.raises(InvalidTensor, match=r'input "town": expected string \[\*\], got no such column'):
        ask(columns, pd.DataFrame({"age": [1]}))


def test_rows_too_many_for_one_request_are_answered_all_the_same(matrix: Deployment, ask: Ask) -> None:
    rows = np.arange(1_200_000, dtype=np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(ask(matrix, rows), rows * 2)


def test_many_at_once_keep_their_answers(matrix: Deployment) -> None:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(matrix.predict_async([[number, 0]]) for number in range(300)))

    answers = asyncio.run(all_of_them())
    assert [answer[0, 0] for answer in answers] == [2 * number for number in range(300)]


def test_nvidias_client_asks_through_the_gateway_as_well(matrix: Deployment, stack: RunningStack) -> None:
    """Bytes pass API Gateway only where both sides say that they are bytes."""
    client = triton.InferenceServerClient(f"127.0.0.1:{stack.port}")
    given = triton.InferInput("x", [2, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2], [3, 4]], np.float32))
    bearer = {"Authorization": f"Bearer {matrix.token}"}
    binary = {"Accept": "application/octet-stream", "Content-Type": "application/octet-stream"}
    try:
        assert client.is_model_ready(matrix.model_id, headers=dict(bearer))
        result = client.infer(matrix.model_id, [given], headers=bearer | binary)
        assert result.as_numpy("y").tolist() == WANTED
    finally:
        client.close()
