"""Nothing of ours, onnxruntime included, sends anything anywhere.

onnxruntime reports home by default. The code runs in a network namespace whose only
way out is an interface that counts packets and drops them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support import onnx_models

ROOT: Final = Path(__file__).parents[2]
_WAYS_OUT: Final = """
set -e
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add out type veth peer name drain
ip link set drain up
ip addr add 10.9.9.1/24 dev out
ip link set out up
ip route add default via 10.9.9.2 dev out
ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:02 dev out
"$@"
ip -s -j link show out
"""
_LOAD_AND_RUN: Final = """
import sys, time
from pathlib import Path
import numpy
from host_container.session import load
session = load(Path(sys.argv[1]))
for _ in range(100):
    session.run({"x": numpy.ones((1, 1), numpy.float32)})
time.sleep(3)
"""
_SEND: Final = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"home", ("192.0.2.1", 9))
"""


def packets(tmp_path: Path, program: str, **environ: str) -> int:
    """How many packets left while the program ran."""
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.marked(7))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
        **environ,
    }
    ended = subprocess.run(
        ["unshare", "--net", "bash", "-c", _WAYS_OUT, "-", sys.executable, "-c", program, str(model)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    [interface] = json.loads(ended.stdout)
    return int(interface["stats64"]["tx"]["packets"])


def namespaces_work() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    probe = "ip link add out type veth peer name drain && sysctl -n net.ipv6.conf.all.disable_ipv6"
    tried = subprocess.run(["unshare", "--net", "bash", "-c", probe], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(
    not namespaces_work(), reason="needs root, unshare and ip to make a network namespace"
)


def test_loading_and_running_a_model_sends_nothing(tmp_path: Path) -> None:
    assert packets(tmp_path, _LOAD_AND_RUN, ORT_DISABLE_TELEMETRY="1") == 0


def test_a_packet_that_leaves_would_be_seen(tmp_path: Path) -> None:
    assert packets(tmp_path, _SEND) > 0
