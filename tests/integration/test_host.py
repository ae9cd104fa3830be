"""A real host process on a real Valkey and a real S3: prepares, loads, answers, drains, comes back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import HostState, ReplicaState, VersionLoad, VersionRecord
from infra.local.embedded import EmbeddedServers
from infra.local.probes import s3_client
from tests.support import onnx_models
from tests.support.coordinating import assign
from tests.support.faultyproxy import Line
from tests.support.hosts import (
    ROOT,
    HostProcess,
    Reply,
    free_port,
    heartbeat,
    host_environment,
    outcome,
    prepare,
    running_host,
    store,
)
from tests.support.links import linked, port_of, through
from tests.support.processes import alive, descendants, running_module
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

ONE = {"x": [[1]]}
MANY_TURNS = 800_000


def examiners(host: HostProcess) -> set[int]:
    return running_module(host.process.pid, "host_container.examine")


def ready_replicas(hot: HotState, record: VersionRecord) -> set[str]:
    """Boot ids of the processes that say they hold the version."""
    replicas = hot.replicas(record.model_id)
    return {one.boot_id for _, one in replicas if one.state is ReplicaState.READY}


def run_seconds(reply: Reply) -> float:
    """In the model, as the host says."""
    found = re.search(r"run;dur=([0-9.]+)", reply.headers["server-timing"])
    assert found is not None
    return float(found[1]) / 1000


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """The process does not run meanwhile: it neither answers nor refuses."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_prepared_version_is_warm_before_it_is_reported(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7))
    assert ready_replicas(hot, record) == {host.boot_id}
    reply = host.infer(record, {"x": [[1], [2]]})
    assert (reply.status, reply.body) == (
        200,
        {"result": {"y": [[7, 1], [7, 2]]}, "model": record.model_id, "version": 1},
    )
    assert len(host.events("loaded")) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"not a model", "This is not an ONNX file", id="not ONNX"),
        pytest.param(onnx_models.identity("float32")[:60], "cut short", id="truncated"),
        pytest.param(onnx_models.external_data(), "external data", id="external data"),
        pytest.param(onnx_models.zip_map(), "ZipMap", id="ZipMap"),
    ],
)
def test_f60_a_bad_file_fails_with_a_reason(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, content: bytes, says: str
) -> None:
    job = store(servers, content)
    hot.enqueue(job)
    result = outcome(hot, job)
    assert result.reason is not None and says in result.reason
    assert (result.retry, result.signature, hot.replicas(job.model_id)) == (False, None, ())


def test_f22_bytes_that_are_not_those_announced_are_never_loaded(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    job = store(servers, onnx_models.marked(7), sha256="0" * 64)
    hot.enqueue(job)
    result = outcome(hot, job)
    assert result.reason is not None and "SHA-256 differs" in result.reason
    assert host.events("loaded") == []


def test_f24_a_version_whose_file_is_gone_is_unavailable_not_unknown(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7))
    access = servers.connections.s3
    s3_client(access).delete_object(Bucket=access.bucket, Key=record.object_key)
    (tmp_path / "other").mkdir()
    with running_host(servers, tmp_path / "other") as other:
        reply = other.infer(record, ONE)
    assert (reply.status, reply.code, reply.body["error"]["retryable"]) == (503, "dependency", True)


def test_a_cold_host_loads_a_version_once_for_all_its_callers(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7, padding_bytes=20 * limits.MIB))
    (tmp_path / "cold").mkdir()
    with running_host(servers, tmp_path / "cold") as cold, ThreadPoolExecutor(32) as callers:
        ticket = cold.ticket(record)
        replies = list(callers.map(lambda _: cold.infer(record, ONE, ticket=ticket), range(100)))
        assert [reply.status for reply in replies] == [200] * 100
        assert len(cold.events("loaded")) == 1


def test_assigned_versions_are_fetched_before_anybody_asks(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7))
    (tmp_path / "other").mkdir()
    with running_host(servers, tmp_path / "other") as other:
        assign(hot, other.host_id, [record.version_id, "unknown"])
        both = {host.boot_id, other.boot_id}
        wait_for(lambda: ready_replicas(hot, record) == both, what="the second replica")


