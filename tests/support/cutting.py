"""A TCP proxy that cuts every connection once, in the middle of what is sent."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from infra.local.ports import LOOPBACK

_READ_BYTES: Final = 1 << 18
_PAUSE_SECONDS: Final = 0.05
_RESET: Final = struct.pack("ii", 1, 0)
"""Closing sends no farewell: the other side sees a connection reset."""


class CuttingProxy:
    """Passes on to a port of this machine. `sent` bytes have gone there; `cuts` connections were cut.

    When `cut_after` bytes have gone, all connections end at once. Later ones are left alone.
    """

    def __init__(self, upstream: int, *, cut_after: int) -> None:
        self._upstream = upstream
        self._cut_after = cut_after
        self._listener = socket.create_server((LOOPBACK, 0))
        self._lock = threading.Lock()
        self._cut = threading.Event()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        self.cuts = 0

    def serve(self) -> None:
        """Until `close`."""
        while not self._closed.is_set():
            if select.select([self._listener], [], [], _PAUSE_SECONDS)[0]:
                caller, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(caller, self._cut.is_set()))
                self._threads.append(thread)
                thread.start()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def close(self) -> None:
        self._closed.set()

    def _pass_on(self, caller: socket.socket, spared: bool) -> None:
        with caller, socket.create_connection((LOOPBACK, self._upstream)) as server:
            other = {caller: server, server: caller}
            while not self._closed.is_set() and (spared or not self._cut.is_set()):
                for one in select.select(list(other), [], [], _PAUSE_SECONDS)[0]:
                    data = one.recv(_READ_BYTES)
                    if not data:
                        return
                    other[one].sendall(data)
                    if one is caller:
                        self._count(len(data))
            for one in other:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with self._lock:
                self.cuts += not self._closed.is_set()

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent += size
        if self.sent >= self._cut_after:
            self._cut.set()


@contextmanager
def cutting_proxy(upstream: int, *, cut_after: int) -> Iterator[CuttingProxy]:
    """Nothing of it is left behind."""
    proxy = CuttingProxy(upstream, cut_after=cut_after)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
