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
    MethodNotAllowed,
    ModelRocketError,
    NotFound,
    RequestTimeout,
)
from chalicelib.contract.messages import HostState
from host_container.events import EventLog
from host_container.frames import Asked
from host_container.http1 import CONTINUE, Request, RequestReader, response
from host_container.presence import Presence
from host_container.router import Answer, Call, Router

_TICKET: Final = b"x-rocket-ticket"
_OK, _UNAVAILABLE, _CLIENT_GONE = 200, 503, 499
_BACKLOG: Final = 1024
_SWEEP_SECONDS: Final = 0.5
_LOG_SECONDS: Final = 0.05
_FOREVER: Final = float("inf")


class _Phase(Enum):
    """What a connection waits for, and how long it may."""

    IDLE = limits.IDLE_SECONDS_MAX
    HEADERS = limits.HEADER_SECONDS_MAX
    BODY = limits.BODY_SECONDS_MAX
    ANSWER = _FOREVER
    READER = limits.WRITE_SECONDS_MAX


Reply = Callable[[bytes], None]
Cancel = Callable[[], None]


@dataclass(slots=True)
class Door:
    """What requests need."""

    router: Router
    presence: Presence
    events: EventLog
    new_id: Callable[[], str]
    clock: Callable[[], float]

    def respond(self, request: Request, reply: Reply) -> Cancel | None:
        """The whole response goes to `reply`, now or later; then there is something to cancel."""
        path = request.path.partition(b"?")[0]
        if path == b"/infer":
            return self._infer(request, reply)
        keep_alive = self.keeps_alive(request)
        if path in (b"/healthz", b"/readyz") and request.method == b"GET":
            ready = path == b"/healthz" or self.presence.state is HostState.READY
            status = _OK if ready else _UNAVAILABLE
            reply(response(status, self._health(ready), headers={}, keep_alive=keep_alive))
        else:
            missing = NotFound("There is no such path here.")
            reply(failure(missing, self.new_id(), keep_alive=keep_alive))
        return None

    def keeps_alive(self, request: Request) -> bool:
        """Whether the connection stays open after this request."""
        return request.keep_alive and not self.router.closed

    def note(self, exchange: Exchange, status: int, code: str) -> None:
        """One line in the log, a little later."""
        took = round((self.clock() - exchange.started) * 1000, 3)
        first = self.events.note(
            "request",
            request_id=exchange.request_id,
            version=exchange.version_id,
            status=status,
            code=code,
            ms=took,
        )
        if first:
            asyncio.get_running_loop().call_later(_LOG_SECONDS, self.events.flush)

    def _health(self, ready: bool) -> bytes:
        return orjson.dumps(
            {
                "status": "ok" if ready else str(self.presence.state),
                "host_id": self.presence.address.host_id,
                "boot_id": self.presence.boot_id,
            }
        )

    def _infer(self, request: Request, reply: Reply) -> Cancel | None:
        exchange = Exchange(self, request, reply, started=self.clock())
        try:
            return exchange.begin()
        except ModelRocketError as error:
            exchange.fail(error)
        except Exception:  # the boundary of a request: it fails alone and tells the caller nothing of ours
            crash = traceback.format_exc()
            self.events.write("crash", request_id=exchange.request_id, traceback=crash)
            exchange.fail(ModelRocketError("Something went wrong here. Report the request id."))
        return None


class Exchange:
    """One inference: from the request to the response and its line in the log."""

    __slots__ = ("_call", "_door", "_reply", "_request", "request_id", "started", "version_id")

    def __init__(self, door: Door, request: Request, reply: Reply, *, started: float) -> None:
        self._door = door
        self._request = request
        self._reply = reply
        self._call: Call | None = None
        self.started = started
        self.request_id = ""
        self.version_id = ""

    def begin(self) -> Cancel:
        """Raises ModelRocketError when it ends here."""
        if self._request.method != b"POST":
            raise MethodNotAllowed("Use POST.")
        router = self._door.router
        admitted = router.admit(self._request.headers.get(_TICKET, b""))
        self.request_id, self.version_id = admitted.ticket.request_id, admitted.ticket.version_id
        self._call = router.start(admitted, Asked(self._request.body), self._done)
        return self.cancel

    def cancel(self) -> None:
        """The client has gone."""
        if self._call is not None and not self._call.over:
            self._door.router.cancel(self._call)
            self._door.note(self, _CLIENT_GONE, "")

    def fail(self, error: ModelRocketError) -> None:
        self.request_id = self.request_id or self._door.new_id()
        self._door.note(self, error.status, error.code)
        keep_alive = self._door.keeps_alive(self._request)
        self._reply(failure(error, self.request_id, keep_alive=keep_alive))

    def _done(self, result: Answer | ModelRocketError) -> None:
        if isinstance(result, ModelRocketError):
            self.fail(result)
            return
        self._door.note(self, _OK, "")
        keep_alive = self._door.keeps_alive(self._request)
        self._reply(
            response(_OK, result.body, headers=_headers(self.request_id, result), keep_alive=keep_alive)
        )


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


def failure(error: ModelRocketError, request_id: str, *, keep_alive: bool) -> bytes:
    body = orjson.dumps(error.body(request_id))
    return response(error.status, body, headers=error.headers(request_id), keep_alive=keep_alive)


def _headers(request_id: str, answer: Answer) -> dict[str, str]:
    took = answer.timings
    return {
        "x-request-id": request_id,
        "x-model-version": str(answer.version),
        "x-batch-rows": str(answer.rows),
        "server-timing": f"queue;dur={took.queue * 1000:.3f}, load;dur={took.load * 1000:.3f}, "
        f"run;dur={took.run * 1000:.3f}",
    }
