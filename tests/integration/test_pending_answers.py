"""Answers that are pending when their host dies. No other host is there to take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.integration.test_payloads import Caller
from tests.support.hosts import HostProcess, prepare, publish, running_host
from tests.support.onnx_models import turning
from tests.support.waiting import wait_for


@contextmanager
def caller(
    plane: ControlPlane, servers: EmbeddedServers, folder: Path, model: bytes
) -> Iterator[tuple[Caller, HostProcess]]:
    with running_host(servers, folder) as host:
        record = prepare(plane.hot, servers, model)
        yield Caller(plane, record, publish(plane.hot, record)), host


def test_a_host_that_dies_with_an_answer_pending_is_followed_by_another_one_once(
    plane: ControlPlane, servers: EmbeddedServers, tmp_path: Path
) -> None:
    """Killed while it works. The next poll after another one came up in its place gives that the request."""
    with caller(plane, servers, tmp_path, turning()) as (asking, first):
        assert asking.ask(body=b'{"x": [1]}').reply.status == 200
        twice = asking.later(body=b'{"x": [1000000000]}')
        once = asking.later(body=b'{"x": [1000]}')  # behind it, as long as the first host lives
        assert asking.fetch(once) is None
        _kill(first)
        again = {"MODELROCKET_HOST_ID": first.host_id}
        with running_host(servers, tmp_path, environ=again) as second:
            assert asking.fetched(once).reply.status == 200
            assert asking.fetched(once).tries == 2
            _taken_by(plane, asking, twice, second)
            _kill(second)
            plane.hot.forget_host(first.host_id)  # as the coordinator does when it has been silent
            lost = asking.fetched(twice).reply
            assert (lost.status, json.loads(lost.body)["error"]["code"]) == (500, "inference_failed")
            assert b"2 hosts went away" in lost.body


def _kill(host: HostProcess) -> None:
    host.process.kill()
    host.process.wait()


def _taken_by(plane: ControlPlane, asking: Caller, answer_id: str, host: HostProcess) -> None:
    def taken() -> bool:
        assert asking.fetch(answer_id) is None
        view = plane.hot.answer(answer_id)
        return view is not None and view.dispatched.boot_id == host.boot_id

    wait_for(taken, what="the second host to take it")
