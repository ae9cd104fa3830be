"""Inputs to the store and answers from it, by requests that the server signed. They never carry a token.

For what is too large for one request to the endpoint; as steps, so with asyncio and without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx

from modelrocket.api import CONNECT_SECONDS, SILENCE_SECONDS, Api, Budget, backoff_seconds
from modelrocket.errors import ConnectionFailed, ModelRocketError, Refusal, Timeout, UploadFailed, api_error
from modelrocket.payload import CHUNK_BYTES
from modelrocket.steps import Flow, Send, Wait

SHOWN_AFTER_SECONDS = 2.0
"""A transfer that takes longer is shown, where somebody looks."""
_TRIES_MAX = 6
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_TOO_MANY = 429

Sent = Callable[[int], None]
"""Called with how many bytes have gone; a retry starts lower again."""


def storing(api: Api, upload: Mapping[str, Any], content: bytes, budget: Budget) -> Flow[None]:
    """Put inputs where the server said. Raises `UploadFailed` or `Timeout`."""
    with ExitStack() as shown:
        sent = _progress(api, len(content), shown)

        def request() -> httpx.Request:
            put = _request(api, upload["method"], upload["url"], budget, upload["headers"], content)
            put.stream = _Stream(content, sent)
            return put

        yield from _asking(api, request, budget, doing="store the inputs")


def fetching(api: Api, told: Mapping[str, Any], budget: Budget) -> Flow[bytes]:
    """An answer from where the server says it is. Raises `ConnectionFailed`, `Timeout` or `ApiError`."""
    url = str(told["url"])
    if urlsplit(url).scheme not in ("https", urlsplit(api.endpoint).scheme):
        raise _not_an_answer(f"it is said to be at an {urlsplit(url).scheme} address")
    response: httpx.Response = yield from _asking(
        api, lambda: _request(api, "GET", url, budget), budget, doing="fetch the answer"
    )
    if len(response.content) != told["bytes"]:
        raise _not_an_answer(f"it has {len(response.content)} of {told['bytes']} bytes")
    return response.content


def _asking(
    api: Api, request: Callable[[], httpx.Request], budget: Budget, *, doing: str
) -> Flow[httpx.Response]:
    trouble = ""
    for attempt in range(_TRIES_MAX):
        try:
            response = yield Send(request())
            assert response is not None
            if response.is_success:
                return response
            trouble = f"the store answered {response.status_code} {response.reason_phrase}"
            if response.status_code < _SERVER_ERROR and response.status_code != _TOO_MANY:
                raise _refused(doing, trouble)
        except httpx.TransportError as error:
            trouble = f"{type(error).__name__}: {error}"
        pause = backoff_seconds(attempt)
        if pause > budget.remaining():
            break
        yield Wait(pause)
    raise _refused(doing, trouble)


def _refused(doing: str, trouble: str) -> ModelRocketError:
    told = f"Could not {doing}: {trouble}."
    return UploadFailed(told) if doing.startswith("store") else ConnectionFailed(told)


def _not_an_answer(trouble: str) -> ModelRocketError:
    told = f"The answer in the store is not one: {trouble}."
    return api_error(Refusal(code="invalid_answer", message=told, status=200))


def _request(
    api: Api,
    method: str,
    url: str,
    budget: Budget,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> httpx.Request:
    remaining = budget.remaining()
    if remaining <= 0:
        raise Timeout(f"The inputs and the answer did not fit into {budget.seconds:.0f} s.")
    timeout = httpx.Timeout(min(remaining, SILENCE_SECONDS), connect=min(remaining, CONNECT_SECONDS))
    return api.http.build_request(method, url, content=content, headers=dict(headers or {}), timeout=timeout)


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Content in pieces, and word of each, for either kind of connection."""

    def __init__(self, content: bytes, sent: Sent) -> None:
        self._content = content
        self._sent = sent

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), CHUNK_BYTES):
            piece = self._content[start : start + CHUNK_BYTES]
            yield piece
            self._sent(start + len(piece))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


_ONE_BAR = Lock()
"""A terminal has room for one."""


def _progress(api: Api, total: int, shown: ExitStack) -> Sent:
    """A bar on a terminal or in a notebook, from when the transfer is a long one until `shown` closes."""
    begun = api.clock.monotonic()
    bar: list[Callable[[int], None]] = []

    def sent(done: int) -> None:
        if not bar and api.clock.monotonic() - begun >= SHOWN_AFTER_SECONDS:
            bar.append(_bar(total, shown))
        for one in bar:
            one(done)

    return sent


def _bar(total: int, shown: ExitStack) -> Sent:
    from rich.console import Console

    from modelrocket.display import live_display

    console = Console(stderr=True, highlight=False)
    if not (console.is_terminal or console.is_jupyter) or not _ONE_BAR.acquire(blocking=False):
        return lambda done: None
    shown.callback(_ONE_BAR.release)
    live = shown.enter_context(live_display(console))
    live.step("Sending the inputs")
    return lambda done: live.bytes_sent(done, total=total)
