"""The load generator: a process of its own that keeps every connection busy, one request at a time.

Run as `python -m benchmarks.loadgen`. It reads an `Order` as one JSON line, writes
`{"event": "warm"}` once the warm-up is over, and goes on until it reads `{"window": [start, end]}`:
then it writes a `Report` of the answers that came in that window of the monotonic clock.
Standard library and uvloop only: it shares the machine with the server under test.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import uvloop

from benchmarks.figures import median_and_p99

_OK: Final = 200
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"
_SAMPLES: Final = 32
_SAMPLE_EVERY: Final = 53
"""Every 53rd answer is kept: a prime, so that all the inputs take their turn."""
PAUSE_SECONDS: Final = 0.02
_LIMIT: Final = 2**30


@dataclass(frozen=True, slots=True)
class Order:
    """Where to send what.

    Attributes:
        requests: whole HTTP requests in base64, used in turn.
        pause_seconds: after a refusal. A server that refuses is not helped by being asked at once again;
            a flood does not care.
        nice: how much more willingly than others it gives way to who else needs the processor.
    """

    host: str
    port: int
    connections: int
    warm_up_seconds: float
    requests: list[str]
    pause_seconds: float = PAUSE_SECONDS
    nice: int = 0


@dataclass(slots=True)
class Tally:
    """All that was seen. `answers` are pairs of arrival time and seconds taken."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    """When they came."""
    problems: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, bytes]] = field(default_factory=list)
    """Which request, and the whole answer to it."""

    def answered(self, number: int, answer: bytes, *, status: int, sent: float, now: float) -> None:
        if status != _OK:
            self.problems[f"status {status}"] += 1
            self.refusals.append(now)
            return
        if len(self.answers) % _SAMPLE_EVERY == 0 and len(self.samples) < _SAMPLES:
            self.samples.append((number, answer))
        self.answers.append((now, now - sent))

    def report(self, start: float, end: float) -> dict[str, Any]:
        """Problems count from the very beginning: warming up is no excuse for a wrong answer."""
        taken = [seconds for at, seconds in self.answers if start <= at <= end]
        p50, p99 = median_and_p99(taken)
        return {
            "count": len(taken),
            "refused": sum(start <= at <= end for at in self.refusals),
            "p50_ms": p50 * 1000,
            "p99_ms": p99 * 1000,
            "problems": dict(self.problems),
            "samples": [(number, base64.b64encode(answer).decode()) for number, answer in self.samples],
        }


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is complete."""

    def __init__(self, requests: list[bytes], first: int, tally: Tally, *, pause_seconds: float) -> None:
        self._requests = requests
        self._pause_seconds = pause_seconds
        self._numbers = itertools.cycle((*range(first, len(requests)), *range(first)))
        self._tally = tally
        self._number = first
        self._sent = 0.0
        self._answer = b""
        self._wanted = 0
        self._transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._answer = self._answer + data if self._answer else data
        if not self._wanted:
            self._wanted = answer_length(self._answer)
        if self._wanted < 0:
            self._tally.problems["an answer without a Content-Length"] += 1
            self._transport.abort()
        elif self._wanted and len(self._answer) >= self._wanted:
            self._finish()

    def close(self) -> None:
        self._transport.abort()

    def _send(self) -> None:
        self._number = next(self._numbers)
        self._answer, self._wanted = b"", 0
        self._sent = time.monotonic()
        self._transport.write(self._requests[self._number])

    def _finish(self) -> None:
        answer, now = self._answer, time.monotonic()
        status = int(answer[9:12])
        self._tally.answered(self._number, answer, status=status, sent=self._sent, now=now)
        if status == _OK or not self._pause_seconds:
            self._send()
        else:
            asyncio.get_running_loop().call_later(self._pause_seconds, self._send_if_open)

    def _send_if_open(self) -> None:
        if not self._transport.is_closing():
            self._send()


def answer_length(received: bytes) -> int:
    """Bytes of the whole answer; 0 while the head is incomplete, -1 when it does not tell its length."""
    end = received.find(_HEAD_END)
    if end < 0:
        return 0
    head = received[:end].lower() + b"\r\n"
    position = head.find(_LENGTH)
    if position < 0:
        return -1
    start = position + len(_LENGTH)
    return end + len(_HEAD_END) + int(head[start : head.index(b"\r\n", start)])


async def keep_connected(order: Order, requests: list[bytes], first: int, tally: Tally) -> None:
    """One connection, opened again when the server closes it, which is counted as a problem."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(requests, first, tally, pause_seconds=order.pause_seconds),
                order.host,
                order.port,
            )
        except OSError as error:
            tally.problems[f"cannot connect: {error.strerror}"] += 1
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        try:
            await connection.lost
        finally:
            connection.close()
        tally.problems["a connection the server closed"] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def run() -> None:
    reader = await _standard_input()
    order = Order(**json.loads(await reader.readline()))
    os.nice(order.nice)
    requests = [base64.b64decode(request) for request in order.requests]
    tally = Tally()
    tasks = [
        asyncio.create_task(keep_connected(order, requests, number % len(requests), tally))
        for number in range(order.connections)
    ]
    await asyncio.sleep(order.warm_up_seconds)
    _say({"event": "warm", "cpu_seconds": time.process_time()})
    window = json.loads(await reader.readline())["window"]
    spent = time.process_time()
    problems = Counter(tally.problems)  # what closing brings about is our own doing
    await _cancel(tasks)
    tally.problems = problems
    _say({**tally.report(*window), "cpu_seconds": spent})


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _say(line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    uvloop.run(run())
