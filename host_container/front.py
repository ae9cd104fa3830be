"""The host's door: its routes, and what becomes of one request.

    POST /infer                                  from a gateway: the inputs; header X-Rocket-Ticket, and
                                                 X-Rocket-Form where they are Open Inference Protocol v2,
                                                 X-Rocket-Transfer where something goes through the store
    POST /inference                              from a caller: token, model and inputs
    GET  /v2, /v2/health/{live,ready}            Open Inference Protocol v2
    GET  /v2/models/{m}[/versions/{v}][/ready]   … with a token as Authorization: Bearer
    POST /v2/models/{m}[/versions/{v}]/infer
    GET  /healthz                                the process is up
    GET  /readyz                                 it takes work; 503 while launching or draining
    GET  /metrics                                for Prometheus

With token and model known (`access`) and the model in memory, a request is on its
way to a worker before `respond` returns: no task, no waiting. A caller's request for a model that is not
in memory goes to the host that has it, if there is one (`forwarding`).
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import orjson

from chalicelib.contract import limits, metadata
from chalicelib.contract.choice import chosen, mirrored
from chalicelib.contract.encodings import decoded
from chalicelib.contract.errors import (
    InvalidModel,
    InvalidRequest,
    MethodNotAllowed,
    ModelRocketError,
    NotFound,
    Unauthenticated,
)
from chalicelib.contract.inference import (
    QUARANTINED,
    bearer,
    credential_sha256,
    is_request_id,
    model_key,
    read_deadline,
    read_inference,
    read_sticky_key,
)
from chalicelib.contract.latency import Took
from chalicelib.contract.limiting import request_cost
from chalicelib.contract.messages import ModelRecord, VersionRecord
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.metering import CLIENT_GONE, Refused, UsageKey, compute_us
from chalicelib.contract.tokens import token_sha256
from chalicelib.contract.transfers import HEADER, INLINE_MAX, INPUTS_FROM, Transfer, passes
from host_container.access import Access, Found, Permitted
from host_container.admission import Admitted, OnTrial
from host_container.errands import Ends, Errand, Means
from host_container.events import EventLog
from host_container.failures import too_late
from host_container.forwarding import Forwarded, Forwards, Wanted
from host_container.forwarding import Outcome as Sent
from host_container.frames import Asked, Form
from host_container.http1 import JSON, Request, Response, response
from host_container.metrics import CONTENT_TYPE, Metrics
from host_container.presence import Presence
from host_container.router import Answer, Call, Router
from host_container.running import Running
from host_container.usage import Meter, Use, us

_TICKET: Final = b"x-rocket-ticket"
_FORM: Final = b"x-rocket-form"
_TRANSFER: Final = HEADER.lower().encode()
_INPUTS_FROM: Final = INPUTS_FROM.lower().encode()
_INLINE_MAX: Final = INLINE_MAX.lower().encode()
_V2: Final = b"v2"
_REQUEST_ID: Final = b"x-request-id"
_DEADLINE: Final = b"x-deadline-ms"
_HEADER_LENGTH: Final = metadata.HEADER_LENGTH.lower().encode()
_BINARY: Final = "application/octet-stream"
_GET, _POST = b"GET", b"POST"
_OK, _ACCEPTED, _UNAVAILABLE, _CLIENT_GONE = 200, 202, 503, 499
_STICKY_KEY: Final = b"x-sticky-key"
_LOG_SECONDS: Final = 0.05
_GATEWAY: Final = "gateway"

Reply = Callable[[bytes], None]
Cancel = Callable[[], None]
Then = Callable[[Permitted], None]
Describe = Callable[[ModelRecord, VersionRecord], Mapping[str, Any]]
ErrorBody = Callable[[ModelRocketError, str], Mapping[str, Any]]
"""An error and the request's id → what the caller is told."""


