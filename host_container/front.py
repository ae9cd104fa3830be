"""The host's door: connections, their time limits, and three routes.

    POST /infer    body: the JSON object of inputs; header X-Rocket-Ticket
    GET  /healthz  the process is up
    GET  /readyz   it takes work; 503 while launching or draining

Requests of one connection are answered one after the other, in order. A client
that goes away takes its waiting work with it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    InferenceFailed,
    MethodNotAllowed,
    ModelRocketError,
    NotFound,
    RequestTimeout,
)
from chalicelib.contract.messages import HostState
from host_container.events import EventLog
from host_container.http1 import CONTINUE, Request, RequestReader, response
from host_container.presence import Presence
from host_container.router import Answer, Router

_TICKET: Final = b"x-rocket-ticket"
_OK, _UNAVAILABLE, _CLIENT_GONE = 200, 503, 499
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


@dataclass(frozen=True, slots=True)
class Door:
    """What requests need."""

    router: Router
    presence: Presence
    events: EventLog
    new_id: Callable[[], str]
    clock: Callable[[], float]

    async def respond(self, request: Request) -> bytes:
        """The whole response to one request."""
        path = request.path.partition(b"?")[0]
        keep_alive = self.keeps_alive(request)
        if path == b"/infer":
            return await self._infer(request, keep_alive=keep_alive)
        if path in (b"/healthz", b"/readyz") and request.method == b"GET":
            ready = path == b"/healthz" or self.presence.state is HostState.READY
            return response(
                _OK if ready else _UNAVAILABLE, self._health(ready), headers={}, keep_alive=keep_alive
            )
        return failure(NotFound("There is no such path here."), self.new_id(), keep_alive=keep_alive)

    def keeps_alive(self, request: Request) -> bool:
        """Whether the connection stays open after this request."""
        return request.keep_alive and not self.router.closed

    def _health(self, ready: bool) -> bytes:
        return orjson.dumps(
            {
                "status": "ok" if ready else str(self.presence.state),
                "host_id": self.presence.address.host_id,
                "boot_id": self.presence.boot_id,
            }
        )

    async def _infer(self, request: Request, *, keep_alive: bool) -> bytes:
        """An answer or an error, and one line in the log."""
        started = self.clock()
        request_id, version_id = self.new_id(), ""
        status, code = _CLIENT_GONE, ""
        try:
            if request.method != b"POST":
                raise MethodNotAllowed("Use POST.")
            admitted = self.router.admit(request.headers.get(_TICKET, b""))
            request_id, version_id = admitted.ticket.request_id, admitted.ticket.version_id
            answer = await self.router.infer(admitted, request.body)
            status = _OK
            return response(_OK, answer.body, headers=_headers(request_id, answer), keep_alive=keep_alive)
        except ModelRocketError as error:
            status, code = error.status, error.code
            return failure(error, request_id, keep_alive=keep_alive)
        except Exception:  # the boundary of a request: it fails alone and tells the caller nothing of ours
            status, code = InferenceFailed.status, InferenceFailed.code
            self.events.write("crash", request_id=request_id, traceback=traceback.format_exc())
            internal = ModelRocketError("Something went wrong here. Report the request id.")
            return failure(internal, request_id, keep_alive=keep_alive)
        finally:
            took = round((self.clock() - started) * 1000, 3)
            self.events.write(
                "request", request_id=request_id, version=version_id, status=status, code=code, ms=took
            )


class Connection(asyncio.Protocol):
    """One TCP connection: at most one request being answered, the next ones waiting."""

    def __init__(self, door: Door, connections: set[Connection]) -> None:
        self._door = door
        self._connections = connections
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._broken: ModelRocketError | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writable = True
        self._paused = False
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
        if self._task is not None:
            self._task.cancel()

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
        if self._task is None:
            self._transport.close()

    # One request after the other.

    def _go_on(self) -> None:
        if self._task is None and self._writable:
            if self._waiting:
                request = self._waiting.popleft()
                self._task = asyncio.get_running_loop().create_task(self._answer(request))
            elif self._broken is not None:
                self._break_off(self._broken)
            elif self._reader.expects_continue:
                self._reader.expects_continue = False
                self._transport.write(CONTINUE)
        self._note_phase()

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._door.respond(request)
        except BaseException:
            self._transport.abort()
            raise
        self._task = None
        self._transport.write(answer)
        if not self._door.keeps_alive(request):
            self._transport.close()
            return
        if self._paused and len(self._waiting) <= limits.PIPELINE_MAX:
            self._paused = False
            self._transport.resume_reading()
        self._go_on()

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
        if self._task is not None:
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


def failure(error: ModelRocketError, request_id: str, *, keep_alive: bool) -> bytes:
    body = orjson.dumps(error.body(request_id))
    return response(error.status, body, headers=error.headers(request_id), keep_alive=keep_alive)


def _headers(request_id: str, answer: Answer) -> dict[str, str]:
    took = answer.timings
    return {
        "x-request-id": request_id,
        "x-model-version": str(answer.version),
        "server-timing": f"queue;dur={took.queue * 1000:.3f}, load;dur={took.load * 1000:.3f}, "
        f"run;dur={took.run * 1000:.3f}",
    }
