"""One deployment for the one file that has all the tests: its emulator, its stores, its host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.adapters.s3 import S3Objects
from infra.local.embedded import embedded_servers
from infra.packaging import coldstart
from modelrocket import Client
from tests.emulator.deployed import Deployed, deployed
from tests.support.processes import processes_mentioning
from tests.support.programs import needed


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Nothing that it has started is left when it is gone."""
    needed("node")
    if not coldstart.runs_here():
        pytest.skip("runs Lambda's wheels: Linux on x86-64 only")
    folder = tmp_path_factory.mktemp("aws")
    with (
        embedded_servers(folder / "servers", "valkey", "mongodb") as servers,
        deployed(servers, folder) as one,
    ):
        yield one
    assert processes_mentioning(str(folder)) == {}


@pytest.fixture
def client(stack: Deployed) -> Iterator[Client]:
    with Client(stack.base_url, stack.api_key) as connected:
        yield connected


@pytest.fixture
def objects(stack: Deployed, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    """The bucket of models, as the account itself may use it."""
    for name, value in stack.emulator.environment.items():
        monkeypatch.setenv(name, value)
    return S3Objects(stack.bucket, endpoint_url=stack.emulator.url)
