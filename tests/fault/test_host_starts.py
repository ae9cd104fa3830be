"""A host that is killed while it loads, and one that starts while its stores are away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.coordinating import assign
from tests.support.faultyproxy import Line
from tests.support.hosts import HostProcess, heartbeat, prepare, running_host
from tests.support.links import Link, linked, port_of, through
from tests.support.waiting import wait_for

ONE = {"x": [[1]]}


@pytest.fixture
def s3(servers: EmbeddedServers) -> Iterator[Link]:
    with linked(port_of(servers.connections.s3.endpoint_url or "")) as link:
        yield link


@pytest.fixture(scope="module")
def prepared(
    servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> tuple[VersionRecord, VersionRecord]:
    """The first one's id sorts before the other's. No host has them."""
    hot = HotState.connect(servers.connections.redis_urls["stack"], timeout_seconds=5)
    with running_host(servers, tmp_path_factory.mktemp("preparing")):
        made = [prepare(hot, servers, onnx_models.marked(mark)) for mark in (1, 2)]
    first, second = sorted(made, key=lambda one: one.version_id)
    return first, second


@pytest.fixture
def versions(
    prepared: tuple[VersionRecord, VersionRecord], hot: HotState
) -> tuple[VersionRecord, VersionRecord]:
    for version in prepared:
        hot.put_version(version)
    return prepared


def by_way_of(servers: EmbeddedServers, s3: Link) -> dict[str, str]:
    return {"MODELROCKET_S3_ENDPOINT_URL": through(servers.connections.s3.endpoint_url or "", s3)}


def kill_while_it_loads(host: HostProcess, hot: HotState, version: VersionRecord) -> None:
    """As the kernel does it where there is no memory left."""
    assign(hot, host.host_id, [version.version_id])
    wait_for(lambda: hot.replicas(version.model_id), what="the load to begin")
    host.process.kill()
    host.process.wait()


def wait_for_another_beat(host: HostProcess, hot: HotState) -> None:
    beat = heartbeat(hot, host)
    assert beat is not None
    wait_for(lambda: (now := heartbeat(hot, host)) and now.at > beat.at, what="another heartbeat")


def loaded(host: HostProcess) -> list[str]:
    return [str(event["version"]) for event in host.events("loaded")]


def test_f28_what_a_host_was_loading_when_it_was_killed_is_loaded_last(
    servers: EmbeddedServers,
    hot: HotState,
    s3: Link,
    versions: tuple[VersionRecord, VersionRecord],
    tmp_path: Path,
) -> None:
    suspect, other = versions
    both = [suspect.version_id, other.version_id]
    environ = by_way_of(servers, s3)
    s3.line = Line.BLACKHOLE
    with running_host(servers, tmp_path, environ=environ) as host:
        kill_while_it_loads(host, hot, suspect)
    s3.line = Line.PASS
    with running_host(servers, tmp_path, environ=environ) as host:
        assert [event["version"] for event in host.events("suspected")] == [suspect.version_id]
        assign(hot, host.host_id, both)
        wait_for(lambda: len(loaded(host)) == 2, what="both to be loaded")
        assert loaded(host) == [other.version_id, suspect.version_id]


def test_f28_what_a_host_was_killed_by_twice_is_quarantined_when_it_is_back(
    servers: EmbeddedServers,
    hot: HotState,
    s3: Link,
    versions: tuple[VersionRecord, VersionRecord],
    tmp_path: Path,
) -> None:
    suspect, other = versions
    environ = by_way_of(servers, s3)
    s3.line = Line.BLACKHOLE
    for _ in range(2):
        with running_host(servers, tmp_path, environ=environ) as host:
            kill_while_it_loads(host, hot, suspect)
        hot.forget_model(suspect.model_id)
    s3.line = Line.PASS
    with running_host(servers, tmp_path, environ=environ) as host:
        assign(hot, host.host_id, [suspect.version_id, other.version_id])
        wait_for(lambda: loaded(host) == [other.version_id], what="the other one to be loaded")
        refused = host.infer(suspect, ONE)
        assert (refused.status, refused.code) == (422, "invalid_model")
        assert host.infer(other, ONE).status == 200
        wait_for_another_beat(host, hot)
        assert loaded(host) == [other.version_id], "what it is told to hold it does not load either"


def test_f34_a_host_that_starts_while_its_stores_are_away_comes_up_when_they_do(
    servers: EmbeddedServers,
    hot: HotState,
    s3: Link,
    versions: tuple[VersionRecord, VersionRecord],
    tmp_path: Path,
) -> None:
    url = servers.connections.redis_urls["host"]
    with linked(port_of(url)) as redis:
        redis.line = s3.line = Line.CUT
        environ = by_way_of(servers, s3) | {"MODELROCKET_REDIS_URL": through(url, redis)}
        with running_host(servers, tmp_path, environ=environ, ready=False) as host:
            wait_for(lambda: redis.connections >= 3, what="it to have tried some times")
            assert host.process.poll() is None
            assert (host.get("/healthz").status, host.get("/readyz").status) == (200, 503)
            assert heartbeat(hot, host) is None
            redis.line = Line.PASS
            host.wait_ready()
            away = host.infer(versions[0], ONE)
            assert (away.status, away.code) == (503, "dependency")
            s3.line = Line.PASS
            wait_for(lambda: host.infer(versions[0], ONE).status == 200, what="the model to be fetched")