@dataclass(slots=True)
class Door:
    """What requests need."""

    router: Router
    access: Access
    forwards: Forwards
    presence: Presence
    events: EventLog
    metrics: Metrics
    meter: Meter
    errands: Means
    new_id: Callable[[], str]
    clock: Callable[[], float]

    def respond(self, request: Request, reply: Reply) -> Cancel | None:
        """The whole response goes to `reply`, now or later; then there is something to cancel."""
        path = request.path.partition(b"?")[0]
        if path == b"/inference":
            exchange = Exchange(self, request, reply)
            return exchange.begin(exchange.inference)
        if path == b"/infer":
            exchange = Exchange(self, request, reply)
            return exchange.begin(exchange.dispatched)
        if path.startswith(metadata.PREFIX):
            return self._open_inference(path.rstrip(b"/"), request, reply)
        if path == b"/metrics" and request.method == _GET:
            keep_alive = self.keeps_alive(request)
            page = self.metrics.text()
            reply(response(_OK, page, headers={}, keep_alive=keep_alive, content_type=CONTENT_TYPE))
        elif path in (b"/healthz", b"/readyz") and request.method == _GET:
            self._health(request, reply, ready=path == b"/healthz" or self._ready)
        else:
            self._missing(request, reply, ModelRocketError.body)
        return None

    def keeps_alive(self, request: Request) -> bool:
        """Whether the connection stays open after this request."""
        return request.keep_alive and not self.router.closed

    def note(
        self, exchange: Exchange, status: int, code: str, answer: Answer | None = None, **more: str
    ) -> None:
        """One line in the log, a little later."""
        took = round((self.clock() - exchange.started) * 1000, 3)
        ran = more if answer is None else _ran(answer)
        first = self.events.note(
            "request",
            request_id=exchange.request_id,
            version=exchange.version_id,
            status=status,
            code=code,
            ms=took,
            **ran,
        )
        if first:
            asyncio.get_running_loop().call_later(_LOG_SECONDS, self.events.flush)

    @property
    def identity(self) -> Mapping[str, str]:
        """Which process this is."""
        return {"host_id": self.presence.address.host_id, "boot_id": self.presence.boot_id}

    @property
    def _ready(self) -> bool:
        return self.presence.ready

    def _open_inference(self, path: bytes, request: Request, reply: Reply) -> Cancel | None:
        model = metadata.model_path(path)
        if model is not None:
            exchange = Exchange(self, request, reply, error_body=metadata.error_body)
            return exchange.begin(partial(exchange.open_inference, model))
        if request.method == _GET and path == metadata.PREFIX:
            self._plain(request, reply, metadata.server())
        elif request.method == _GET and path == b"/v2/health/live":
            self._plain(request, reply, {"live": True})
        elif request.method == _GET and path == b"/v2/health/ready":
            self._plain(request, reply, {"ready": self._ready}, _OK if self._ready else _UNAVAILABLE)
        else:
            self._missing(request, reply, metadata.error_body)
        return None

    def _health(self, request: Request, reply: Reply, *, ready: bool) -> None:
        body = {"status": "ok" if ready else self.presence.status, **self.identity}
        self._plain(request, reply, body, _OK if ready else _UNAVAILABLE)

    def _plain(self, request: Request, reply: Reply, body: Mapping[str, Any], status: int = _OK) -> None:
        keep_alive = self.keeps_alive(request)
        reply(response(status, orjson.dumps(body), headers={}, keep_alive=keep_alive))

    def _missing(self, request: Request, reply: Reply, error_body: ErrorBody) -> None:
        missing = NotFound("There is no such path here.")
        keep_alive = self.keeps_alive(request)
        request_id = self.new_id()
        body = orjson.dumps(error_body(missing, request_id))
        headers = missing.headers(request_id)
        reply(response(missing.status, body, headers=headers, keep_alive=keep_alive))


