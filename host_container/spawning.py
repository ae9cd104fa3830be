"""The fork server as the front sees it: started, asked for workers, heard of what became of them.

Owned by the event loop; nothing here blocks it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from host_container import environment, heap
from host_container.events import EventLog
from host_container.frames import Event, SpawnOrder

_COMPLAINT_LENGTH_MAX: Final = 2_000
_WATCH_SECONDS: Final = 0.5
_MESSAGE_BYTES_MAX: Final = 1 << 16

Told = Callable[[Event, list[int]], None]
"""Called with what became of a worker, and the descriptors that came with it: a pidfd of one just forked."""


class Spawner:
    """One fork server. What it forks dies with it."""

    def __init__(self, *, events: EventLog, told: Told) -> None:
        self._events = events
        self._told = told
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Imports take it most of a second; nobody waits here."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-m", "host_container.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # a worker may write to a pipe, to no file
                env=environment.bare(**heap.environment()),
                start_new_session=True,
            )
        self._control = ours
        assert self._server.stderr is not None
        os.set_blocking(self._server.stderr.fileno(), False)
        asyncio.get_running_loop().add_reader(self._server.stderr.fileno(), self._overhear)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    def close(self) -> None:
        """Kill it, and so all it forked."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
        if self._server is not None and self._server.stderr is not None:
            asyncio.get_running_loop().remove_reader(self._server.stderr.fileno())
            self._server.stderr.close()
            self._server.kill()
            self._server.wait()

    async def watch(self) -> None:
        """Returns when it has ended: without it the host is of no use."""
        while self._server is None or self._server.poll() is None:
            await asyncio.sleep(_WATCH_SECONDS)
        self._events.write("fork_server_ended", exit_code=self._server.returncode)

    def spawn(self, order: SpawnOrder, *, connection: socket.socket, page: int) -> None:
        """The worker gets copies of both: its end of a connection, and the page it shares."""
        assert self._control is not None, "not started"
        socket.send_fds(self._control, [msgspec.json.encode(order)], [connection.fileno(), page])

    def _overhear(self) -> None:
        """What workers complain of, a little of it."""
        assert self._server is not None and self._server.stderr is not None
        complaint = self._server.stderr.read(_MESSAGE_BYTES_MAX)
        if complaint:
            text = complaint[-_COMPLAINT_LENGTH_MAX:].decode(errors="replace")
            self._events.write("worker_stderr", text=text)
        elif complaint == b"":
            asyncio.get_running_loop().remove_reader(self._server.stderr.fileno())

    def _hear(self) -> None:
        assert self._control is not None
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES_MAX, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                message = b""
            if not message:
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                return
            self._told(msgspec.json.decode(message, type=Event), descriptors)
