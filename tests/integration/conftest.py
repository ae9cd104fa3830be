"""One host for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.contract.hotstate import HotState
from infra.local.embedded import EmbeddedServers
from tests.support.hosts import HostProcess, running_host


@pytest.fixture
def host(servers: EmbeddedServers, hot: HotState, tmp_path: Path) -> Iterator[HostProcess]:
    with running_host(servers, tmp_path) as running:
        yield running
