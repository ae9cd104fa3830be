"""The gateway at another address than the usual one: in a container it listens at all there are."""

from __future__ import annotations

import http.client
import random
import socket
import sys
from pathlib import Path

import pytest

from infra.local.ports import free_port
from infra.local.process import ChildSpec, running
from tests.compose.composed import ROOT

ELSEWHERE = "127.0.0.2"


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(ELSEWHERE, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 without asking")
def test_it_listens_where_it_is_told_to_and_nowhere_else(tmp_path: Path) -> None:
    port = free_port(random.Random())
    served = f"{port}, 'tests.infra.toy_app:app', address='{ELSEWHERE}'"
    program = f"from infra.local.gateway import serve; serve({served})"
    spec = ChildSpec(
        name="gateway",
        command=(sys.executable, "-c", program),
        environment={"PATH": "/usr/bin:/bin"},
        log_file=tmp_path / "gateway.log",
        working_directory=ROOT,
        ready=lambda: answers(port),
    )
    with running([spec]), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
