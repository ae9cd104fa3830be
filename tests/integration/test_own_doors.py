"""Hosts' own doors together: what one host lacks another one answers, and all of them keep one limit."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import Final

import msgspec
import numpy as np
import pytest
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate.admission import Admissions
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import Scope, TokenKind, TokenRecord
from chalicelib.contract.tokens import token_sha256
from infra.local.embedded import EmbeddedServers
from tests.support.hosts import HostProcess, publish
from tests.support.two_doors import CONCURRENCY, PER_SECOND, Model, World, timings, two_doors
from tests.support.waiting import wait_for

LONG: Final = {"x": [700_000]}
LONGER: Final = {"x": [4_000_000]}
"""Several times as long as it takes a host to tell what it runs."""
"""Turns that take some tenths of a second."""


@pytest.fixture(scope="module")
def world(servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    raw = redis.Redis.from_url(servers.connections.redis_urls["stack"])
    raw.flushall()
    with ExitStack() as opened:
        yield two_doors(opened, servers, raw, tmp_path_factory.mktemp("doors"))


# What a host lacks.


def test_what_a_host_lacks_another_one_answers(world: World) -> None:
    for one in range(3):
        reply = world.marked.ask(world.lacking, {"x": [[1]]}, X_Request_Id=f"r-{one}")
        assert (reply.status, reply.body["result"]) == (200, {"y": [[7, 1]]})
        assert (reply.headers["x-request-id"], reply.headers["x-model-version"]) == (f"r-{one}", "1")
        assert timings(reply) == ["auth", "forward", "queue", "load", "batch", "run"]
    mine = world.marked.ask(world.having, {"x": [[1]]})
    assert (mine.body, timings(mine)) == (reply.body, ["auth", "queue", "load", "batch", "run"])
    assert world.lacking.events("loaded") == [], "it is where it was"


def test_what_is_wrong_with_a_request_is_said_as_where_the_model_is(world: World) -> None:
    for inputs in ({"x": [1]}, {"y": [[1]]}, {}):
        replies = [world.marked.ask(host, inputs, X_Request_Id="mine") for host in world.hosts]
        assert [reply.status for reply in replies] == [422, 422]
        assert replies[0].body == replies[1].body


def test_large_bodies_and_answers_and_binary_tensors_pass(world: World) -> None:
    rows = np.arange(500_000, dtype="<f4").reshape(-1, 1)
    told = {
        "name": "x",
        "shape": [len(rows), 1],
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    header = json.dumps({"inputs": [told], "parameters": {"binary_data_output": True}}).encode()
    sent = {
        "Authorization": f"Bearer {world.marked.token}",
        "Inference-Header-Content-Length": str(len(header)),
    }
    path, answers = f"/v2/models/{world.marked.record.model_id}/versions/1/infer", []
    for host in world.hosts:
        with closing(HTTPConnection("127.0.0.1", host.port, timeout=60)) as connection:
            connection.request("POST", path, header + rows.tobytes(), sent)
            reply = connection.getresponse()
            answers.append(
                (reply.status, reply.headers["inference-header-content-length"], len(reply.read()))
            )
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert answers[0][2] > rows.nbytes


def test_who_is_asked_has_one_more_in_flight_until_it_is_over(world: World) -> None:
    with ThreadPoolExecutor(1) as callers:
        asked = callers.submit(world.turning.ask, world.lacking, LONG)
        wait_for(lambda: world.leases(world.having) == 1, what="the lease")
        assert asked.result().status == 200
    wait_for(lambda: not world.leases(world.having), what="the lease to end")
    name = f"mr:latency:{world.turning.record.model_id}"
    wait_for(lambda: world.raw.hkeys(name), what="how long it took")
    assert world.raw.hkeys(name) == [f"{world.turning.record.version_id}/{world.having.host_id}".encode()]


def test_a_caller_that_goes_away_takes_its_request_with_it(world: World) -> None:
    body = json.dumps(world.turning.body(LONG)).encode()
    head = f"POST /inference HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", world.lacking.port)) as caller:
        caller.sendall(head + body)
        wait_for(lambda: world.leases(world.having) == 1, what="the lease")
    wait_for(lambda: not world.leases(world.having), what="the lease to end")
    wait_for(lambda: any(e["status"] == 499 for e in world.having.events("request")), what="it to be dropped")


# How often.


def test_all_doors_together_keep_to_the_limit_of_a_key(world: World) -> None:
    model = world.key(world.marked, requests_per_second=20.0)
    world.rested(model)
    began = time.monotonic()
    statuses: Counter[int] = Counter()

    def hammer(host: HostProcess) -> list[int]:
        found = []
        with closing(HTTPConnection("127.0.0.1", host.port, timeout=60)) as connection:
            while time.monotonic() < began + 2:
                connection.request("POST", "/inference", json.dumps(model.body({"x": [[1]]})))
                reply = connection.getresponse()
                reply.read()
                found.append(reply.status)
        return found

    with ThreadPoolExecutor(2) as callers:
        for found in callers.map(hammer, world.hosts):
            statuses.update(found)
    took = time.monotonic() - began
    allowed = 40 + 20 * took
    assert set(statuses) == {200, 429}
    assert 0.75 * allowed <= statuses[200] <= allowed + 1


def test_who_is_over_the_limit_is_told_as_a_gateway_tells_it(world: World, servers: EmbeddedServers) -> None:
    model = world.key(world.marked, requests_per_second=0.5)
    world.rested(model)
    assert model.ask(world.having, {"x": [[1]]}).status == 200
    reply = model.ask(world.having, {"x": [[1]]})
    error = reply.body["error"]
    assert (reply.status, error["code"], error["limit"], error["retryable"]) == (
        429,
        "rate_limited",
        "key",
        True,
    )
    assert reply.headers["Retry-After"] in ("1", "2")
    admissions = Admissions(
        servers.connections.redis_urls["gateway"],
        account=AccountLimits.of(PER_SECOND, CONCURRENCY),
        clock=time.monotonic,
    )
    with closing(admissions):
        there = admissions.admit(token_sha256(model.token), model.record.model_id, lease_id="l", cost=1)
    assert there.limited is not None
    assert str(there.limited.limit) == "key"


def test_doors_together_keep_to_the_cap_of_what_is_under_way(world: World) -> None:
    model = world.key(world.turning)
    world.rested(model)
    with ThreadPoolExecutor(CONCURRENCY) as callers:
        long = [callers.submit(model.ask, world.having, LONGER) for _ in range(CONCURRENCY)]
        running = f"mr:running:{model.record.tenant}"
        wait_for(lambda: world.raw.zcard(running) == CONCURRENCY, what="the hot state to hear")
        for host in world.hosts:
            reply = world.key(world.turning).ask(host, {"x": [1]})
            assert (reply.status, reply.body["error"]["limit"]) == (429, "concurrency")
        assert {one.result().status for one in long} == {200}
    wait_for(lambda: not world.raw.zcard(running), what="the hot state to hear that they are over")
    assert model.ask(world.lacking, {"x": [1]}).status == 200


# Who may no longer.


def test_f73_a_revoked_key_is_refused_on_connections_that_stay_open(world: World) -> None:
    model = world.key(world.marked)
    world.rested(model)
    sha256 = token_sha256(model.token)
    revoked = TokenRecord(
        model.record.tenant, TokenKind.MODEL_TOKEN, 2, model.token, (Scope.INFER,), revoked=True
    )
    with closing(HTTPConnection("127.0.0.1", world.lacking.port, timeout=60)) as connection:

        def ask() -> int:
            connection.request("POST", "/inference", json.dumps(model.body({"x": [[1]]})))
            reply = connection.getresponse()
            reply.read()
            return reply.status

        assert ask() == 200
        world.hot.put_token(sha256, revoked)
        began = time.monotonic()
        wait_for(lambda: ask() == 401, what="the refusal")
        assert time.monotonic() - began < limits.TOKEN_CACHE_SECONDS + 1


def test_a_version_in_quarantine_is_refused_before_any_host_runs_it(world: World) -> None:
    record = msgspec.structs.replace(
        world.marked.record, version_id=str(uuid.uuid4()), model_id=str(uuid.uuid4())
    )
    model = Model(record, publish(world.hot, record))
    world.hot.quarantine(record.model_id, record.version_id, seconds=60)
    replies = [model.ask(host, {"x": [[1]]}, X_Request_Id="mine") for host in world.hosts]
    assert [(reply.status, reply.code) for reply in replies] == [(422, "invalid_model")] * 2
    assert replies[0].body == replies[1].body
