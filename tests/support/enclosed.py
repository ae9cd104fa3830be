"""A fork server like the host's, small, whose children are closed in and then probed.

Run as `python -m tests.support.enclosed`: one JSON `Order` per line in, one `Report` out.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from host_container import sandbox
from tests.support.enclosure_probes import REPLACING, SECRET, World, io_uring_descriptor, outcome

NO_IO_URING: Final = "no io_uring"
_LIMIT_SECONDS: Final = 60


class Order(msgspec.Struct, frozen=True):
    """Fork, enclose, link `links` into the folder, run the probes.

    `without` names layers that the kernel is to be thought to lack: landlock, seccomp.
    """

    folder: str
    sibling: str
    stranger: int
    probes: tuple[str, ...] = ()
    links: dict[str, str] = {}
    enclosed: bool = True
    required: bool = True
    memory_bytes_max: int | None = None
    readable_files: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    parent: int | None = None
    without: tuple[str, ...] = ()
    with_thread: bool = False
    with_io_uring: bool = False
    orphaned: bool = False


class Report(msgspec.Struct):
    """`status` as waitpid(2) gives it; `environment` as others see it in /proc."""

    protection: sandbox.Protection | None = None
    refusal: str | None = None
    seconds: float = 0.0
    outcomes: dict[str, str] = {}
    environment: str | None = None
    limits: str = ""
    status: int = 0


class ForkServer:
    """The test's end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def probe(self, order: Order) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_line(order))
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Report)


@contextlib.contextmanager
def fork_server() -> Iterator[ForkServer]:
    environment = {**os.environ, SECRET: "not to be seen", "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "tests.support.enclosed"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        try:
            yield ForkServer(process)
        finally:
            process.kill()


def main() -> None:
    stray = os.open("/etc/passwd", os.O_RDONLY)
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        report = _orphan(order) if order.orphaned else _probe(order, stray)
        sys.stdout.buffer.write(_line(report))
        sys.stdout.buffer.flush()


def _probe(order: Order, stray: int) -> Report:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_probed(order, stray, theirs)
    theirs.close()
    with ours, ours.makefile("rb") as lines:
        report = msgspec.json.decode(lines.readline(), type=Report)
        if report.refusal is None:
            with contextlib.suppress(PermissionError):  # root may see it, unless it lacks the capability
                report.environment = Path(f"/proc/{child}/environ").read_text()
            report.limits = Path(f"/proc/{child}/limits").read_text()
            for name, source in order.links.items():
                os.link(source, Path(order.folder, name))
            ours.sendall(b"!")
        for line in lines:
            report.outcomes.update(msgspec.json.decode(line, type=dict[str, str]))
    report.status = os.waitpid(child, 0)[1]
    return report


def _be_probed(order: Order, stray: int, connection: socket.socket) -> None:
    world = World(order.folder, order.sibling, os.getppid(), order.stranger, stray)
    try:
        report = _enclose(order, connection.fileno()) if order.enclosed else Report()
        connection.sendall(_line(report))
        if report.refusal is None and connection.recv(1):
            for name in order.probes:
                _answer(name, world, connection, forked=not order.enclosed)
    finally:
        os._exit(0)


def _answer(name: str, world: World, connection: socket.socket, *, forked: bool) -> None:
    """Outside, each probe has a process of its own: some do what they try, and one never returns."""
    child = os.fork() if forked else 0
    if child == 0:
        seen = outcome(name, world)
        connection.sendall(_line({name: seen}))
        if forked:
            os._exit(0)
    elif name in REPLACING:
        connection.sendall(_line({name: "ok" if os.waitpid(child, 0)[1] == 0 else "failed"}))
    else:
        os.waitpid(child, 0)


def _line(message: object) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def _enclose(order: Order, connection: int) -> Report:
    if "landlock" in order.without:
        sandbox.landlock_abi = lambda: None
    if "seccomp" in order.without:
        sandbox._seccomp_available = lambda: False
    if order.with_thread:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    keep = {2, connection}
    if order.with_io_uring:
        try:
            keep.add(io_uring_descriptor())
        except OSError:
            return Report(refusal=NO_IO_URING)
    enclosure = sandbox.Enclosure(
        readable=(Path(order.folder),),
        readable_files=tuple(map(Path, order.readable_files)),
        devices=tuple(map(Path, order.devices)),
        keep_open=frozenset(keep),
        memory_bytes_max=order.memory_bytes_max,
        parent=order.parent or os.getppid(),
        required=order.required,
    )
    start = time.perf_counter()
    try:
        protection = sandbox.enclose(enclosure)
    except RuntimeError as error:
        return Report(refusal=f"{type(error).__name__}: {error}")
    return Report(protection=protection, seconds=time.perf_counter() - start)


def _orphan(order: Order) -> Report:
    """A child whose parent is killed: its end of the pipe closes when it is gone."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            report = _enclose(msgspec.structs.replace(order, parent=os.getppid()), writer)
            os.write(writer, msgspec.json.encode(report))
            time.sleep(_LIMIT_SECONDS)
            os._exit(0)
        os.close(writer)
        signal.pause()
    os.close(writer)
    report = msgspec.json.decode(os.read(reader, 65_536), type=Report)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    ready = select.select([reader], [], [], _LIMIT_SECONDS)[0]
    report.outcomes = {"after": "gone" if ready and os.read(reader, 1) == b"" else "alive"}
    os.close(reader)
    return report


if __name__ == "__main__":
    main()