class Exchange:
    """One request that is somebody's: from there to the response and its line in the log."""

    __slots__ = (
        "_answered",
        "_authorised",
        "_call",
        "_callers_id",
        "_came",
        "_code",
        "_door",
        "_errand",
        "_error_body",
        "_forwarding",
        "_reply",
        "_request",
        "_running",
        "_shown",
        "_token_id",
        "_use",
        "_version",
        "request_id",
        "started",
        "version_id",
    )

    def __init__(
        self, door: Door, request: Request, reply: Reply, *, error_body: ErrorBody = ModelRocketError.body
    ) -> None:
        self._door = door
        self._request = request
        self._reply = reply
        self._error_body = error_body
        self._call: Call | None = None
        self._errand: Errand | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self._came: Forwarded | None = None
        self._running: Running | None = None
        self._answered = False
        self._authorised = 0.0
        self._callers_id = self._token_id = self._code = ""
        self._shown: tuple[str, str] | None = None
        """The credential's SHA-256, and the model's id it was shown for."""
        self._use: Use | None = None
        self._version: int | None = None
        self.started = door.clock()
        self.request_id = ""
        self.version_id = ""

    def begin(self, action: Callable[[], None]) -> Cancel:
        """Whatever comes of it, the caller hears of it."""
        try:
            action()
        except ModelRocketError as error:
            self.fail(error)
        except Exception:  # the boundary of a request: it fails alone and tells the caller nothing of ours
            self._crash()
        return self.cancel

    def _crash(self) -> None:
        """Of the exception that is being handled."""
        self._door.events.write("crash", request_id=self.request_id, traceback=traceback.format_exc())
        self.fail(ModelRocketError("Something went wrong here. Report the request id."))

    def cancel(self) -> None:
        """The client has gone."""
        if self._answered:
            return
        self._answered = True
        if self._call is not None:
            self._door.router.cancel(self._call)
        if self._forwarding is not None:
            self._forwarding.cancel()
        self._let_go()
        self._code = CLIENT_GONE
        self._count(_CLIENT_GONE, 0)
        self._door.note(self, _CLIENT_GONE, "")

    def fail(self, error: ModelRocketError) -> None:
        if self._errand is not None and self._errand.comes_back(error):
            return
        self.request_id, self._code = self.request_id or self._door.new_id(), error.code
        self._door.note(self, error.status, error.code)
        body = orjson.dumps(self._error_body(error, self.request_id))
        headers = error.headers(self.request_id)
        if self._version is not None:
            headers["X-Model-Version"] = str(self._version)
        self._finish(Response(error.status, body, headers))

    # What may be asked. Each raises ModelRocketError when it ends here.

    def dispatched(self) -> None:
        """From a gateway, which has checked the token."""
        self._check_method(_POST)
        admitted = self._door.router.admit(self._request.headers.get(_TICKET, b""))
        self._request.caller = _GATEWAY
        if self._request.headers.get(_FORM) == _V2:
            self._error_body = metadata.error_body
        signed = self._request.headers.get(_TRANSFER)
        if signed is None:
            self._run_dispatched(admitted)
        else:
            self._send(admitted, self._door.router.transfer(signed, admitted))

    def inference(self) -> None:
        self._take_request_id()
        self._check_method(_POST)
        seconds = read_deadline(self._header(_DEADLINE))
        body = read_inference(self._body())
        if body.inputs_from is not None:
            raise _no_payloads_here()
        asked = Asked(memoryview(body.inputs))
        self._authorise(body.token, body.model, lambda permitted: self._run(permitted, asked, seconds))

    def open_inference(self, path: ModelPath) -> None:
        self._take_request_id()
        match path.what:
            case "infer":
                self._check_method(_POST)
                if _INPUTS_FROM in self._request.headers:
                    raise _no_payloads_here()
                seconds, asked = read_deadline(self._header(_DEADLINE)), self._asked_v2()
                self._authorise(
                    None, path.model_id, lambda permitted: self._run(permitted, asked, seconds, path.version)
                )
            case "" | "ready":
                self._check_method(_GET)
                describe = metadata.ready if path.what else metadata.model
                self._authorise(
                    None, path.model_id, lambda one: self._describe(one.model, path.version, describe)
                )
            case _:
                raise NotFound("There is no such path here.")

    # By way of the store.

    def _send(self, admitted: Admitted, transfer: Transfer) -> None:
        """Off to the store. One that is answered later has been accepted when this returns."""
        self.request_id, self.version_id = admitted.request_id, admitted.version_id
        ends = Ends(run=self._run_fetched, done=self._finish, fail=self.fail, crash=self._crash)
        errand = Errand(admitted, transfer, self._door.errands, ends, began=self.started)
        errand.start()
        self._errand = errand
        if errand.later:
            self._accepted(admitted.tenant, transfer)

    def _accepted(self, tenant: str, transfer: Transfer) -> None:
        told = Response(_ACCEPTED, orjson.dumps(self._door.identity), {})
        self._reply(told.response(keep_alive=self._door.keeps_alive(self._request)))
        self._request = replace(self._request)  # the connection goes on with its own
        self._version = transfer.version
        key = UsageKey(tenant, transfer.token_id, transfer.model_id, transfer.version)
        self._use = Use(key, transfer.request_id if transfer.callers_id else "", 0)

    def _run_fetched(self, admitted: Admitted, inputs: bytearray) -> None:
        self._request.body = inputs
        if self._use is not None:
            self._use.bytes_in = len(inputs)
        self.begin(partial(self._run_dispatched, admitted))

    def _run_dispatched(self, admitted: Admitted) -> None:
        v2 = self._request.headers.get(_FORM) == _V2
        self._start(admitted, self._asked_v2() if v2 else Asked(self._request.body))

    # Who asks.

    def _authorise(self, token: str | None, model_id: str, then: Then) -> None:
        plain = token or bearer(self._header(b"authorization"))
        permitted, cost = None, request_cost(len(self._request.body))
        if plain and plain.isascii():
            self._shown = token_sha256(plain), model_id
            permitted = self._door.access.admitted(*self._shown, cost=cost)
        if permitted is not None:
            self._permitted(permitted, then)
            return
        told, caller = partial(self._looked_up, then), self._request.caller
        sha256 = credential_sha256(plain)
        self._door.access.find(sha256, model_key(model_id), told, caller=caller, cost=cost)

    def _looked_up(self, then: Then, found: Found) -> None:
        self._door.router.turns.take(self._request.caller, partial(self._go_on, then, found))

    def _go_on(self, then: Then, found: Found) -> None:
        if self._answered:
            return
        if isinstance(found, ModelRocketError):
            self.fail(found)
        else:
            self.begin(partial(self._permitted, found, then))

    def _permitted(self, permitted: Permitted, then: Then) -> None:
        self._authorised = self._door.clock()
        self._token_id = permitted.token.token_id
        self._request.caller = permitted.model.tenant
        then(permitted)

    # What becomes of it.

    def _run(self, permitted: Permitted, asked: Asked, seconds: float, version: str = "") -> None:
        model, self._running = permitted.model, self._door.access.begin(permitted)
        record = self._chosen(permitted, version)
        left = seconds - (self._authorised - self.started)
        if left <= 0:
            raise too_late()
        admitted = Admitted(self.request_id, record.tenant, record.version_id, left, record)
        if model.candidate is not None:
            other = mirrored(
                model,
                answering=record,
                request_id=self.request_id,
                quarantined=self._quarantined(permitted),
            )
            admitted = replace(admitted, on_trial=OnTrial.of(model.candidate, mirror=other))
        key = UsageKey(record.tenant, self._token_id, record.model_id, record.number)
        self._use = Use(key, self._callers_id, len(self._request.body))
        router = self._door.router
        if router.closed or router.replicas.is_loaded(record.version_id):
            self._start(admitted, asked)
        else:
            self._version = record.number
            _refuse_quarantined(record, self._quarantined(permitted))
            wanted = Wanted(admitted, record, model, asked, pinned=bool(version))
            self._forwarding = self._door.forwards.start(wanted, self._forwarded)

    def _chosen(self, permitted: Permitted, version: str) -> VersionRecord:
        """The version that the path names, if it is one that answers; else the one whose turn it is."""
        model, sticky = permitted.model, read_sticky_key(self._header(_STICKY_KEY))
        if version or model.candidate is None:
            record = metadata.named(model, version)
        else:
            record = chosen(
                model,
                sticky=sticky,
                request_id=self.request_id,
                quarantined=self._quarantined(permitted),
            )
        _refuse_quarantined(record, permitted.quarantined)
        return record

    def _quarantined(self, permitted: Permitted) -> frozenset[str]:
        """By the fleet, and by this host, which finds out first."""
        return permitted.quarantined | self._door.router.replicas.quarantined()

    def _forwarded(self, outcome: Sent) -> None:
        """Callers take turns with the answers of other hosts as with those of workers."""
        self._door.router.turns.take(self._request.caller, partial(self._sent, outcome))

    def _sent(self, outcome: Sent) -> None:
        self._forwarding = None
        if isinstance(outcome, Forwarded):
            self._came_back(outcome)
        elif self._answered:
            return
        elif isinstance(outcome, Wanted):
            self.begin(partial(self._start, outcome.admitted, outcome.asked))
        else:
            self.fail(outcome)

    def _start(self, admitted: Admitted, asked: Asked) -> None:
        self.request_id, self.version_id = admitted.request_id, admitted.version_id
        self._version = admitted.record.number if admitted.record else None
        self._call = self._door.router.start(admitted, asked, self._done)

    def _describe(self, model: ModelRecord, version: str, describe: Describe) -> None:
        record = metadata.named(model, version)
        self.version_id = record.version_id
        headers = {_REQUEST_ID.decode(): self.request_id}
        self._answer(orjson.dumps(describe(model, record)), headers, JSON)

    def _done(self, result: Answer | ModelRocketError) -> None:
        if isinstance(result, ModelRocketError):
            self.fail(result)
        elif result.timings.queue + result.timings.load > limits.CHECKED_AGAIN_SECONDS:
            self._if_still_good(partial(self._tell, result))
        else:
            self._tell(result)

    def _came_back(self, came: Forwarded) -> None:
        if self._answered:
            self._door.forwards.release(came)
            return
        self._came = came
        took = self._door.clock() - self._authorised
        pass_on = partial(self._pass_on, came, took)
        if took > limits.CHECKED_AGAIN_SECONDS:
            self._if_still_good(pass_on)
        else:
            pass_on()

    def _if_still_good(self, tell: Callable[[], None]) -> None:
        """It waited: whether its token is good now, once for all that wait with it.

        The gateway asks that of what comes with a ticket.
        """
        if self._shown is None:
            tell()
            return
        try:
            checked = partial(self._checked, tell)
            self._door.access.find(*self._shown, checked, caller=self._request.caller, cost=0)
        except ModelRocketError as error:
            self.fail(error)

    def _checked(self, tell: Callable[[], None], found: Found) -> None:
        if isinstance(found, Unauthenticated):
            self.fail(found)
        else:
            tell()

    def _pass_on(self, came: Forwarded, took: float) -> None:
        """What another host answered, as it answered it."""
        reply = came.reply
        if self._use is not None:
            key = UsageKey(came.record.tenant, self._token_id, came.record.model_id, came.record.number)
            use = Use(key, self._use.request_id, self._use.bytes_in)
            self._use, self._code = came.used(use, seconds=self._door.clock() - self.started), came.code
        headers = came.headers(self.request_id, auth_seconds=self._auth_seconds() or 0.0, took=took)
        self._door.note(self, reply.status, came.code, forwarded_to=came.host_id)
        self._finish(Response(reply.status, reply.body, headers, reply.headers.get("content-type", JSON)))

    def _tell(self, result: Answer) -> None:
        if self._use is not None:
            took = self._use.took = _took(result, seconds=self._door.clock() - self.started)
            self._use.compute_us = compute_us(run_us=took.run, rows=result.own_rows, run_rows=result.rows)
            self._use.rows = result.own_rows
        headers = _headers(self.request_id, result, auth_seconds=self._auth_seconds())
        if result.json_bytes:
            headers[_HEADER_LENGTH.decode()] = str(result.json_bytes)
        self._answer(result.body, headers, _BINARY if result.json_bytes else JSON, result)

    def _answer(
        self, body: bytes, headers: Mapping[str, str], content_type: str, answer: Answer | None = None
    ) -> None:
        try:
            told = self._passable(Response(_OK, body, headers, content_type))
        except ModelRocketError as error:
            self.fail(error)
            return
        self._door.note(self, _OK, "", answer)
        self._finish(told)

    def _passable(self, outcome: Response) -> Response:
        """What the caller can take: held instead, where that is a gateway and it is too large.

        Raises Overloaded.
        """
        inline_max = self._request.headers.get(_INLINE_MAX)
        binary = outcome.content_type != JSON
        nobody_waits = self._errand is not None and self._errand.later
        if nobody_waits or inline_max is None or passes(outcome.body, int(inline_max), binary=binary):
            return outcome
        return self._door.errands.held.hold(self.request_id, outcome)

    def _finish(self, outcome: Response) -> None:
        if self._answered:
            return
        self._answered = True
        self._let_go()
        if self._errand is not None and self._errand.later:
            self._errand.tell(outcome, partial(self._count, outcome.status, len(outcome.body)))
        else:
            self._count(outcome.status, len(outcome.body))
            self._reply(outcome.response(keep_alive=self._door.keeps_alive(self._request)))

    def _count(self, status: int, bytes_out: int) -> None:
        """What its caller used. Of a dispatched request the gateway counts that."""
        if self._use is not None:
            self._door.meter.count(self._use.outcome(status, self._code, bytes_out))
        elif self._code and self._shown is not None:
            self._count_refused(self._door.access.known(*self._shown))

    def _count_refused(self, permitted: Permitted | None) -> None:
        """For a caller who is known."""
        if permitted is not None:
            key = UsageKey(permitted.model.tenant, permitted.token.token_id, permitted.model.model_id, 0)
            self._door.meter.refuse(Refused(key, self._code))

    def _let_go(self) -> None:
        """Of the body, and of the call that would come back here: no large body waits to be collected."""
        self._request.body = bytearray()
        self._call = None
        self._forwarding = None
        if self._came is not None:
            self._door.forwards.release(self._came)
            self._came = None
        if self._running is not None:
            self._running.here -= 1
            self._running = None
        if self._errand is not None:
            self._errand.end()

    # What the request says.

    def _take_request_id(self) -> None:
        given = self._header(_REQUEST_ID)
        self._callers_id = given if given is not None and is_request_id(given) else ""
        self.request_id = self._callers_id or self._door.new_id()

    def _check_method(self, method: bytes) -> None:
        if self._request.method != method:
            raise MethodNotAllowed(f"Unsupported method: {self._request.method.decode()}")

    def _header(self, name: bytes) -> str | None:
        value = self._request.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def _body(self) -> bytes | bytearray:
        encoding = self._header(b"content-encoding")
        return self._request.body if encoding is None else decoded(self._request.body, encoding)

    def _asked_v2(self) -> Asked:
        body = self._body()
        length = metadata.read_header_length(self._header(_HEADER_LENGTH), body_bytes=len(body))
        return Asked(body, Form.V2, length or 0)

    def _auth_seconds(self) -> float | None:
        return self._authorised - self.started if self._authorised else None


