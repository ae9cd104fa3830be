"""Forks workers from a process that has onnxruntime imported already.

Importing takes most of a second and tens of megabytes; forking shares both. The
front asks over a socket pair, one message a worker, and hears of every worker
that ends. The server itself runs no model and opens no file of a tenant. It maps the code of a GPU's
libraries where there is one, and never initialises CUDA: workers would not survive that.

    asks   {"worker", "folder", "memory_bytes_max", "threads"} with the worker's ends of its socket and page
    hears  {"worker", "pid"} with a pidfd · {"worker", "ended": wait status}
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

import ml_dtypes  # noqa: F401 - what workers need must be there before they are closed in
import msgspec

from host_container.beacon import Beacon
from host_container.frames import Ended, Spawned, SpawnOrder
from host_container.gpu import preload
from host_container.providers import Provider, reach
from host_container.sandbox import Enclosure, enclose
from host_container.worker import Worker, World

_MESSAGE_BYTES_MAX: Final = 1 << 16
_DESCRIPTORS: Final = 2
_FILES_MAX: Final = {Provider.CPU: 64, Provider.CUDA: 1024, Provider.TENSORRT: 1024}
"""CUDA opens its devices many times over."""


def serve(control: socket.socket) -> None:
    """Until the front closes its end."""
    workers: dict[int, int] = {}
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    while True:
        readable, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, _MESSAGE_BYTES_MAX)
            _reap(control, workers)
        if control.fileno() in readable and not _serve_one(control, workers):
            return


def _serve_one(control: socket.socket, workers: dict[int, int]) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES_MAX, _DESCRIPTORS)
    if not message:
        return False
    order = msgspec.json.decode(message, type=SpawnOrder)
    preload(order.execution.provider)
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_worker(order, server, *descriptors)
    workers[pid] = order.worker
    for descriptor in descriptors:
        os.close(descriptor)
    pidfd = os.pidfd_open(pid)
    spawned = msgspec.json.encode(Spawned(order.worker, pid))
    socket.send_fds(control, [spawned], [pidfd])
    os.close(pidfd)
    return True


def _reap(control: socket.socket, workers: dict[int, int]) -> None:
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        worker = workers.pop(pid, None)
        if worker is not None:
            control.send(msgspec.json.encode(Ended(worker, os.waitstatus_to_exitcode(status))))


def _be_worker(order: SpawnOrder, server: int, connection: int, page: int) -> NoReturn:
    """In the child: never returns, whatever happens."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        beacon = Beacon(page)
        memory = os.open("/proc/self/statm", os.O_RDONLY)
        folder, reached = Path(order.folder), reach(order.execution)
        enclose(
            Enclosure(
                readable=(folder, *reached.folders),
                readable_files=reached.files,
                devices=reached.devices,
                keep_open=frozenset({connection, memory, 2}),
                memory_bytes_max=order.memory_bytes_max,
                files_max=_FILES_MAX[order.execution.provider],
                parent=server,
                required=order.sandbox_required,
            )
        )
        with socket.socket(fileno=connection) as end:
            world = World(
                folder=folder,
                beacon=beacon,
                threads=order.threads,
                memory=memory,
                now=time.monotonic,
                execution=order.execution,
            )
            Worker(end, world).serve()
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control)


if __name__ == "__main__":
    main()
