"""The platform under load while parts of it die or change."""

from __future__ import annotations

from collections.abc import Iterator

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


def test_f02_a_flushed_redis_fills_again_and_no_token_is_refused(client: Client, stack: RunningStack) -> None:
    deployment = client.upload(marked(1), "flushed", progress=False)
    hot = redis.Redis.from_url(stack.redis_url)
    projected = "mr:token:*", "mr:model:*", "mr:version:*"
    wait_for(lambda: hot.exists("mr:projected:models"), what="a whole projection")
    before = {key for pattern in projected for key in hot.keys(pattern)}
    with constant_load(deployment) as load:
        load.wait_for_more(20)
        hot.flushall()
        wait_for(
            lambda: before <= {key for pattern in projected for key in hot.keys(pattern)},
            what="everything to be projected again",
            seconds=15,
        )
        load.wait_for_more(20)
        load.wait_for_good(50)
    assert set(load.statuses()) <= {200, 503}, load.statuses()
    assert [one for one in load.asked if one.status == 200 and wrong(one, marks={1})] == []
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
