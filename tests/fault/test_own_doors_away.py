"""What a host's own door does when the host that it forwards to is gone, or the hot state is."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chalicelib.contract.messages import ReplicaState
from infra.local.embedded import EmbeddedServers
from tests.support.two_doors import timings, two_doors


def test_f27_a_host_that_died_is_followed_by_one_that_loads_it(
    servers: EmbeddedServers, raw_redis: Any, tmp_path: Path
) -> None:
    with ExitStack() as opened:
        world = two_doors(opened, servers, raw_redis, tmp_path)
        assert "forward" in timings(world.marked.ask(world.lacking, {"x": [[1]]}))
        world.having.process.send_signal(signal.SIGKILL)
        world.having.process.wait()
        reply = world.marked.ask(world.lacking, {"x": [[1]]})
        assert (reply.status, reply.body["result"]) == (200, {"y": [[7, 1]]})
        assert len(world.lacking.events("loaded")) == 1
        assert ReplicaState.READY in {
            replica.state
            for _, replica in world.hot.replicas(world.marked.record.model_id)
            if replica.host_id == world.lacking.host_id
        }


def test_f28_a_host_that_hangs_is_followed_by_one_that_loads_it(
    servers: EmbeddedServers, raw_redis: Any, tmp_path: Path
) -> None:
    with ExitStack() as opened:
        world = two_doors(opened, servers, raw_redis, tmp_path)
        world.having.process.send_signal(signal.SIGSTOP)
        reply = world.marked.ask(world.lacking, {"x": [[1]]})
        assert (reply.status, reply.body["result"]) == (200, {"y": [[7, 1]]})
