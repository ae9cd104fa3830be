"""Requests to other hosts, on the event loop: as little of HTTP/1.1 as hosts speak, over kept-alive
connections.

Goes to the address of a heartbeat literally: no DNS, no redirects, no retries of its own. A connection that
broke or ran out of time takes the idle ones to that host with it: if the line was cut, they all were. Large
answers are only read when there is room for them, as large bodies are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import httptools

from chalicelib.contract import limits
from host_container.fairness import Room

_IDLE_MAX: Final = 64
"""Connections kept to one host, which closes what has been idle for a while."""
_SMALL_BYTES: Final = 64 * 1024
"""A body up to this size goes out in one piece with its head."""

Place = tuple[str, int]
Body = bytes | bytearray | memoryview


class Unreachable(Exception):
    """The other host could not be reached, broke off, was too slow, or does not speak as hosts do."""

    def __init__(self, message: str, *, timed_out: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out


@dataclass(slots=True)
class Reply:
    """Names of headers are in lower case. `held`: bytes that are reserved for the body until `release`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    caller: str
    held: int = 0


class Lines:
    """Connections to other hosts. Owned by the event loop. `room` is where large answers are kept."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._idle: dict[Place, list[_Line]] = {}

    async def ask(self, place: Place, head: bytes, body: Body, *, caller: str, seconds: float) -> Reply:
        """Cancelled, the other end hears that nobody waits. Raises Unreachable."""
        idle = self._idle.get(place)
        line = idle.pop() if idle else None
        try:
            async with asyncio.timeout(seconds):
                line = line or await self._connected(place, min(limits.CONNECT_SECONDS_MAX, seconds))
                reply = await line.ask(head, body, caller)
            reply.held = line.hand_over()
        except (TimeoutError, OSError, Unreachable) as error:
            self._drop(place)
            timed_out = isinstance(error, TimeoutError) and line is not None
            raise Unreachable(str(error), timed_out=timed_out) from error
        finally:
            if line is not None:
                line.end()
        if line.usable:
            self._keep(place, line)
        else:
            line.close()
        return reply

    def release(self, reply: Reply) -> None:
        """Its body is not needed any more."""
        if reply.held:
            held, reply.held = reply.held, 0
            self._room.give_back(reply.caller, held)

    def forget(self, place: Place, line: _Line) -> None:
        """It was closed."""
        idle = self._idle.get(place, [])
        if line in idle:
            idle.remove(line)

    def close(self) -> None:
        for place in tuple(self._idle):
            self._drop(place)

    async def _connected(self, place: Place, seconds: float) -> _Line:
        async with asyncio.timeout(seconds):
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _Line(self, self._room, place), *place
            )
        return protocol

    def _keep(self, place: Place, line: _Line) -> None:
        idle = self._idle.setdefault(place, [])
        if len(idle) < _IDLE_MAX:
            idle.append(line)
        else:
            line.close()

    def _drop(self, place: Place) -> None:
        for line in self._idle.pop(place, []):
            line.close()


class _Line(asyncio.Protocol):
    """One connection, with at most one request under way. httptools calls the `on_*` methods."""

    def __init__(self, lines: Lines, room: Room, place: Place) -> None:
        self._lines = lines
        self._room = room
        self._place = place
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Reply] | None = None
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._received = self._length = self._held = 0
        self._caller = ""
        self._waits_for_room = False
        self._keeps_alive = False

    @property
    def usable(self) -> bool:
        """For another request."""
        return self._keeps_alive and not self._transport.is_closing()

    async def ask(self, head: bytes, body: Body, caller: str) -> Reply:
        """Raises Unreachable."""
        self._answer = asyncio.get_running_loop().create_future()
        self._caller, self._keeps_alive = caller, False
        self._headers, self._pieces, self._received = {}, [], 0
        if len(body) <= _SMALL_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return await self._answer

    def hand_over(self) -> int:
        """The answer is its asker's: how many bytes are reserved for it."""
        held, self._held, self._answer = self._held, 0, None
        return held

    def end(self) -> None:
        """Nobody waits any more. Closed, where no answer was handed over."""
        if self._answer is None:
            return
        self._answer = None
        self._keeps_alive = False
        if self._waits_for_room:
            self._room.forget(self._caller, self._has_room)
            self._waits_for_room = False
        if self._held:
            self._room.give_back(self._caller, self._held)
            self._held = 0
        self.close()

    def close(self) -> None:
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one

    def connection_lost(self, error: Exception | None) -> None:
        self._keeps_alive = False
        self._lines.forget(self._place, self)
        self._fail("the connection to the host broke")

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked for anything
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self._fail("the host does not speak as hosts do")
            self.close()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._received += len(name) + len(value)
        if self._received > limits.HEADER_BYTES_MAX:
            raise ValueError("too many headers")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        self._length = int(length) if length.isdecimal() else -1
        if not 0 <= self._length <= limits.RESPONSE_BYTES_MAX:
            raise ValueError("an answer of no length, or too long")
        if self._length >= limits.LARGE_BODY_BYTES_MIN:
            if self._room.take(self._caller, self._length, self._has_room):
                self._held = self._length
            else:
                self._waits_for_room = True
                self._transport.pause_reading()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        answer = self._answer
        self._keeps_alive = self._parser.should_keep_alive()
        if answer is not None and not answer.done():
            status, body = self._parser.get_status_code(), b"".join(self._pieces)
            self._pieces = []
            answer.set_result(Reply(status, self._headers, body, self._caller))

    def _has_room(self) -> None:
        self._waits_for_room = False
        self._held = self._length
        self._transport.resume_reading()

    def _fail(self, message: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unreachable(message, timed_out=False))
