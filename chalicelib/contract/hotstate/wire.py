"""Connections for the few commands that every inference request sends: packed bytes out, hiredis in.

`call` waits for a reply. `tell` does not: its replies are read, and ignored, before the connection is used
for the next `call`. A connection on which anything went wrong or took too long is closed, so that no reply
is ever taken for another's. RESP2.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import hiredis

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.health import Breaker
from chalicelib.contract.hotstate.connected import AWAY

_READ_BYTES: Final = 65_536
_UNREAD_MAX: Final = 64
"""Replies that may wait on a connection before it is read."""
_PORT: Final = 6379
_TIMEVAL: Final = struct.pack("ll", 0, int(limits.HOT_COMMAND_SECONDS_MAX * 1_000_000))

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """Lua, and what it is called by."""

    text: str
    sha1: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha1", hashlib.sha1(self.text.encode()).hexdigest().encode())

    def packed(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        return packed("EVALSHA", self.sha1, len(keys), *keys, *arguments)


def texts(*constants: Argument) -> tuple[bytes, ...]:
    """As they go out: for arguments that are always the same."""
    return tuple(str(one).encode() for one in constants)


def packed(*command: Argument) -> bytes:
    return bytes(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub means a tuple of one


class Wires:
    """A pool of connections to one server. Safe to use from many threads; lazy.

    `clock`: monotonic seconds. Every connection knows `scripts`.
    """

    def __init__(self, url: str, *, scripts: Sequence[Script], clock: Callable[[], float]) -> None:
        self._server = _Server.of(url)
        self._greeting = [*self._server.greeting(), *(packed("SCRIPT", "LOAD", one.text) for one in scripts)]
        self._clock = clock
        self._idle: deque[_Wire] = deque(maxlen=limits.HOT_CONNECTIONS_MAX)
        self.breaker = Breaker()

    def call(self, command: bytes) -> Any:
        """The reply. Raises DependencyFailed: after `HOT_COMMAND_SECONDS_MAX`, after some misses at once."""
        if not self.breaker.allows(now=self._clock()):
            raise DependencyFailed(AWAY)
        try:
            reply = self._call(command)
        except (OSError, hiredis.HiredisError) as error:
            self.breaker.missed(now=self._clock())
            raise DependencyFailed(AWAY) from error
        self.breaker.succeeded()
        return reply

    def tell(self, commands: bytes, *, count: int = 1) -> None:
        """Send so many commands and let their replies be. Raises nothing: what is lost heals by itself."""
        if not self.breaker.closed:  # to try whether it is there again, somebody has to wait for a reply
            return
        wire = self._take()
        try:
            wire = wire or self._open()
            wire.tell(commands, count)
        except (OSError, hiredis.HiredisError):
            self.breaker.missed(now=self._clock())
            if wire is not None:
                wire.close()
        else:
            self._idle.append(wire)

    def close(self) -> None:
        while (wire := self._take()) is not None:
            wire.close()

    def _call(self, command: bytes) -> Any:
        wire = self._take()
        if wire is not None:
            try:
                return self._use(wire, command)
            except OSError as error:  # nor are the others any better: they were idle for longer
                self.close()
                if not isinstance(error, ConnectionError):
                    raise
        return self._use(self._open(), command)

    def _use(self, wire: _Wire, command: bytes) -> Any:
        try:
            reply = wire.call(command)
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                wire.greet(self._greeting)
                reply = wire.call(command)
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        except BaseException:
            wire.close()
            raise
        self._idle.append(wire)
        return reply

    def _take(self) -> _Wire | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _open(self) -> _Wire:
        wire = _Wire(self._server.connect(), self._clock)
        try:
            wire.greet(self._greeting)
        except BaseException:
            wire.close()
            raise
        return wire


class _Wire:
    """One connection."""

    __slots__ = ("_clock", "_reader", "_socket", "_unread")

    def __init__(self, connected: socket.socket, clock: Callable[[], float]) -> None:
        self._socket = connected
        self._clock = clock
        self._reader = hiredis.Reader()
        self._unread = 0

    def call(self, command: bytes) -> Any:
        self._socket.sendall(command)
        self._read(self._unread)
        self._unread = 0
        return self._read(1)

    def tell(self, commands: bytes, count: int) -> None:
        if self._unread >= _UNREAD_MAX:
            self._read(self._unread)
            self._unread = 0
        self._socket.sendall(commands)
        self._unread += count

    def greet(self, greeting: Sequence[bytes]) -> None:
        self._socket.sendall(b"".join(greeting))
        for _ in greeting:
            reply = self._read(1)
            if isinstance(reply, hiredis.ReplyError):
                raise reply

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _read(self, count: int) -> Any:
        """The last of so many replies, all within the time for one."""
        reply: Any = None
        until = 0.0
        while count:
            reply = self._reader.gets()
            if reply is not False:
                count -= 1
                continue
            now = self._clock()
            until = until or now + limits.HOT_COMMAND_SECONDS_MAX
            if now >= until:
                raise TimeoutError("the hot state is too slow")
            received = self._socket.recv(_READ_BYTES)
            if not received:
                raise ConnectionResetError("the hot state closed the connection")
            self._reader.feed(received)
        return reply


@dataclass(frozen=True, slots=True)
class _Server:
    """Where it is and who we are to it."""

    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)
    database: int

    @classmethod
    def of(cls, url: str) -> _Server:
        """`redis[s]://[[user]:password@]host[:port][/database]`."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or _PORT,
            tls=parts.scheme == "rediss",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(parts.path.strip("/") or 0),
        )

    def greeting(self) -> list[bytes]:
        greeting = []
        if self.password:
            greeting.append(packed("AUTH", *((self.user,) if self.user else ()), self.password))
        if self.database:
            greeting.append(packed("SELECT", self.database))
        return greeting

    def connect(self) -> socket.socket:
        address = (self.host, self.port)
        connected = socket.create_connection(address, timeout=limits.HOT_COMMAND_SECONDS_MAX)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.tls:
            return ssl.create_default_context().wrap_socket(connected, server_hostname=self.host)
        connected.settimeout(None)  # the system keeps the time instead, without a poll before every call
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL)
        return connected
