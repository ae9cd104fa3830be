"""Talks to the control plane: JSON in and out, the server's errors as ours, retries inside a time budget."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import orjson

from modelrocket import __version__, tensors
from modelrocket.errors import ApiError, ConnectionFailed, ModelRocketError, Refusal, Timeout, api_error

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
CONNECTION_TRIES_MAX = 4
RETRIES_MAX = 60
BACKOFF_SECONDS = 0.25
BACKOFF_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class Clock:
    """The time that passes and how to wait for it; a test brings its own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


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
    """One request. A repeatable one may be sent again when its answer got lost."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    repeatable: bool = True
    bearer: str | None = None


class Api:
    """One endpoint, over one connection pool."""

    def __init__(self, endpoint: str, *, transport: httpx.BaseTransport | None, clock: Clock) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            headers={"User-Agent": f"modelrocket/{__version__}"},
            trust_env=not is_loopback(endpoint),  # a proxy for the internet knows nothing of this machine
        )

    def ask(self, call: Call, budget: Budget) -> Any:
        """The answer's JSON, None where it is empty. Raises `ApiError`, `ConnectionFailed` or `Timeout`."""
        failure: ModelRocketError
        for attempt in range(RETRIES_MAX):
            try:
                return self._ask_once(call, budget)
            except ApiError as error:
                failure, pause = error, error.retry_after or backoff_seconds(attempt)
                again = error.retryable
            except httpx.TransportError as error:
                failure, pause = self._no_answer(error), backoff_seconds(attempt)
                again = attempt + 1 < CONNECTION_TRIES_MAX and (call.repeatable or _never_sent(error))
            if not again or not budget.wait(pause):
                break
        raise failure

    def _ask_once(self, call: Call, budget: Budget) -> Any:
        headers = {"Content-Type": "application/json"}
        if call.bearer is not None:
            headers["Authorization"] = f"Bearer {call.bearer}"
        remaining = budget.remaining()
        if remaining <= 0:
            raise Timeout(f"{call.method} {call.path} did not fit into {budget.seconds:.0f} s.")
        response = self.http.request(
            call.method,
            self.endpoint + call.path,
            content=_written(call.body),
            headers=headers,
            timeout=httpx.Timeout(min(remaining, SILENCE_SECONDS), connect=min(remaining, CONNECT_SECONDS)),
        )
        if response.is_success:
            return _parsed(response)
        raise api_error(_refusal(response))

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


def _written(body: Mapping[str, Any] | None) -> bytes | None:
    if body is None:
        return None
    return orjson.dumps(body, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: object) -> object:
    """What orjson does not write by itself: arrays inside lists that are strided, or not native."""
    if isinstance(value, np.ndarray):
        return tensors.encode(value)
    raise TypeError(f"{type(value).__name__} is no tensor value")


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


def _refusal(response: httpx.Response) -> Refusal:
    """What the server said; an answer from something in between (a proxy, say) has no error object."""
    try:
        told = orjson.loads(response.content)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        told = None
    told = told if isinstance(told, dict) else {}
    status = response.status_code
    return Refusal(
        code=str(told.get("code", f"http_{status}")),
        message=str(told.get("message", f"The server answered {status} {response.reason_phrase}.")),
        status=status,
        retryable=bool(told.get("retryable", status in (429, 502, 503, 504))),
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
