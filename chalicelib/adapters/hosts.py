"""Inference requests to hosts: as little of HTTP/1.1 as our own hosts speak, over kept-alive sockets.

Goes to the address of the heartbeat literally: no DNS, no redirects, no proxies, no retries of its own. One
`timeout` is for everything, from connecting to the last byte. A connection that broke or ran out of time
takes the idle ones to that host with it: if the line was cut, they all were, and one request alone pays.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.messages import Heartbeat
from chalicelib.ports import HostReply, HostUnreachable

_IDLE_MAX: Final = 64
"""Connections kept to one host."""
_IDLE_SECONDS_MAX: Final = limits.IDLE_SECONDS_MAX - 10
"""The host closes what has been idle a little longer."""
_READ_BYTES: Final = 65_536
_STEP_SECONDS: Final = 0.05
"""By so much an answer may be late."""
_SENT_AT_ONCE_BYTES: Final = 65_536
"""The system takes as much without waiting for the other end: sending takes no time to speak of."""
_LENGTH_DIGITS_MAX: Final = 20
_HEAD_END: Final = b"\r\n\r\n"
_STATUS: Final = b"HTTP/1.1 "
_STATUS_END: Final = len(_STATUS) + 3

Place = tuple[str, int]


class _NotHttp(Exception):
    """The other end does not speak as a host does."""


class HttpHostCalls:
    """Implements `ports.HostCalls`. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._idle: dict[Place, deque[_Line]] = {}

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        place = (host.address, host.port)
        until = self._clock() + timeout
        line = self._kept(place)
        try:
            if line is None:
                self._tidy()
                line = _Line.open(place, timeout=min(limits.CONNECT_SECONDS_MAX, timeout))
            reply, keep = line.ask(_request(body, headers), until, self._clock)
        except TimeoutError as error:
            self._broken(place, line)
            raise HostUnreachable("the host is silent", timed_out=line is not None) from error
        except (OSError, _NotHttp) as error:
            self._broken(place, line)
            raise HostUnreachable("the connection to the host broke", timed_out=False) from error
        if keep:
            line.used_at = self._clock()
            self._idle.setdefault(place, deque(maxlen=_IDLE_MAX)).append(line)
        else:
            line.close()
        return reply

    def _kept(self, place: Place) -> _Line | None:
        """The one used last that is still good."""
        idle = self._idle.get(place)
        while idle:
            try:
                line = idle.pop()
            except IndexError:  # another thread took it
                return None
            if line.silent() and self._clock() - line.used_at < _IDLE_SECONDS_MAX:
                return line
            line.close()
        return None

    def _tidy(self) -> None:
        """Hosts come and go: what nobody has used for long is closed."""
        for idle in list(self._idle.values()):
            with contextlib.suppress(IndexError):  # other threads take from it too
                while self._clock() - idle[0].used_at >= _IDLE_SECONDS_MAX:
                    idle.popleft().close()

    def _broken(self, place: Place, line: _Line | None) -> None:
        if line is not None:
            line.close()
        for other in self._idle.pop(place, ()):
            other.close()


class _Line:
    """One connection."""

    __slots__ = ("_poll", "_seconds", "_socket", "used_at")

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(None)  # the system keeps the time instead, without a poll before every call
        self._socket = connected
        self._seconds = 0.0
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self.used_at = 0.0

    @classmethod
    def open(cls, place: Place, *, timeout: float) -> _Line:
        connected = socket.create_connection(place, timeout=timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connected)

    def silent(self) -> bool:
        """Neither closed at the other end, nor anything there that nobody asked for."""
        return not self._poll.poll(0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def ask(self, request: bytes, until: float, clock: Callable[[], float]) -> tuple[HostReply, bool]:
        """The answer, and whether the connection may be used again. Raises OSError, _NotHttp."""
        self._wait_until(until, clock)
        try:
            self._socket.sendall(request)
        except BlockingIOError:
            raise TimeoutError from None
        received = self._received() if len(request) <= _SENT_AT_ONCE_BYTES else self._receive(until, clock)
        while (head_end := received.find(_HEAD_END)) < 0:
            if len(received) > limits.HEADER_BYTES_MAX:
                raise _NotHttp
            received += self._receive(until, clock)
        status, headers = _read_head(received[:head_end])
        start = head_end + len(_HEAD_END)
        body = self._body(received, start, _length(headers), until, clock)
        return HostReply(status, body, headers), headers.get("connection", "").lower() != "close"

    def _body(
        self, received: bytes, start: int, length: int, until: float, clock: Callable[[], float]
    ) -> bytes:
        missing = start + length - len(received)
        if missing < 0:
            raise _NotHttp
        if not missing:
            return received[start:]
        pieces = [received[start:]]
        while missing:
            piece = self._receive(until, clock)
            missing -= len(piece)
            if missing < 0:
                raise _NotHttp
            pieces.append(piece)
        return b"".join(pieces)

    def _receive(self, until: float, clock: Callable[[], float]) -> bytes:
        self._wait_until(until, clock)
        return self._received()

    def _received(self) -> bytes:
        """By when the system knows."""
        try:
            received = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            raise TimeoutError from None
        if not received:
            raise ConnectionResetError("closed by the host")
        return received

    def _wait_until(self, until: float, clock: Callable[[], float]) -> None:
        """Tells the system, where it does not know yet. In steps: most requests have the same."""
        left = until - clock()
        if left <= 0:
            raise TimeoutError
        seconds = math.ceil(left / _STEP_SECONDS) * _STEP_SECONDS
        if seconds != self._seconds:
            self._seconds = seconds
            whole, part = divmod(seconds, 1)
            timeval = struct.pack("ll", int(whole), int(part * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def _request(body: bytes, headers: dict[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"POST /infer HTTP/1.1\r\nHost: host\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, names in lower case."""
    first, *lines = head.decode("latin-1").split("\r\n")
    status = first[len(_STATUS) : _STATUS_END]
    if not head.startswith(_STATUS) or not status.isdecimal():
        raise _NotHttp
    pairs = [line.split(":", 1) for line in lines]
    try:
        return int(status), {name.lower(): value.strip() for name, value in pairs}
    except ValueError:
        raise _NotHttp from None


def _length(headers: dict[str, str]) -> int:
    """Hosts always say how long an answer is. One that is too long is not read."""
    length = headers.get("content-length", "")
    if not length.isdecimal() or len(length) > _LENGTH_DIGITS_MAX or int(length) > limits.RESPONSE_BYTES_MAX:
        raise _NotHttp
    return int(length)