def _refuse_quarantined(record: VersionRecord, quarantined: frozenset[str]) -> None:
    if record.version_id in quarantined:
        raise InvalidModel(QUARANTINED)


def _no_payloads_here() -> InvalidRequest:
    return InvalidRequest(
        "Payloads are for the platform's gateway: a host's own door cannot see whose they are. Ask there, or "
        f"send the inputs themselves here: up to {limits.BODY_BYTES_MAX} bytes."
    )


def failure(error: ModelRocketError, request_id: str, *, keep_alive: bool) -> bytes:
    """What a caller hears whose request cannot even be read."""
    body = orjson.dumps(error.body(request_id))
    return response(error.status, body, headers=error.headers(request_id), keep_alive=keep_alive)


def _took(answer: Answer, *, seconds: float) -> Took:
    """`seconds` in all."""
    parts = answer.timings
    return Took(
        total=us(seconds),
        queue=us(parts.queue),
        batch=us(parts.batch),
        load=max(1, us(parts.load)) if answer.cold else 0,
        run=us(parts.run),
    )


def _ran(answer: Answer) -> dict[str, Any]:
    took = answer.timings
    return {
        "rows": answer.rows,
        "queue_ms": round(took.queue * 1000, 3),
        "run_ms": round(took.run * 1000, 3),
    }


def _headers(request_id: str, answer: Answer, *, auth_seconds: float | None) -> dict[str, str]:
    took = answer.timings
    auth = "" if auth_seconds is None else f"auth;dur={auth_seconds * 1000:.3f}, "
    return {
        "x-request-id": request_id,
        "x-model-version": str(answer.version),
        "x-batch-rows": str(answer.rows),
        "x-rows": str(answer.own_rows),
        "server-timing": f"{auth}queue;dur={took.queue * 1000:.3f}, load;dur={took.load * 1000:.3f}, "
        f"batch;dur={took.batch * 1000:.3f}, run;dur={took.run * 1000:.3f}",
    }
