"""Callers that ask a deployed model all the time and remember every answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from modelrocket import Deployment
from tests.support.waiting import wait_for

REQUEST_SECONDS_MAX: Final = 40.0
PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what was sent, and what came. `status` is 0 when no answer came at all.

    `version`: what X-Model-Version says; 0 where it says nothing.
    """

    sent: float
    status: int
    body: Any
    seconds: float
    version: int = 0


@dataclass(slots=True)
class Load:
    """Answers so far. Appending to a list is atomic, so threads share it."""

    asked: list[Asked] = field(default_factory=list)

    def wait_for_more(self, count: int) -> None:
        """Until this many further answers have come."""
        wanted = len(self.asked) + count
        wait_for(lambda: len(self.asked) >= wanted, what=f"{count} more answers")

    def wait_for_good(self, count: int) -> None:
        """Until the last this many answers were all good."""
        wait_for(
            lambda: all(one.status == 200 for one in self.asked[-count:]),
            what=f"{count} good answers in a row",
        )

    def statuses(self) -> dict[int, int]:
        seen = [one.status for one in self.asked]
        return {status: seen.count(status) for status in sorted(set(seen))}


@contextmanager
def constant_load(
    deployment: Deployment, *, callers: int = 4, width: int = 1, pause: float = PAUSE_SECONDS
) -> Iterator[Load]:
    """Ask `[[x, …]]` with a different x every time, from several connections, until the block ends."""
    load, stop = Load(), threading.Event()
    threads = [
        threading.Thread(
            target=_call,
            args=(deployment, load, stop, number),
            kwargs={"width": width, "pause": pause},
            daemon=True,
        )
        for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(REQUEST_SECONDS_MAX * 2)


def _call(
    deployment: Deployment, load: Load, stop: threading.Event, number: int, *, width: int, pause: float
) -> None:
    nonce = float(number * 1_000_000)
    with httpx.Client(timeout=REQUEST_SECONDS_MAX) as http:
        while not stop.is_set():
            nonce += 1
            load.asked.append(_ask(http, deployment, nonce, width))
            stop.wait(pause)


def _ask(http: httpx.Client, deployment: Deployment, nonce: float, width: int) -> Asked:
    body = {
        "token": deployment.token,
        "model": deployment.model_id,
        "inputs": {"modelInput": [[nonce] * width]},
    }
    started, version = time.monotonic(), 0
    try:
        reply = http.post(deployment.url, json=body)
        status, answer = reply.status_code, reply.json()
        version = int(reply.headers.get("x-model-version", 0))
    except (httpx.HTTPError, ValueError) as error:
        status, answer = 0, repr(error)
    seconds = time.monotonic() - started
    return Asked(sent=nonce, status=status, body=answer, seconds=seconds, version=version)
