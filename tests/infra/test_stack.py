"""The real stack, all of it, started as a person starts it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local.probes import mongo_is_ready, redis_is_ready, s3_is_ready
from infra.local.stack import answers_healthz
from modelrocket import Client
from tests.support.graphs import marked
from tests.support.processes import alive, descendants, processes_mentioning
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

CHILDREN = {"s3", "valkey", "mongodb", "host-1", "host-2", "coordinator", "gateway"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def get(stack: RunningStack, path: str, *, token: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_everything_runs_and_the_table_says_where(stack: RunningStack) -> None:
    assert set(stack.children) == CHILDREN
    printed = stack.console.read_text()
    for name, child in stack.children.items():
        assert name in printed and str(child["pid"]) in printed and child["log"] in printed
    assert stack.base_url in printed
    assert stack.api_key not in printed


def test_the_api_key_in_the_client_configuration_works(stack: RunningStack) -> None:
    configuration = json.loads(stack.client_config.read_text())

    assert configuration["default_endpoint"] == stack.base_url
    assert get(stack, "/v1/models", token=configuration["api_keys"][stack.base_url])[0] == 200
    assert get(stack, "/v1/models")[0] == 401


def test_no_host_is_told_how_to_reach_mongodb(stack: RunningStack) -> None:
    environment = Path(f"/proc/{stack.pid('host-1')}/environ").read_bytes().decode()

    assert "MONGO" not in environment
    assert stack.connections.mongo_url not in environment


def test_secrets_are_in_no_log(stack: RunningStack) -> None:
    secrets = json.loads((stack.home / "credentials.json").read_text()).values()
    logs = [path.read_text(errors="replace") for path in (stack.home / "logs").iterdir()]

    assert not [secret for secret in secrets for log in logs if secret in log]


def test_the_coordinator_is_invoked(stack: RunningStack) -> None:
    assert "ticker_started" in stack.log("coordinator")
    assert "tick_failed" not in stack.log("coordinator")


@pytest.mark.parametrize("name", ["gateway", "host-1", "valkey", "mongodb", "s3"])
def test_a_killed_child_comes_back_at_its_place(stack: RunningStack, name: str) -> None:
    address = stack.children[name]["address"]

    old_pid = stack.kill(name)

    stack.wait_for_restart(name, old_pid=old_pid)
    assert stack.children[name]["address"] == address
    wait_for(lambda: is_well(stack, name), what=f"{name} to answer again")


def is_well(stack: RunningStack, name: str) -> bool:
    connections = stack.connections
    match name:
        case "valkey":
            return redis_is_ready(connections.redis_urls["stack"])
        case "mongodb":
            return mongo_is_ready(connections.mongo_url)
        case "s3":
            return s3_is_ready(connections.s3)
        case _:
            return answers_healthz(stack.port_of(name))


def test_a_second_start_in_the_same_home_finds_its_key_and_models_and_leaves_a_foreign_configuration_alone(
    tmp_path: Path,
) -> None:
    with running_stack(tmp_path, hosts=1) as stack:
        everyone = descendants(stack.process.pid)
        key = stack.api_key
        with Client(stack.base_url, key) as client:
            deployment = client.upload(marked(9), "kept", progress=False)
        assert stack.stop() == 0
        assert not alive(everyone)
        assert not processes_mentioning(str(tmp_path))

    foreign = tmp_path / "client.json"
    foreign.write_text("not JSON")
    with running_stack(tmp_path, hosts=1) as stack:
        assert foreign.read_text() == "not JSON"
        assert f"{foreign} cannot be read" in stack.console.read_text()
        assert stack.api_key == key
        with Client(stack.base_url, key) as client:
            assert [model.name for model in client.models()] == ["kept"]
            answer = client.predict(deployment.model_id, [[4.0]], token=str(deployment.token))
            assert np.asarray(answer).tolist() == [[9, 4]]
        everyone = descendants(stack.process.pid)
        stack.process.kill()
        wait_for(lambda: not alive(everyone), what="the end of what a killed stack left")
