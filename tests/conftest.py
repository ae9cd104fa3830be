"""Fixtures over the real servers: started once, emptied for every test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import pytest
import redis
from hypothesis import settings

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.tokens import new_token
from chalicelib.wiring import ControlPlane, build
from infra.local.embedded import EmbeddedServers
from tests.support.stores import Stores, new_database, running_stores

settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


STORES = Stores.from_env(os.environ)


def pytest_report_header() -> str:
    return f"stores: {STORES}"


def pytest_configure(config: pytest.Config) -> None:
    if refusal := STORES.refusal(workers=config.getoption("numprocesses", None) or 1):
        raise pytest.UsageError(refusal)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: list[str]) -> None:
    """xdist hands tests out by their ids: of those with the same one it would run one and say nothing."""
    alike = [name for name, count in Counter(ids).items() if count > 1]
    if alike:
        pytest.exit(f"Tests with the same id: {', '.join(alike)}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """Redis, MongoDB and S3, for the whole run: embedded, or what the environment names."""
    home: Path = tmp_path_factory.mktemp("servers")
    with running_stores(STORES, home) as running:
        yield running


@pytest.fixture
def raw_redis(servers: EmbeddedServers) -> Any:
    """An emptied Redis, seen with every right."""
    client = redis.Redis.from_url(servers.connections.redis_urls["stack"])
    client.flushall()
    return client


@pytest.fixture
def hot(servers: EmbeddedServers, raw_redis: Any) -> HotState:
    return HotState.connect(servers.connections.redis_urls["coordinator"], timeout_seconds=5)


@pytest.fixture
def plane(servers: EmbeddedServers, raw_redis: Any) -> ControlPlane:
    """A control plane on a database of its own."""
    environ = {
        **servers.connections.control_plane("coordinator"),
        "MODELROCKET_MONGO_URL": servers.connections.mongo_stack_url,
        "MODELROCKET_MONGO_DATABASE": new_database(),
        "MODELROCKET_DISPATCH_KEY": "5a" * 32,
        "MODELROCKET_PUBLIC_URL": "http://127.0.0.1:5000",
        "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
        "MODELROCKET_UPLOAD_PART_BYTES": str(limits.UPLOAD_PART_BYTES_MIN),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        built = build(environ)
    built.store.create_indexes()
    return built


@pytest.fixture
def alice(plane: ControlPlane) -> Principal:
    return account(plane, "alice")


@pytest.fixture
def mallory(plane: ControlPlane) -> Principal:
    return account(plane, "mallory")


def account(plane: ControlPlane, name: str) -> Principal:
    key = new_token()
    plane.keys.ensure_api_key(name, key)
    return plane.auth.authenticate(f"Bearer {key}")
