"""The platform under load while parts of it die or change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from modelrocket import Client
from tests.support.graphs import marked
from tests.support.load import Asked, Load, constant_load
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A platform of these tests' own: they kill parts of it."""
    with running_stack(tmp_path_factory.mktemp("faults") / "home", hosts=2) as running:
        yield running


def wrong(asked: Asked, *, marks: set[float]) -> bool:
    """Whether an answer is not this caller's own, from one of the allowed versions."""
    [[mark, nonce]] = asked.body["result"]["modelOutput"]
    return nonce != asked.sent or mark not in marks or asked.body["version"] != mark


def failures(load: Load) -> list[Asked]:
    return [one for one in load.asked if one.status != 200]


def test_f59_no_request_fails_while_the_version_switches(client: Client) -> None:
    deployment = client.upload(marked(1), "switched", progress=False)
    with constant_load(deployment) as load:
        load.wait_for_more(50)
        for number in (2, 3, 4):
            client.upload(marked(number), "switched", progress=False)
            load.wait_for_more(20)
        wait_for(lambda: load.asked[-1].body["version"] == 4, what="the new version to answer")
    assert failures(load) == []
    assert [one for one in load.asked if wrong(one, marks={1, 2, 3, 4})] == []
    assert {one.body["version"] for one in load.asked} == {1, 2, 3, 4}


def test_f02_a_flushed_redis_fills_again_and_no_token_is_refused(client: Client, stack: RunningStack) -> None:
    deployment = client.upload(marked(1), "flushed", progress=False)
    hot = redis.Redis.from_url(stack.redis_url)
    with constant_load(deployment) as load:
        load.wait_for_more(20)
        hot.flushall()
        load.wait_for_more(20)
        load.wait_for_good(50)
    assert set(load.statuses()) <= {200, 503}, load.statuses()
    assert [one for one in load.asked if one.status == 200 and wrong(one, marks={1})] == []
    wait_for(lambda: hot.exists(f"mr:model:{deployment.model_id}"), what="the route to be back")
    wait_for(lambda: hot.hlen("mr:hosts") == 2, what="both hosts to be back")


def test_f27_a_host_killed_under_load_is_answered_for(client: Client, stack: RunningStack) -> None:
    deployment = client.upload(marked(1), "killed", progress=False)
    with constant_load(deployment, callers=8) as load:
        load.wait_for_more(50)
        for name in ("host-1", "host-2"):
            old = stack.kill(name)
            stack.wait_for_restart(name, old_pid=old)
            load.wait_for_more(50)
            load.wait_for_good(50)
    assert set(load.statuses()) <= {200, 503}, load.statuses()
    for one in failures(load):
        assert one.body["error"]["retryable"], one
    assert [one for one in load.asked if one.status == 200 and wrong(one, marks={1})] == []


@pytest.mark.parametrize("name", ["valkey", "mongodb", "s3", "gateway", "coordinator"])
def test_every_part_that_dies_comes_back(client: Client, stack: RunningStack, name: str) -> None:
    deployment = client.upload(marked(1), f"after-{name}", progress=False)
    old = stack.kill(name)
    stack.wait_for_restart(name, old_pid=old)

    def answers() -> bool:
        try:
            answer = deployment.predict(np.array([[3]], np.float32))
        except Exception:  # whatever it is, the deadline of the wait decides
            return False
        return bool(np.array_equal(np.asarray(answer), [[1, 3]]))

    wait_for(answers, what=f"answers after {name} died")
    again = client.upload(marked(2), f"after-{name}", progress=False)
    assert again.version == 2


def test_a_restart_finds_its_models_again(tmp_path: Path) -> None:
    with running_stack(tmp_path / "home", hosts=1) as first:
        client = Client(first.base_url, first.api_key)
        deployment = client.upload(marked(9), "kept", progress=False)
        assert first.stop() == 0
    with running_stack(tmp_path / "home", hosts=1) as second:
        client = Client(second.base_url, second.api_key)
        assert [model.name for model in client.models()] == ["kept"]
        rows = np.array([[4]], np.float32)

        def answers() -> bool:
            answer = client.predict(deployment.model_id, rows, token=str(deployment.token))
            return bool(np.array_equal(np.asarray(answer), [[9, 4]]))

        wait_for(answers, what="the model of before")
