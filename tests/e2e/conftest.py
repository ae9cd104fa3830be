"""One whole platform for the tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelrocket import Client
from tests.support.stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "home", hosts=2) as running:
        yield running


@pytest.fixture
def client(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.base_url, stack.api_key) as connected:
        yield connected
