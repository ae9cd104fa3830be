"""Connections to the hot state that go stale, and a server that comes back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate.wire import Wires, packed
from infra.local.embedded import EmbeddedServers
from tests.support.faultyproxy import FaultyProxy, Line
from tests.support.links import port_of

PING = packed("PING")


class Clock:
    """Real time, and as much more as a test wants."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Middlebox(FaultyProxy):
    """One that forgets connections: nothing arrives on them any more, and nobody is told."""

    def __init__(self, upstream: int) -> None:
        super().__init__(upstream)
        self._here = threading.local()
        self._forgotten = 0

    def forget(self) -> None:
        self._forgotten = self.connections

    def _shuttle(self, caller: socket.socket, server: socket.socket) -> None:
        self._here.number = self.connections
        super()._shuttle(caller, server)

    def _arrives(self, *, reply: bool) -> bool:
        return self._here.number > self._forgotten and super()._arrives(reply=reply)


@pytest.fixture
def proxy(servers: EmbeddedServers) -> Iterator[Middlebox]:
    proxy = Middlebox(port_of(servers.connections.redis_urls["gateway"]))
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


@contextmanager
def wires_through(servers: EmbeddedServers, proxy: Middlebox, clock: Clock) -> Iterator[Wires]:
    parts = urlsplit(servers.connections.redis_urls["gateway"])
    address = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}"
    wires = Wires(parts._replace(netloc=address).geturl(), scripts=(), clock=clock)
    try:
        yield wires
    finally:
        wires.close()


def served(wires: Wires) -> bool:
    try:
        return bool(wires.call(PING) == b"PONG")
    except DependencyFailed:
        return False


def connected(wires: Wires, proxy: Middlebox, count: int) -> None:
    """So many idle connections."""
    for _ in range(100):
        threads = [threading.Thread(target=served, args=(wires,)) for _ in range(2 * count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(wires._idle) >= count:
            return
    raise AssertionError("no threads met")


def test_f01_what_nobody_waits_for_does_not_keep_a_circuit_open(
    servers: EmbeddedServers, proxy: Middlebox
) -> None:
    """Requests of more than a second each, one after the other: each ends right before the next begins."""
    clock = Clock()
    with wires_through(servers, proxy, clock) as wires:
        proxy.line = Line.CUT
        for _ in range(limits.HOT_MISSES_MAX):
            assert not served(wires)
        proxy.line = Line.PASS
        answers = []
        for _ in range(4):
            clock.ahead += limits.HOT_PROBE_SECONDS + 0.5
            wires.tell(PING)
            answers.append(served(wires))
    assert answers[-1]


def test_f52_connections_that_went_silent_while_nobody_ran_cost_at_most_one_question(
    servers: EmbeddedServers, proxy: Middlebox
) -> None:
    with wires_through(servers, proxy, Clock()) as wires:
        connected(wires, proxy, 3)
        proxy.forget()
        answers = [served(wires) for _ in range(4)]
    assert answers[1:] == [True] * 3
