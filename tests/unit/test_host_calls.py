"""Requests to hosts over kept-alive sockets: the other end is a real socket that a test plays."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from chalicelib.adapters.hosts import HttpHostCalls
from chalicelib.contract import limits
from chalicelib.contract.messages import Heartbeat
from chalicelib.ports import HostReply, HostUnreachable
from tests.unit.test_choice import host

Turn = Callable[[socket.socket, bytes], bool]
"""What becomes of one request; False ends the connection."""
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nServer-Timing: run;dur=1\r\n\r\nhi"


class Played:
    """A host of one turn after the other; the last is repeated. `requests` came, over `connections`."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self.connections = 0
        self.at: Heartbeat = msgspec.structs.replace(host("a"), port=self._listener.getsockname()[1])

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._speak, args=(caller,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _speak(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            while request := caller.recv(65_536):
                self.requests.append(request)
                turn = self._turns[min(len(self.requests), len(self._turns)) - 1]
                if not turn(caller, request):
                    return


@contextmanager
def played(*turns: Turn) -> Iterator[Played]:
    host = Played(list(turns))
    thread = threading.Thread(target=host.serve)
    thread.start()
    try:
        yield host
    finally:
        host.close()
        thread.join()


def says(answer: bytes, *, stay: bool = True) -> Turn:
    def turn(caller: socket.socket, _: bytes) -> bool:
        caller.sendall(answer)
        return stay

    return turn


def hangs(caller: socket.socket, _: bytes) -> bool:
    return caller.recv(1) != b""


def trickles(caller: socket.socket, _: bytes) -> bool:
    """A byte every 50 ms, for ever."""
    caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        caller.sendall(b"x")
        time.sleep(0.05)


def ask(calls: HttpHostCalls, at: Heartbeat, body: bytes = b"[1]", *, timeout: float = 5.0) -> HostReply:
    return calls.infer(at, body, headers={"X-Rocket-Ticket": "t"}, timeout=timeout)


def test_a_request_is_one_message_and_its_answer_is_read_whole() -> None:
    calls = HttpHostCalls()
    with played(says(OK)) as host:
        replies = [ask(calls, host.at) for _ in range(3)]
    assert replies == [HostReply(200, b"hi", {"content-length": "2", "server-timing": "run;dur=1"})] * 3
    assert host.requests[0] == (
        b"POST /infer HTTP/1.1\r\nHost: host\r\nX-Rocket-Ticket: t\r\nContent-Length: 3\r\n\r\n[1]"
    )
    assert host.connections == 1


def test_an_answer_may_come_in_pieces() -> None:
    def drip(caller: socket.socket, _: bytes) -> bool:
        for byte in OK:
            caller.sendall(bytes([byte]))
        return True

    with played(drip) as host:
        assert ask(HttpHostCalls(), host.at).body == b"hi"


def test_a_large_body_and_a_large_answer() -> None:
    body, answer = b"x" * 4_000_000, b"y" * 3_000_000

    def turn(caller: socket.socket, request: bytes) -> bool:
        missing = len(body) - len(request.partition(b"\r\n\r\n")[2])
        while missing:
            missing -= len(caller.recv(65_536))
        caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + answer)
        return True

    with played(turn) as host:
        assert ask(HttpHostCalls(), host.at, body).body == answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"nonsense\r\n\r\n", id="not http"),
        pytest.param(b"HTTP/1.1 abc OK\r\ncontent-length: 2\r\n\r\nhi", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhi", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhi", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nhi", id="too long"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5_000 + b"\r\n\r\nhi", id="endless length"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nhi", id="more than told"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\nhi", id="header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * limits.HEADER_BYTES_MAX + b"y" * 70_000, id="endless head"
        ),
    ],
)
def test_f71_what_is_no_answer_of_a_host_breaks_the_connection(answer: bytes) -> None:
    calls = HttpHostCalls()
    with played(says(answer), says(OK)) as host:
        with pytest.raises(HostUnreachable) as raised:
            ask(calls, host.at)
        assert not raised.value.timed_out
        assert ask(calls, host.at).body == b"hi"
        assert host.connections == 2


