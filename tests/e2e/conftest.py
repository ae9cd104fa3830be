"""One whole platform for the tests that leave it as they found it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from chalicelib.contract.limits import UPLOAD_PART_BYTES_MIN
from modelrocket import Client
from tests.support.stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    small_parts = {"MODELROCKET_UPLOAD_PART_BYTES": str(UPLOAD_PART_BYTES_MIN)}
    home = tmp_path_factory.mktemp("stack") / "home"
    with running_stack(home, hosts=2, environment=small_parts) as running:
        yield running
    for folder in ("s3", "hosts"):  # models; the logs stay
        shutil.rmtree(home / folder, ignore_errors=True)


@pytest.fixture
def client(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.base_url, stack.api_key) as connected:
        yield connected
