"""Peers under test: an environment of their own from locked files, and a server per model.

Environments are made in build/bench-venvs the first time a peer is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import wire
from benchmarks.cells import Lane, Serving
from benchmarks.children import REPOSITORY
from benchmarks.models import Example
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import CannotServe, expect_ok
from infra.local.ports import free_port

VENVS: Final = REPOSITORY / "build" / "bench-venvs"
PROGRAMS: Final = Path(__file__).with_name("peers")
BATCH_SIZE_MAX: Final = 64
_READY_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Launch:
    """One server about to start: where its files and its environment's programs are."""

    model: Path
    folder: Path
    programs: Path
    port: int
    batching: bool


@dataclass(frozen=True, slots=True)
class Command:
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one peer is started and asked."""

    command: Callable[[Launch], Command]
    batches: bool
    path: str = "/predict"
    body: Callable[[wire.Tensors], wire.Body] = wire.wrapped_body
    read: Callable[[wire.Body], Mapping[str, Any]] = wire.read_wrapped


@dataclass(frozen=True, slots=True)
class Peer:
    """A target: one peer, with or without its batching."""

    kind: str
    batching: bool
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.kind}, batching" if self.batching else self.kind

    @contextmanager
    def serving(self, example: Example) -> Iterator[Serving]:
        kind = KINDS[self.kind]
        programs = environment(self.kind)
        folder = self.folder / self.name.replace(", ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        launch = Launch(example.path, folder, programs, free_port(random.Random()), self.batching)
        requests = tuple(wire.post(kind.path, kind.body(inputs)) for inputs in example.inputs)
        lane = Lane("json", launch.port, lambda: requests, kind.read)
        with _running(kind.command(launch), folder) as process:
            _wait_until_ready(lane, process, folder)
            yield Serving((lane,), ProcessTree([process.pid]))


def peers(names: list[str], folder: Path) -> list[Peer]:
    """Each without batching, and once more with it where it has any."""
    found = []
    for name in names:
        found.append(Peer(name, False, folder))
        if KINDS[name].batches:
            found.append(Peer(name, True, folder))
    return found


def environment(name: str) -> Path:
    """The folder of its programs; made, or made anew when the locked file has changed."""
    locked = PROGRAMS / f"{name}.txt"
    folder = VENVS / name
    stamp, wanted = folder / ".installed", hashlib.sha256(locked.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing {name} into {folder.relative_to(REPOSITORY)} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([str(folder / "bin" / "python"), *install, "-r", str(locked)], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


def _program(name: str, *arguments: str) -> Callable[[Launch], Command]:
    """One of ours, run by the peer's Python."""
    return lambda launch: Command(
        (
            str(launch.programs / "python"),
            str(PROGRAMS / name),
            str(launch.model),
            str(launch.port),
            *arguments,
        )
    )


def _litserve(launch: Launch) -> Command:
    return _program("litserve_server.py", str(BATCH_SIZE_MAX if launch.batching else 1))(launch)


def _mlserver(launch: Launch) -> Command:
    generator = random.Random()
    settings = {
        "host": "127.0.0.1",
        "http_port": launch.port,
        "grpc_port": free_port(generator),
        "metrics_port": free_port(generator),
        "debug": False,
    }
    batching = {"max_batch_size": BATCH_SIZE_MAX, "max_batch_time": 0.002} if launch.batching else {}
    model = {
        "name": "model",
        "implementation": "mlserver_model.OnnxModel",
        "parameters": {"uri": str(launch.model)},
        **batching,
    }
    (launch.folder / "settings.json").write_text(json.dumps(settings))
    (launch.folder / "model-settings.json").write_text(json.dumps(model))
    return Command(
        (str(launch.programs / "mlserver"), "start", str(launch.folder)), {"PYTHONPATH": str(PROGRAMS)}
    )


def _bentoml(launch: Launch) -> Command:
    service = "Batched" if launch.batching else "Plain"
    address = ("--host", "127.0.0.1", "--port", str(launch.port))
    return Command(
        (str(launch.programs / "bentoml"), "serve", f"bentoml_service:{service}", *address),
        {
            "BENCH_MODEL": str(launch.model),
            "BENTOML_HOME": str(launch.folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PYTHONPATH": str(PROGRAMS),
        },
    )


KINDS: Final[Mapping[str, Kind]] = {
    "fastapi": Kind(_program("fastapi_server.py"), batches=False),
    "litserve": Kind(_litserve, batches=True),
    "mlserver": Kind(
        _mlserver, batches=True, path="/v2/models/model/infer", body=wire.v2_json_body, read=wire.read_v2
    ),
    "bentoml": Kind(_bentoml, batches=True, body=wire.listed_body, read=wire.read_listed),
}
NAMES: Final = tuple(KINDS)


@contextmanager
def _running(command: Command, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server and whatever it starts, until the block ends."""
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command.arguments,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", **command.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _kill_session(process.pid)
        process.wait()


def _kill_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_until_ready(lane: Lane, process: subprocess.Popen[bytes], folder: Path) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while True:
        try:
            expect_ok(lane)
            return
        except (OSError, CannotServe) as error:
            if process.poll() is not None or time.monotonic() > give_up_at:
                log = (folder / "output.log").relative_to(REPOSITORY)
                raise CannotServe(f"{error}; see {log}") from error
        time.sleep(_PAUSE_SECONDS)