@pytest.mark.parametrize("turn", [hangs, trickles])
def test_f29_the_time_is_for_everything_together(turn: Turn) -> None:
    """However many bytes keep coming."""
    with played(turn) as host, pytest.raises(HostUnreachable) as raised:
        ask(HttpHostCalls(), host.at, timeout=0.3)
    assert raised.value.timed_out


def test_f43_a_connection_that_was_closed_meanwhile_costs_no_try() -> None:
    calls = HttpHostCalls()
    with played(says(OK, stay=False), says(OK)) as host:
        assert ask(calls, host.at).body == b"hi"
        while not calls._idle[host.at.address, host.at.port][0]._poll.poll(0):
            time.sleep(0.01)
        assert ask(calls, host.at).body == b"hi"
        assert len(host.requests) == 2


def test_f43_when_the_line_was_cut_one_request_pays_for_all_idle_connections() -> None:
    """They say nothing any more, and nobody told this end."""
    calls, together = HttpHostCalls(), threading.Barrier(4)

    def meets(caller: socket.socket, request: bytes) -> bool:
        together.wait()
        return says(OK)(caller, request)

    with played(*[meets] * 4, hangs, says(OK)) as host:
        threads = [threading.Thread(target=ask, args=(calls, host.at)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls._idle[host.at.address, host.at.port]) == 4
        with pytest.raises(HostUnreachable):
            ask(calls, host.at, timeout=0.2)
        assert ask(calls, host.at).body == b"hi"
        assert host.connections == 5, "none of the old ones was tried again"


def test_a_request_that_was_cut_off_is_not_sent_again() -> None:
    with played(lambda *_: False) as host:
        with pytest.raises(HostUnreachable) as raised:
            ask(HttpHostCalls(), host.at)
        assert not raised.value.timed_out
        assert len(host.requests) == 1


@pytest.mark.parametrize("close", [b"close", b"Close"])
def test_a_host_that_says_close_is_not_spoken_to_on_that_connection(close: bytes) -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: %s\r\n\r\n" % close)
    calls = HttpHostCalls()
    with played(says(closing)) as host:
        for _ in range(2):
            assert ask(calls, host.at).body == b"hi"
        assert host.connections == 2


def test_f40_nobody_there_is_told_soon() -> None:
    with played(says(OK)) as host:
        at = host.at
    with pytest.raises(HostUnreachable) as raised:
        ask(HttpHostCalls(), at)
    assert not raised.value.timed_out


def test_no_connection_is_kept_longer_than_the_host_keeps_it() -> None:
    now = [0.0]
    calls = HttpHostCalls(lambda: now[0])
    with played(says(OK)) as host:
        ask(calls, host.at)
        now[0] += limits.IDLE_SECONDS_MAX
        ask(calls, host.at)
        assert host.connections == 2


def test_connections_to_a_host_that_nobody_asks_any_more_are_closed() -> None:
    now = [0.0]
    calls = HttpHostCalls(lambda: now[0])
    left = threading.Event()

    def turn(caller: socket.socket, request: bytes) -> bool:
        says(OK)(caller, request)
        if not caller.recv(1):
            left.set()
        return False

    with played(turn) as gone, played(says(OK)) as host:
        ask(calls, gone.at)
        now[0] += limits.IDLE_SECONDS_MAX
        ask(calls, host.at)
        assert left.wait(5)


def test_s11_the_time_that_sending_takes_is_not_given_again_for_the_answer() -> None:
    now, body = [0.0], bytes(8 * limits.MIB)

    def reads_slowly(caller: socket.socket, request: bytes) -> bool:
        now[0] = 6.0
        left = len(body) - len(request)
        while left > 0:
            left -= len(caller.recv(limits.MIB))
        return says(OK)(caller, b"")

    with played(reads_slowly) as host, pytest.raises(HostUnreachable) as raised:
        ask(HttpHostCalls(lambda: now[0]), host.at, body, timeout=5.0)
    assert raised.value.timed_out
