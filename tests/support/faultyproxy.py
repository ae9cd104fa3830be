"""A TCP proxy whose line can be made slow, silent, deaf or broken while it runs."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, TypeVar

from infra.local.ports import LOOPBACK

_READ_BYTES: Final = 1 << 18
_PAUSE_SECONDS: Final = 0.02
_RESET: Final = struct.pack("ii", 1, 0)
"""Closing sends no farewell: the other side sees a connection reset."""


class Line(StrEnum):
    """What becomes of bytes. Connections are accepted in every state.

    PASS: they arrive. DELAY: answers come `delay` seconds late. BLACKHOLE: nothing arrives anywhere.
    DROP_REPLY: requests arrive, answers do not. CUT: every connection is reset, new ones too.
    """

    PASS = "pass"
    DELAY = "delay"
    BLACKHOLE = "blackhole"
    DROP_REPLY = "drop_reply"
    CUT = "cut"


class FaultyProxy:
    """Passes on to a port of this machine. `connections`: how many there were; `open`: how many there are.

    What is sent into a line that is not PASS is lost, and stays lost when it is healed.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server((LOOPBACK, 0))
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.line = Line.PASS
        self.delay = 0.0
        self.connections = 0
        self.open = 0

    def serve(self) -> None:
        """Until `close`."""
        while not self._closed.is_set():
            if select.select([self._listener], [], [], _PAUSE_SECONDS)[0]:
                caller, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._pass_on, args=(caller,))
                self._threads.append(thread)
                thread.start()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def close(self) -> None:
        self._closed.set()

    def _pass_on(self, caller: socket.socket) -> None:
        self.open += 1
        try:
            with caller, contextlib.suppress(OSError):
                server = socket.create_connection((LOOPBACK, self._upstream))
                with server:
                    self._shuttle(caller, server)
        finally:
            self.open -= 1

    def _shuttle(self, caller: socket.socket, server: socket.socket) -> None:
        other = {caller: server, server: caller}
        while not self._closed.is_set():
            if self._is_cut(caller):
                for one in other:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            for one in select.select(list(other), [], [], _PAUSE_SECONDS)[0]:
                received = one.recv(_READ_BYTES)
                if not received:
                    return
                if self._arrives(reply=one is server):
                    other[one].sendall(self._changed(received))
                    self._passed(len(received), reply=one is server)

    def _is_cut(self, caller: socket.socket) -> bool:
        """Whether this caller's connection is to end now."""
        return self.line is Line.CUT

    def _changed(self, received: bytes) -> bytes:
        """What arrives of it."""
        return received

    def _passed(self, size: int, *, reply: bool) -> None:
        """So many bytes went on."""

    def _arrives(self, *, reply: bool) -> bool:
        if reply and self.line is Line.DELAY:
            time.sleep(self.delay)
        return self.line in (Line.PASS, Line.DELAY) or (self.line is Line.DROP_REPLY and not reply)


Proxy = TypeVar("Proxy", bound=FaultyProxy)


@contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    """Nothing of it is left behind."""
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


@contextmanager
def faulty_proxy(upstream: int) -> Iterator[FaultyProxy]:
    """On a line that passes everything on, until a test says otherwise."""
    with serving(FaultyProxy(upstream)) as proxy:
        yield proxy
