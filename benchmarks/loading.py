"""`load`: how long a model takes to be served, first and again, beside a plain `InferenceSession(path)`.

First: the host prepares it (its passport says the load's part). Again: the host
is killed, comes back with its files on disk, and its log says how long onnxruntime
took for each load (waiting for the new host's first worker is not part of it).
Plain loads run in fresh processes, in turn with the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.cells import Lane
from benchmarks.models import Example
from benchmarks.rocket import CannotServe, Deployed, Rocket, expect_ok, inference_lane, until
from host_container.prepared import LOAD_SECONDS_MIN

_PLAIN: Final = """
import sys, time, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
started = time.perf_counter()
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print((time.perf_counter() - started) * 1000)
"""


@dataclass(frozen=True, slots=True)
class Loads:
    """Milliseconds, one per round; `first` was measured once, when the model was prepared."""

    first: float
    again: list[float]
    plain: list[float]


def measure(rocket: Rocket, example: Example, *, rounds: int) -> Loads:
    deployed = rocket.deploy(example.name, example.path)
    if max(_loads(rocket, deployed)) / 1000 >= LOAD_SECONDS_MIN:
        until(lambda: bool(_events(rocket, deployed, "form_built")), what=f"{example.name}'s prepared form")
    again, plain = [], []
    for _ in range(rounds):
        plain.append(plain_load_ms(example))
        again.append(_load_again(rocket, deployed, example))
    return Loads(deployed.record.passport.load_ms, again, plain)


def plain_load_ms(example: Example) -> float:
    """In a process that has loaded nothing before."""
    command = [sys.executable, "-c", _PLAIN, str(example.path)]
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _load_again(rocket: Rocket, deployed: Deployed, example: Example) -> float:
    """Milliseconds of the load in a host that has just come back, by its own log."""
    before = _loads(rocket, deployed)
    old_pid = rocket.stack.kill("host-1")
    rocket.stack.wait_for_restart("host-1", old_pid=old_pid)
    lane = inference_lane(rocket.stack.port, example.inputs, deployed)
    until(lambda: _answers(lane), what=f"{example.name} to answer again")
    until(lambda: len(_loads(rocket, deployed)) > len(before), what="a load in the host's log")
    return _loads(rocket, deployed)[len(before)]


def _answers(lane: Lane) -> bool:
    try:
        expect_ok(lane)
    except (OSError, CannotServe):
        return False
    return True


def _loads(rocket: Rocket, deployed: Deployed) -> list[float]:
    """What each load of this version took, in milliseconds."""
    return [float(line["session_ms"]) for line in _events(rocket, deployed, "loaded")]


def _events(rocket: Rocket, deployed: Deployed, name: str) -> list[Mapping[str, Any]]:
    """What the host's log tells of this version."""
    lines = (json.loads(line) for line in rocket.stack.log("host-1").splitlines() if line.startswith("{"))
    version_id = deployed.record.version_id
    return [line for line in lines if line.get("event") == name and line.get("version") == version_id]
