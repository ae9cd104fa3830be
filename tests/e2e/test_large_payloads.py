"""What is too large for a request goes by way of the store, unasked; what takes long is fetched later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from modelrocket import Client, Deployment
from tests.support.onnx_models import centred
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for

ROWS = np.random.default_rng(0).standard_normal((7_500_000, 2)).astype(np.float32)
"""60 MB."""


@pytest.fixture(scope="module")
def dependent(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A model whose rows must stay together: each is answered less the largest of all."""
    path = tmp_path_factory.mktemp("large") / "centred.onnx"
    path.write_bytes(centred())
    with Client(stack.base_url, stack.api_key) as client:
        yield client.upload(str(path), "large payloads", progress=False)


def test_60_mb_of_rows_that_belong_together_are_answered_with_60_mb(dependent: Deployment) -> None:
    np.testing.assert_array_equal(dependent.predict(ROWS), ROWS - ROWS.max(axis=0))


def test_with_asyncio_too(dependent: Deployment) -> None:
    rows = ROWS[:800_000]

    async def both() -> list[Any]:
        return await asyncio.gather(*(dependent.predict_async(rows * factor) for factor in (1, 2)))

    for factor, answer in zip((1, 2), asyncio.run(both()), strict=True):
        np.testing.assert_array_equal(answer, rows * factor - (rows * factor).max(axis=0))


def test_any_client_can_store_inputs_and_fetch_answers(dependent: Deployment, stack: RunningStack) -> None:
    """Plain HTTP, as the guide shows it: 12 MB of JSON in, as much out."""
    bearer = {"Authorization": f"Bearer {dependent.token}"}
    inputs = json.dumps({"x": ROWS[:300_000].tolist()}).encode()
    with httpx.Client(base_url=stack.base_url, timeout=60) as http:
        wanted = {"model": dependent.model_id, "bytes": len(inputs)}
        begun = http.post("/v1/payloads", json=wanted, headers=bearer).json()
        upload = begun["upload"]
        stored = http.request(upload["method"], upload["url"], headers=upload["headers"], content=inputs)
        assert stored.status_code == 200
        call = {"model": dependent.model_id, "token": dependent.token, "inputs_from": begun["id"]}
        answer = http.post("/inference", json=call)
        assert answer.status_code == 200, answer.text
        told = answer.json()["result_from"]
        assert answer.headers["x-rocket-result-from"] == str(told["bytes"])
        assert answer.headers["x-model-version"] == "1"
        result = http.get(told["url"])
        assert len(result.content) == told["bytes"] > 4_400_000
        wanted_rows = ROWS[:300_000] - ROWS[:300_000].max(axis=0)
        np.testing.assert_array_equal(np.float32(result.json()["result"]["y"]), wanted_rows)

        later = http.post("/inference", json=call, headers={"Prefer": "respond-async"})
        assert (later.status_code, later.headers["preference-applied"]) == (202, "respond-async")
        where = later.headers["location"]

        def fetched() -> httpx.Response | None:
            reply = http.get(where, headers=bearer)
            assert reply.status_code == 200 or reply.json()["answer"]["id"] in where
            return reply if reply.status_code == 200 else None

        again = wait_for(fetched, what="the answer")
        assert http.get(again.json()["result_from"]["url"]).json() == result.json()
