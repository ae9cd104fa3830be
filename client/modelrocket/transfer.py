"""Puts a model's bytes straight into the store, some parts at once, by requests that the server signed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from modelrocket.api import Api, Budget, backoff_seconds
from modelrocket.errors import UploadFailed
from modelrocket.payload import MODEL, Payload

TRIES_MAX = 6
AT_ONCE_MAX = 4
GRANT_SHARE = 0.8
"""Of a grant's time: a part that would begin later waits for a fresh one."""
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_TOO_MANY = 429

Part = Mapping[str, Any]
Sent = Callable[[int], None]
"""Called with how many bytes of all the files have arrived; a retry starts lower again."""


@dataclass(frozen=True)
class Grants:
    """What the server still waits for, and until when (by the budget's clock) its signatures are good."""

    parts: Sequence[Part]
    until: float


class _Stopped(Exception):
    """Another part has failed for good."""


def put_parts(
    api: Api,
    payload: Payload,
    first: Mapping[str, Any],
    *,
    again: Callable[[], Any],
    budget: Budget,
    sent: Sent,
) -> None:
    """Send what is missing; `first` and `again()`: the server's `upload` objects. Raises `UploadFailed`."""
    upload = first
    while upload["parts"]:
        grants = Grants(upload["parts"], api.clock.monotonic() + GRANT_SHARE * upload["expires_in"])
        if _Round(api, payload, grants, budget=budget, sent=sent).run():
            return
        upload = again()


class _Round:
    """One set of grants, used by several threads until it is sent or has lapsed."""

    def __init__(self, api: Api, payload: Payload, grants: Grants, *, budget: Budget, sent: Sent) -> None:
        self._api = api
        self._payload = payload
        self._grants = grants
        self._budget = budget
        self._sent = sent
        self._arrived_before = payload.size - sum(part["bytes"] for part in grants.parts)
        self._progress = [0] * len(grants.parts)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self) -> bool:
        """Whether all of it has been sent. Raises `UploadFailed`."""
        numbers = range(len(self._grants.parts))
        if len(numbers) == 1:
            return self._put(0)
        with ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="upload") as pool, self._stopping():
            return all(list(pool.map(self._put, numbers)))

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """What fails, or is interrupted, in one thread ends the others."""
        try:
            yield
        finally:
            self._stop.set()

    def _put(self, index: int) -> bool:
        """False when the grant had lapsed. Raises `UploadFailed`, and the other parts are left then."""
        try:
            return self._tried(index)
        except BaseException:
            self._stop.set()
            raise

    def _tried(self, index: int) -> bool:
        trouble = ""
        for attempt in range(TRIES_MAX):
            if self._stop.is_set() or self._api.clock.monotonic() > self._grants.until:
                return False
            try:
                found = self._trouble_putting(index)
            except _Stopped:
                return False
            if found is None:
                return True
            trouble = found
            if not self._budget.wait(backoff_seconds(attempt)):
                break
        raise UploadFailed(
            f"The model did not reach the store: {trouble}. Call upload again: it goes on where it was."
        )

    def _trouble_putting(self, index: int) -> str | None:
        """None when it arrived, else what may pass when it is tried again. Raises what will not pass."""
        part = self._grants.parts[index]
        headers = {**part["headers"], "Content-Length": str(part["bytes"])}
        try:
            response = self._api.http.request(
                part["method"], part["url"], headers=headers, content=self._chunks(index, part)
            )
        except httpx.TransportError as error:
            return f"{type(error).__name__}: {error}"
        status = response.status_code
        if status < _CLIENT_ERROR and not response.is_redirect:
            return None
        if status >= _SERVER_ERROR or status == _TOO_MANY:
            return f"the store answered {status}"
        raise UploadFailed(
            f"The store refused the model with {status} {response.reason_phrase}. The signed request is good "
            "for a limited time, and only with a right clock: call upload again."
        )

    def _chunks(self, index: int, part: Part) -> Iterator[bytes]:
        done = 0
        file = part.get("file", MODEL)
        for chunk in self._payload.chunks(file, offset=part["offset"], size=part["bytes"]):
            if self._stop.is_set():
                raise _Stopped
            yield chunk
            done += len(chunk)
            with self._lock:
                self._progress[index] = done
                self._sent(self._arrived_before + sum(self._progress))