def test_what_is_assigned_and_does_not_fit_in_memory_is_fetched_to_the_disk(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    records = [prepare(hot, servers, onnx_models.marked(n, padding_bytes=20 * limits.MIB)) for n in (7, 8)]
    (tmp_path / "small").mkdir()
    size = max(max(record.bytes, record.passport.memory_bytes) for record in records)
    room = {"MODELROCKET_MEMORY_BYTES_MAX": str(size * 3 // 2)}
    with running_host(servers, tmp_path / "small", environ=room) as small:
        assign(hot, small.host_id, [record.version_id for record in records])

        def states() -> list[ReplicaState]:
            replicas = (one for record in records for _, one in hot.replicas(record.model_id))
            return sorted(one.state for one in replicas if one.host_id == small.host_id)

        both = sorted((ReplicaState.READY, ReplicaState.STORED))
        wait_for(lambda: states() == both, what="one in memory and one on the disk")
        assert len(small.events("loaded")) == 1


def test_requests_are_told_with_the_time_they_took(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    record = prepare(hot, servers, onnx_models.slow(MANY_TURNS // 10))
    before = hot.demand_since(0).now
    runs = sum(run_seconds(host.infer(record, {"x": [n]})) for n in range(3))

    def told() -> list[VersionLoad]:
        samples = hot.demand_since(before).samples
        return [sample.load.versions.get(record.version_id, VersionLoad()) for sample in samples]

    wait_for(lambda: sum(load.requests for load in told()) == 3, what="the requests to be told")
    assert sum(load.ran for load in told()) == pytest.approx(runs, abs=0.01)
    assert sum(load.seconds for load in told()) > runs
    assert all(sample.load.front_seconds > 0 for sample in hot.demand_since(before).samples)


def test_f02_a_flushed_hot_state_is_told_everything_again(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, raw_redis: Any
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7))
    assign(hot, host.host_id, [record.version_id])
    before = heartbeat(hot, host)
    wait_for(lambda: heartbeat(hot, host) != before, what="the host to hear what it is assigned")
    raw_redis.flushall()
    wait_for(lambda: ready_replicas(hot, record) == {host.boot_id}, what="the replica to come back")
    assert hot.assignments([host.host_id]) == {host.host_id: (record.version_id,)}
    beat = heartbeat(hot, host)
    assert beat is not None and (beat.state, beat.versions_ready) == (HostState.READY, 1)
    assert prepare(hot, servers, onnx_models.marked(8)).number == 1


def test_f05_while_the_hot_state_hangs_the_host_serves_what_it_has(
    hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    url = servers.connections.redis_urls["host"]
    with linked(port_of(url)) as link:
        environ = {"MODELROCKET_REDIS_URL": through(url, link)}
        with running_host(servers, tmp_path, environ=environ) as host:
            record = prepare(hot, servers, onnx_models.marked(7))
            link.line = Line.BLACKHOLE
            wait_for(lambda: host.events("hot_state")[-1]["connected"] is False, what="the host to notice")
            assert host.infer(record, ONE).status == 200
            assert host.get("/readyz").status == 200
            link.line = Line.PASS
            wait_for(lambda: host.events("hot_state")[-1]["connected"] is True, what="the host to reconnect")


def test_f34_a_host_boots_and_stops_while_its_stores_are_away(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    away = {
        "MODELROCKET_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "MODELROCKET_S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }
    with running_host(servers, tmp_path, environ=away, ready=False) as host:
        wait_for(lambda: host.events("started"), what="the host to listen")
        assert host.get("/healthz").status == 200
        assert (host.get("/readyz").status, host.get("/readyz").body["status"]) == (503, "launching")
        assert host.terminate() == 0


def test_f35_draining_finishes_what_is_in_flight_and_is_forgotten(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    slow = prepare(hot, servers, onnx_models.slow(MANY_TURNS))
    ticket = host.ticket(slow)
    with ThreadPoolExecutor(16) as callers:
        answers = [callers.submit(host.infer, slow, {"x": [n]}, ticket=ticket) for n in range(16)]
        wait_for(lambda: (beat := heartbeat(hot, host)) and beat.in_flight, what="the requests to run")
        host.process.send_signal(signal.SIGTERM)
        wait_for(
            lambda: (beat := heartbeat(hot, host)) is None or beat.state is HostState.DRAINING,
            what="the gateways to be told",
        )
        assert [answer.result().body["result"]["y"] for answer in answers] == [[n] for n in range(16)]
    assert host.process.wait(timeout=40) == 0
    assert (heartbeat(hot, host), hot.replicas(slow.model_id)) == (None, ())


def test_f36_a_host_stops_while_it_examines_a_file_and_hands_the_job_back(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    job = store(servers, onnx_models.endless())
    hot.enqueue(job)
    examining = wait_for(lambda: examiners(host), what="the examination")
    assert host.terminate() == 0
    assert outcome(hot, job).retry
    wait_for(lambda: not examining & descendants(os.getpid()), what="the examination to end")


def test_f27_the_job_of_a_killed_host_is_done_by_another(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    job = store(servers, onnx_models.slow(MANY_TURNS))
    hot.enqueue(job)
    examining = wait_for(lambda: examiners(host), what="the examination")
    host.process.kill()
    host.process.wait()
    wait_for(lambda: not alive(examining), what="it to end too")
    (tmp_path / "other").mkdir()
    with running_host(servers, tmp_path / "other") as other:
        result = outcome(hot, job)
        assert (result.host_id, result.reason) == (other.host_id, None)


def test_an_examination_killed_from_outside_is_done_again(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    job = store(servers, onnx_models.slow(MANY_TURNS))
    hot.enqueue(job)
    examining = wait_for(lambda: examiners(host), what="the examination")
    for pid in examining:
        os.kill(pid, signal.SIGKILL)
    assert outcome(hot, job).reason is None


def test_f65_a_run_that_does_not_come_back_is_killed_and_the_next_request_is_served(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    endless, neighbour = (
        prepare(hot, servers, onnx_models.turning()),
        prepare(hot, servers, onnx_models.marked(7)),
    )
    before = host.boot_id
    reply = host.infer(endless, {"x": [10**15]}, ticket=host.ticket(endless, seconds=1))
    assert (reply.status, reply.code) == (504, "deadline_exceeded")
    assert host.infer(neighbour, ONE).body["result"] == {"y": [[7, 1]]}
    assert host.infer(endless, {"x": [2]}).body["result"] == {"y": [3]}
    assert host.boot_id == before
    assert len(host.events("worker_killed")) == 1
    assert [event["quarantined"] for event in host.events("blamed")] == [False]


def test_f65_a_version_that_does_it_twice_is_quarantined_and_its_tenant_goes_on(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    endless = prepare(hot, servers, onnx_models.turning())
    for _ in range(limits.CRASHES_MAX):
        reply = host.infer(endless, {"x": [10**15]}, ticket=host.ticket(endless, seconds=1))
        assert (reply.status, reply.code) == (504, "deadline_exceeded")
    wait_for(lambda: len(host.events("blamed")) == limits.CRASHES_MAX, what="the blame")
    reply = host.infer(endless, {"x": [2]})
    assert (reply.status, reply.code) == (422, "invalid_model")
    assert "quarantined" in reply.body["error"]["message"]
    wait_for(lambda: hot.quarantined(endless.model_id) == {endless.version_id}, what="the fleet to know")
    assert [one.version_id for one in hot.quarantines()] == [endless.version_id]


def test_f29_a_host_that_was_stopped_refuses_what_was_meant_for_the_one_before(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    record = prepare(hot, servers, onnx_models.marked(7))
    before, ticket = host.boot_id, host.ticket(record)
    with stopped(host.process.pid):
        time.sleep(limits.HOST_STOPPED_SECONDS + 1)
    reply = host.infer(record, ONE, ticket=ticket)
    assert (reply.status, reply.code, reply.body["error"]["retryable"]) == (421, "not_me", True)
    assert host.boot_id != before
    assert host.infer(record, ONE).status == 200
    wait_for(lambda: ready_replicas(hot, record) == {host.boot_id}, what="the new name to be known")


def test_what_is_on_disk_outlives_the_process_and_the_store(
    hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    with running_host(servers, tmp_path) as host:
        record = prepare(hot, servers, onnx_models.marked(7))
        host.process.kill()
    access = servers.connections.s3
    s3_client(access).delete_object(Bucket=access.bucket, Key=record.object_key)
    with running_host(servers, tmp_path) as again:
        assert again.infer(record, ONE).body["result"] == {"y": [[7, 1]]}


def test_unusable_settings_are_all_named_and_end_the_process(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "host_container"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 78
    assert "MODELROCKET_HOST_ID is not set" in ended.stderr
    assert "MODELROCKET_DISPATCH_KEY is not set" in ended.stderr


def test_a_taken_port_is_a_message(host: HostProcess, servers: EmbeddedServers, tmp_path: Path) -> None:
    environ = host_environment(servers, tmp_path / "other", host_id="other", port=host.port)
    ended = subprocess.run(
        [sys.executable, "-m", "host_container"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.strip()) == (
        1,
        f"Cannot listen on 127.0.0.1:{host.port}: Address already in use",
    )
