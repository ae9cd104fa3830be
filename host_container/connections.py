"""TCP connections to a host: their time limits, and one request after the other.

Requests of one connection are answered in order. A client that goes away takes
its waiting work with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import Final, cast

from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError, RequestTimeout
from host_container.front import Cancel, Door, failure
from host_container.http1 import CONTINUE, Request, RequestReader

_BACKLOG: Final = 1024
_SWEEP_SECONDS: Final = 0.5
_FOREVER: Final = float("inf")


class _Phase(Enum):
    """What a connection waits for, and how long it may."""

    IDLE = limits.IDLE_SECONDS_MAX
    HEADERS = limits.HEADER_SECONDS_MAX
    BODY = limits.BODY_SECONDS_MAX
    ANSWER = _FOREVER
    READER = limits.WRITE_SECONDS_MAX


class Connection(asyncio.Protocol):
    """One TCP connection: at most one request being answered, the next ones waiting."""

    def __init__(self, door: Door, connections: set[Connection]) -> None:
        self._door = door
        self._connections = connections
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._broken: ModelRocketError | None = None
        self._answering: Request | None = None
        self._cancel: Cancel | None = None
        self._transport: asyncio.Transport
        self._writable = True
        self._paused = False
        self._gone = False
        self._phase = _Phase.IDLE
        self._since = door.clock()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one
        if len(self._connections) >= limits.CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._waiting.clear()
        self._gone = True
        if self._cancel is not None:
            self._cancel()

    def data_received(self, data: bytes) -> None:
        if self._broken is not None:
            return
        try:
            self._waiting.extend(self._reader.feed(data))
        except ModelRocketError as error:
            self._broken = error
        if len(self._waiting) > limits.PIPELINE_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()
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
        elif self._phase is _Phase.READER:
            self._transport.abort()
        else:
            self._transport.close()

    def close_idle(self) -> None:
        if self._answering is None:
            self._transport.close()

    # One request after the other.

    def _go_on(self) -> None:
        while self._answering is None and self._writable and not self._gone:
            if self._waiting:
                self._answering = request = self._waiting.popleft()
                cancel = self._door.respond(request, self._reply)
                self._cancel = cancel if self._answering is request else None
                continue
            if self._broken is not None:
                self._break_off(self._broken)
            elif self._reader.expects_continue:
                self._reader.expects_continue = False
                self._transport.write(CONTINUE)
            break
        self._note_phase()

    def _reply(self, answer: bytes) -> None:
        request, self._answering, self._cancel = self._answering, None, None
        if self._gone or request is None:
            return
        self._transport.write(answer)
        if not self._door.keeps_alive(request):
            self._gone = True
            self._transport.close()
            return
        if self._paused and len(self._waiting) <= limits.PIPELINE_MAX:
            self._paused = False
            self._transport.resume_reading()
        if self._waiting or self._broken is not None:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._note_phase()

    def _break_off(self, error: ModelRocketError) -> None:
        """Nothing that follows on this connection can be understood."""
        self._transport.write(failure(error, self._door.new_id(), keep_alive=False))
        self._transport.close()

    def _note_phase(self) -> None:
        phase = self._current_phase()
        if phase is not self._phase:
            self._phase, self._since = phase, self._door.clock()

    def _current_phase(self) -> _Phase:
        if not self._writable:
            return _Phase.READER
        if self._answering is not None:
            return _Phase.ANSWER
        if self._reader.in_headers:
            return _Phase.HEADERS
        return _Phase.BODY if self._reader.in_body else _Phase.IDLE


class Front:
    """Listens, and closes connections that outstay their limits."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self, address: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.door, self._connections), address, port, backlog=_BACKLOG
        )
        self._sweeping = loop.create_task(self._sweep())

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close_idle()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.door.clock()
            self.door.presence.alive(now)
            for connection in tuple(self._connections):
                connection.expire(now)
