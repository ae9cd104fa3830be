"""Real hosts that stop, die, or cannot be heard, behind a gateway's routing."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib.adapters.hosts import HttpHostCalls
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, ReplicaState, VersionRecord
from chalicelib.ports import HostReply
from chalicelib.routing import InferenceAnswer, InferenceCall, Router
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.coordinating import assign
from tests.support.faultyproxy import FaultyProxy, Line, faulty_proxy
from tests.support.hosts import KEY, HostProcess, prepare, publish, running_host
from tests.support.played import router_over
from tests.support.waiting import wait_for


@dataclass(slots=True)
class Through:
    """The gateway's own calls, each host's line being a proxy. Remembers whom was asked."""

    lines: dict[int, FaultyProxy]
    calls: HttpHostCalls = field(default_factory=HttpHostCalls)
    asked: list[str] = field(default_factory=list)

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        self.asked.append(host.host_id)
        nearer = msgspec.structs.replace(host, port=self.lines[host.port].port)
        return self.calls.infer(nearer, body, headers=headers, timeout=timeout)


@dataclass(slots=True)
class Fleet:
    """Two hosts with a model in memory, and a gateway before them."""

    hot: HotState
    hosts: tuple[HostProcess, HostProcess]
    through: Through
    router: Router
    token: str
    record: VersionRecord

    def infer(self) -> InferenceAnswer:
        body = {"token": self.token, "model": self.record.model_id, "inputs": {"x": [[2.0]]}}
        return self.router.infer(InferenceCall(json.dumps(body).encode(), None, uuid.uuid4().hex, 25.0))

    def prefer(self, raw_redis: Any, host: HostProcess) -> None:
        """It is the fast one, as far as anybody has measured."""
        now = raw_redis.time()[0]
        for one in self.hosts:
            taken = 0.001 if one is host else 0.1
            field = f"{self.record.version_id}/{one.host_id}"
            raw_redis.hset(f"mr:latency:{self.record.model_id}", field, f"{taken:.6f}/{now}.000000")

    def ready_on(self) -> int:
        return sum(one.state is ReplicaState.READY for _, one in self.hot.replicas(self.record.model_id))


@pytest.fixture
def fleet(plane: ControlPlane, servers: EmbeddedServers, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        first = stack.enter_context(running_host(servers, tmp_path, ready=False))
        (tmp_path / "other").mkdir()
        second = stack.enter_context(running_host(servers, tmp_path / "other", ready=False))
        for host in (first, second):
            host.wait_ready()
        record = prepare(plane.hot, servers, onnx_models.marked(1))
        token = publish(plane.hot, record)
        lines = {host.port: stack.enter_context(faulty_proxy(host.port)) for host in (first, second)}
        through = Through(lines)
        router = router_over(plane, through, key=bytes.fromhex(KEY))
        fleet = Fleet(plane.hot, (first, second), through, router, token, record)
        for host in (first, second):
            assign(plane.hot, host.host_id, [record.version_id])
        wait_for(lambda: fleet.ready_on() == 2, what="both hosts to hold the model")
        yield fleet


def expected(answer: InferenceAnswer) -> None:
    assert (answer.reply.status, answer.version) == (200, 1)


def test_f29_f40_f41_f43_a_host_that_cannot_be_heard_is_followed_by_the_other(
    fleet: Fleet, raw_redis: Any
) -> None:
    first = fleet.hosts[0]
    line = fleet.through.lines[first.port]
    fleet.prefer(raw_redis, first)
    expected(fleet.infer())
    assert fleet.through.asked == [first.host_id]
    line.line = Line.DROP_REPLY
    answer = fleet.infer()
    expected(answer)
    assert answer.tries == 2, "it ran, and its answer was lost: inference may be done again"
    line.line = Line.BLACKHOLE
    for _ in range(12):
        expected(fleet.infer())
    assert fleet.through.asked.count(first.host_id) <= 3, "Redis calls it well, and this gateway knows better"
    line.line = Line.PASS
    forgive(fleet)
    fleet.prefer(raw_redis, first)
    before = len(fleet.through.asked)
    expected(fleet.infer())
    assert len(fleet.through.asked) == before + 1


def forgive(fleet: Fleet) -> None:
    """The same process after the ejection is over; its old connections are still there."""
    fleet.router._dispatcher._ejections._records.clear()


def test_f29_f27_a_stopped_host_and_a_killed_one_cost_one_try(fleet: Fleet, raw_redis: Any) -> None:
    first, second = fleet.hosts
    fleet.prefer(raw_redis, first)
    expected(fleet.infer())
    first.process.send_signal(signal.SIGSTOP)
    answers = [fleet.infer() for _ in range(6)]
    for answer in answers:
        expected(answer)
    assert [answer.tries for answer in answers] == [2, 2, 1, 1, 1, 1]
    first.process.send_signal(signal.SIGCONT)
    forgive(fleet)
    fleet.prefer(raw_redis, second)
    expected(fleet.infer())
    second.process.kill()
    second.process.wait()
    for _ in range(6):
        expected(fleet.infer())
    first.process.kill()
    first.process.wait()
