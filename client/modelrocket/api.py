"""Talks to one endpoint: the server's errors as ours, retries inside a time budget, asyncio or not."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson

from modelrocket import __version__, steps
from modelrocket.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    ModelLoading,
    ModelRocketError,
    Refusal,
    Timeout,
    api_error,
)
from modelrocket.steps import Flow, Send, Wait

if TYPE_CHECKING:
    from modelrocket.pools import Pools

T = TypeVar("T")

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
CONNECTION_TRIES_MAX = 4
RETRIES_MAX = 60
BACKOFF_SECONDS = 0.25
BACKOFF_SECONDS_MAX = 5.0
_TOO_MANY = 429
_PASSING = (502, 503, 504)


async def _sleep_async(seconds: float) -> None:
    from asyncio import sleep

    await sleep(seconds)


@dataclass(frozen=True)
class Clock:
    """The time that passes and how to wait for it; a test brings its own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    sleep_async: Callable[[float], Awaitable[None]] = _sleep_async


class Budget:
    """Seconds that a call may take in all."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._deadline = clock.monotonic() + seconds
        self.seconds = seconds

    def remaining(self) -> float:
        return self._deadline - self._clock.monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleep so long if the budget has room for it; False, at once, where it has not."""
        if seconds > self.remaining():
            return False
        self._clock.sleep(seconds)
        return True


@dataclass(frozen=True)
class Call:
    """One request: with a body that becomes JSON, or content as it is.

    A repeatable one may be sent again when its answer got lost. A deferrable one is not when its model is
    being loaded: it can be asked to be answered later instead.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    deferrable: bool = False
    bearer: str | None = field(default=None, repr=False)


class Api:
    """One endpoint, over one connection pool, and one more for each event loop that asks it."""

    def __init__(
        self,
        endpoint: str,
        *,
        transport: httpx.BaseTransport | None,
        clock: Clock,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self._async_transport = async_transport
        self._options: dict[str, Any] = {
            "timeout": httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            "headers": {"User-Agent": f"modelrocket/{__version__}"},
            # a proxy for the internet knows nothing of this machine
            "trust_env": not is_loopback(endpoint),
        }
        self.http = httpx.Client(transport=transport, **self._options)
        self._pools: Pools | None = None

    def run(self, flow: Flow[T]) -> T:
        return steps.run(flow, self.http.send, self.clock.sleep)

    async def run_async(self, flow: Flow[T]) -> T:
        """The same on the running event loop."""
        if self._pools is None:
            from modelrocket.pools import Pools

            self._pools = Pools(lambda: httpx.AsyncClient(transport=self._async_transport, **self._options))
        http = await self._pools.pool()
        return await steps.run_async(flow, http.send, self.clock.sleep_async)

    def ask(self, call: Call, budget: Budget) -> Any:
        """The answer's JSON, None where it is empty. Raises `ApiError`, `ConnectionFailed` or `Timeout`."""
        return self.run(self.asking_json(call, budget))

    def asking_json(self, call: Call, budget: Budget) -> Flow[Any]:
        return _parsed((yield from self.asking(call, budget)))

    def asking(self, call: Call, budget: Budget) -> Flow[httpx.Response]:
        """The answer, after as many tries as it takes. Raises as `ask` does."""
        failure: ModelRocketError
        for attempt in range(RETRIES_MAX):
            try:
                return (yield from self._asking_once(call, budget))
            except ApiError as error:
                failure, pause = error, error.retry_after or backoff_seconds(attempt)
                again = error.retryable and not (call.deferrable and isinstance(error, ModelLoading))
            except httpx.TransportError as error:
                failure, pause = self._no_answer(error), backoff_seconds(attempt)
                again = attempt + 1 < CONNECTION_TRIES_MAX and (call.repeatable or _never_sent(error))
            if not again or pause > budget.remaining():
                break
            yield Wait(pause)
        raise failure

    def _asking_once(self, call: Call, budget: Budget) -> Flow[httpx.Response]:
        headers = {"Content-Type": "application/json", **call.headers}
        if call.bearer is not None:
            headers["Authorization"] = f"Bearer {_sendable(call.bearer)}"
        remaining = budget.remaining()
        if remaining <= 0:
            raise Timeout(f"{call.method} {call.path} did not fit into {budget.seconds:.0f} s.")
        timeout = httpx.Timeout(min(remaining, SILENCE_SECONDS), connect=min(remaining, CONNECT_SECONDS))
        request = self.http.build_request(
            call.method,
            self.endpoint + call.path,
            content=call.content if call.body is None else orjson.dumps(call.body),
            headers=headers,
            timeout=timeout,
        )
        response = yield Send(request)
        assert response is not None
        if response.is_success:
            return response
        raise api_error(_refusal(response, repeatable=call.repeatable))

    def _no_answer(self, error: httpx.TransportError) -> ModelRocketError:
        if isinstance(error, httpx.TimeoutException):
            return Timeout(f"{self.endpoint} did not answer in time ({type(error).__name__}).")
        if not isinstance(error, httpx.ConnectError):
            return ConnectionFailed(f"The connection to {self.endpoint} broke: {error}.")
        start = (
            "Start it with `make up`" if is_loopback(self.endpoint) else "Check the address and the network"
        )
        return ConnectionFailed(
            f"Nothing answers at {self.endpoint} ({error}). {start}, or name another endpoint: "
            "MODELROCKET_ENDPOINT or endpoint=…"
        )


def backoff_seconds(attempt: int) -> float:
    """0.25, 0.5, 1, … seconds, 5 at most."""
    return float(min(BACKOFF_SECONDS * 2**attempt, BACKOFF_SECONDS_MAX))


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _never_sent(error: httpx.TransportError) -> bool:
    return isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))


def _parsed(response: httpx.Response) -> Any:
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise api_error(
            Refusal(
                code="invalid_answer",
                message=f"{response.url.host} did not answer with JSON: is it a ModelRocket endpoint?",
                status=response.status_code,
            )
        ) from error


def _sendable(credential: str) -> str:
    """Raises `ConfigurationError`, which does not show it, as httpx would where it is no header's value."""
    if not (credential.isascii() and credential.isprintable() and " " not in credential):
        raise ConfigurationError(
            "The API key or token holds a character that none has: a line break at its end, perhaps, or one "
            "that was pasted with it."
        )
    return credential


def _refusal(response: httpx.Response, *, repeatable: bool) -> Refusal:
    """What the server said; an answer from something in between (a proxy, say) has no error object.

    Behind such an answer the server may have done what was asked: only what is repeatable is sent again.
    Open Inference Protocol has the message itself under "error", and our other fields beside it.
    """
    try:
        whole = orjson.loads(response.content)
        told = whole["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        told = None
    if isinstance(told, str):
        told = {**whole, "message": told}
    told = told if isinstance(told, dict) else {}
    status = response.status_code
    passing = status == _TOO_MANY or (repeatable and status in _PASSING)
    return Refusal(
        code=str(told.get("code", f"http_{status}")),
        message=str(told.get("message", f"The server answered {status} {response.reason_phrase}.")),
        status=status,
        retryable=bool(told.get("retryable", passing)),
        request_id=told.get("request_id") or response.headers.get("x-request-id"),
        retry_after=_seconds(response.headers.get("retry-after")),
        input=str(told.get("input", "")),
        expected=str(told.get("expected", "")),
        got=str(told.get("got", "")),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
