"""Puts the model's bytes straight into the store, part by part, by the requests that the server signed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from modelrocket.api import Api, Budget, backoff_seconds
from modelrocket.errors import UploadFailed

CHUNK_BYTES = 256 * 1024
TRIES_MAX = 6
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_TOO_MANY = 429

Sent = Callable[[int], None]
"""Called with how many bytes have been sent in all; a retry starts lower again."""


def put_parts(
    api: Api, model: bytes, parts: Sequence[Mapping[str, Any]], *, budget: Budget, sent: Sent
) -> None:
    """Raises `UploadFailed`."""
    for part in parts:
        _put_part(api, model, part, budget=budget, sent=sent)


def _put_part(api: Api, model: bytes, part: Mapping[str, Any], *, budget: Budget, sent: Sent) -> None:
    for attempt in range(TRIES_MAX):
        trouble = _trouble_putting(api, model, part, sent)
        if trouble is None:
            return
        if not budget.wait(backoff_seconds(attempt)):
            break
    raise UploadFailed(f"The model did not reach the store: {trouble}. Call upload again.")


def _trouble_putting(api: Api, model: bytes, part: Mapping[str, Any], sent: Sent) -> str | None:
    """None when the part arrived, else what may pass when it is tried again. Raises what will not pass."""
    headers = {**part["headers"], "Content-Length": str(part["bytes"])}
    chunks = _chunks(model, part["offset"], part["bytes"], sent)
    try:
        response = api.http.request(part["method"], part["url"], headers=headers, content=chunks)
    except httpx.TransportError as error:
        return f"{type(error).__name__}: {error}"
    status = response.status_code
    if status < _CLIENT_ERROR and not response.is_redirect:
        return None
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        return f"the store answered {status}"
    raise UploadFailed(
        f"The store refused the model with {status} {response.reason_phrase}. The signed request is good for "
        "a limited time, and only with a right clock: call upload again."
    )


def _chunks(model: bytes, offset: int, size: int, sent: Sent) -> Iterator[bytes]:
    view = memoryview(model)[offset : offset + size]
    for start in range(0, size, CHUNK_BYTES):
        chunk = bytes(view[start : start + CHUNK_BYTES])
        yield chunk
        sent(offset + start + len(chunk))
