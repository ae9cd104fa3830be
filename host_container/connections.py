"""TCP connections to a host: their time limits, and one request after the other.

Requests of one connection are answered in order; connections share turns and room by their callers. A
client that goes away takes its waiting work with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, cast

from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError, Overloaded, RequestTimeout
from host_container.fairness import Room, Turns
from host_container.front import Cancel, Door, failure
from host_container.http1 import CONTINUE, Request, RequestReader

_BACKLOG: Final = 1024
_SWEEP_SECONDS: Final = 0.5
_FOREVER: Final = float("inf")
_READ_SECONDS: Final = 0.000_1
"""What it takes to fetch one piece of a body from the kernel, up to 256 KB, before we see it."""


class _Phase(Enum):
    """What a connection waits for, and how long it may."""

    IDLE = limits.IDLE_SECONDS_MAX
    HEADERS = limits.HEADER_SECONDS_MAX
    BODY = limits.BODY_SECONDS_MAX
    ROOM = limits.DEADLINE_SECONDS_DEFAULT
    ANSWER = _FOREVER
    READER = limits.WRITE_SECONDS_MAX


class _Pause(Enum):
    """Why nothing is read."""

    PIPELINE = auto()
    ROOM = auto()
    TURN = auto()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections have in common."""

    turns: Turns
    room: Room
    connections: set[Connection] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """One TCP connection: at most one request being answered, the next ones waiting."""

    def __init__(self, door: Door, shared: Shared) -> None:
        self._door = door
        self._shared = shared
        self._turns = shared.turns
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._broken: ModelRocketError | None = None
        self._answering: Request | None = None
        self._in_turn = False
        self._cancel: Cancel | None = None
        self._transport: asyncio.Transport
        self._caller = self._room_as = ""
        self._writable = True
        self._pauses: set[_Pause] = set()
        self._gone = False
        self._phase = _Phase.IDLE
        self._since = door.clock()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one
        if len(self._shared.connections) >= limits.CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._shared.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._caller = f"@{peer[0]}" if peer else "@"

    def connection_lost(self, error: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._gone = True
        if self._cancel is not None:
            self._cancel()
        if _Pause.ROOM in self._pauses:
            self._shared.room.forget(self._room_as, self._has_room)
        for request in (self._answering, *self._waiting, self._reader.request):
            self._leave_room(request)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._broken is not None:
            return
        started = self._door.clock()
        try:
            self._waiting.extend(self._reader.feed(data))
        except ModelRocketError as error:
            self._broken = error
        if len(self._waiting) > limits.PIPELINE_MAX:
            self._pause(_Pause.PIPELINE)
        if self._reader.in_body:
            self._share(started)
        self._go_on()

    def pause_writing(self) -> None:
        self._writable = False
        self._note_phase()

    def resume_writing(self) -> None:
        self._writable = True
        self._go_on()

    # What the sweep calls.

    def expire(self, now: float) -> None:
        """Close it when what it waits for has not come in time."""
        if now - self._since <= self._phase.value:
            return
        if self._phase in (_Phase.HEADERS, _Phase.BODY):
            self._break_off(RequestTimeout("The request did not arrive in time."))
        elif self._phase is _Phase.ROOM:
            self._break_off(Overloaded("This host had no room for a body of this size. Try again shortly."))
        elif self._phase is _Phase.READER:
            self._transport.abort()
        else:
            self._transport.close()

    def close_idle(self) -> None:
        if self._answering is None:
            self._transport.close()

    # One request after the other.

    def _go_on(self) -> None:
        if self._waiting and self._answering is None and self._writable and not self._gone:
            if not self._in_turn:
                self._in_turn = True
                self._turns.take(self._caller, self._respond)
        elif not self._waiting and self._answering is None and not self._gone:
            if self._broken is not None:
                self._break_off(self._broken)
            elif self._reader.expects_continue:
                self._reader.expects_continue = False
                self._transport.write(CONTINUE)
        self._note_phase()

    def _respond(self) -> None:
        """It is its turn."""
        self._in_turn = False
        if not self._waiting or self._gone:
            return
        self._answering = request = self._waiting.popleft()
        request.caller = self._caller
        cancel = self._door.respond(request, self._reply)
        self._cancel = cancel if self._answering is request else None
        self._note_phase()

    def _reply(self, answer: bytes) -> None:
        request, self._answering, self._cancel = self._answering, None, None
        if self._gone or request is None:
            return
        self._leave_room(request)
        self._caller = request.caller
        self._transport.write(answer)
        if not self._door.keeps_alive(request):
            self._gone = True
            self._transport.close()
            return
        if len(self._waiting) <= limits.PIPELINE_MAX:
            self._resume(_Pause.PIPELINE)
        if self._waiting or self._broken is not None:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._note_phase()

    def _break_off(self, error: ModelRocketError) -> None:
        """Nothing that follows on this connection can be understood."""
        self._transport.write(failure(error, self._door.new_id(), keep_alive=False))
        self._transport.close()

    # Beside others.

    def _share(self, started: float) -> None:
        """A body is being read: on as soon as there is room for it and this caller has its turn."""
        size = self._reader.body_bytes
        if size >= limits.LARGE_BODY_BYTES_MIN and self._reader.request.room is None:
            self._room_as = self._caller
            if self._shared.room.take(self._room_as, size, self._has_room):
                self._settle_in()
            else:
                self._pause(_Pause.ROOM)
        elif _Pause.TURN not in self._pauses and self._turns.wants_pause(self._caller, started):
            self._pause(_Pause.TURN)
            self._turns.take(self._caller, self._has_turn, causes=_READ_SECONDS)

    def _settle_in(self) -> None:
        self._reader.request.room = (self._room_as, self._reader.body_bytes)
        self._reader.reserve()

    def _has_room(self) -> None:
        self._settle_in()
        self._resume(_Pause.ROOM)
        self._note_phase()

    def _has_turn(self) -> None:
        self._resume(_Pause.TURN)

    def _leave_room(self, request: Request | None) -> None:
        if request is not None and request.room is not None:
            caller, size = request.room
            request.room = None
            self._shared.room.give_back(caller, size)

    def _pause(self, reason: _Pause) -> None:
        if not self._pauses:
            self._transport.pause_reading()
        self._pauses.add(reason)

    def _resume(self, reason: _Pause) -> None:
        if reason in self._pauses:
            self._pauses.discard(reason)
            if not self._pauses and not self._gone:
                self._transport.resume_reading()

    def _note_phase(self) -> None:
        phase = self._current_phase()
        if phase is not self._phase:
            self._phase, self._since = phase, self._door.clock()

    def _current_phase(self) -> _Phase:
        if not self._writable:
            return _Phase.READER
        if self._answering is not None or self._in_turn:
            return _Phase.ANSWER
        if self._reader.in_headers:
            return _Phase.HEADERS
        if not self._reader.in_body:
            return _Phase.IDLE
        return _Phase.ROOM if _Pause.ROOM in self._pauses else _Phase.BODY


class Front:
    """Listens, and closes connections that outstay their limits."""

    def __init__(self, door: Door, room: Room) -> None:
        self.door = door
        self._shared = Shared(door.router.turns, room)
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self, address: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.door, self._shared), address, port, backlog=_BACKLOG
        )
        self._sweeping = loop.create_task(self._sweep())

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._shared.connections):
            connection.close_idle()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.door.clock()
            self.door.presence.alive(now)
            self._shared.turns.sweep()
            self.door.access.sweep()
            for connection in tuple(self._shared.connections):
                connection.expire(now)
