"""A real host process in the place of an ECS task: it is told nothing, and found under its task's id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.contract.hotstate import HotState
from infra.local.embedded import EmbeddedServers
from tests.support.ecs_agent import OWN, TASK_ID, answering, container, endpoint
from tests.support.hosts import ROOT, host_environment, running_host
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack


def test_a_host_registers_as_its_task_and_is_healthy_there(
    servers: EmbeddedServers, hot: HotState, tmp_path: Path
) -> None:
    here = OWN | {"IPv4Addresses": ["127.0.0.1"]}
    with answering(container(Networks=[here])) as agent:
        untold = endpoint(agent) | {"MODELROCKET_HOST_ID": "", "MODELROCKET_HOST_ADDRESS": ""}
        with running_host(servers, tmp_path, environ=untold) as host:
            seen = wait_for(
                lambda: [one for one in hot.hosts()[1] if one.host_id == TASK_ID], what="its heartbeat"
            )
            assert [(one.address, one.port) for one in seen] == [("127.0.0.1", host.port)]
            environ = host_environment(servers, tmp_path, host_id="", port=host.port) | untold
            check = [sys.executable, "-m", "host_container.healthcheck"]
            assert subprocess.run(check, cwd=ROOT, env=environ, check=False).returncode == 0
            assert host.terminate() == 0
            assert subprocess.run(check, cwd=ROOT, env=environ, check=False).returncode == 1
