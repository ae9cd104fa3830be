"""`vanish`: many callers send a request and are gone at once; how long until others are served again.

What the server does with the work nobody waits for decides: dropped work costs
nothing, finished work stands in the way of new callers.
"""

from __future__ import annotations

import math
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.cells import LOOPBACK, Lane
from benchmarks.loadgen import answer_length

CALLERS: Final = 200
_CALM_SECONDS: Final = 0.5
_IN_A_ROW: Final = 5
_AFTER_SECONDS: Final = 3.0
_FLIGHT_SECONDS: Final = 0.005
_ANSWER_SECONDS_MAX: Final = 30.0
_READ_BYTES: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
_OK: Final = b"200"


@dataclass(frozen=True, slots=True)
class Answered:
    """When on the monotonic clock, after how many seconds, and whether with status 200."""

    at: float
    seconds: float
    good: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """Milliseconds of one request after the other, each on a new connection.

    Attributes:
        calm: median before.
        first: until the first answer after they vanished, from that moment.
        worst: the slowest answer of the three seconds that follow.
        normal_again: until five answers in a row took at most twice the calm median.
        problems: answers that were not 200, connections that broke.
    """

    calm: float
    first: float
    worst: float
    normal_again: float
    problems: int


def measure(lane: Lane, callers: int = CALLERS) -> Recovery:
    requests = lane.requests()
    calm = statistics.median(one.seconds for one in _watched(lane.port, requests, _CALM_SECONDS))
    vanished = _vanish(lane.port, requests, callers)
    answers = _watched(lane.port, requests, _AFTER_SECONDS)
    return Recovery(
        calm=calm * 1000,
        first=(answers[0].at - vanished) * 1000,
        worst=max(one.seconds for one in answers) * 1000,
        normal_again=(normal_again(answers, limit=2 * calm) - vanished) * 1000,
        problems=sum(not one.good for one in answers),
    )


def _vanish(port: int, requests: Sequence[bytes], callers: int) -> float:
    """When they were gone: each has sent a whole request, and resets its connection."""
    crowd = [socket.create_connection((LOOPBACK, port)) for _ in range(callers)]
    for number, caller in enumerate(crowd):
        caller.sendall(requests[number % len(requests)])
    time.sleep(_FLIGHT_SECONDS)
    for caller in crowd:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        caller.close()
    return time.monotonic()


def _watched(port: int, requests: Sequence[bytes], seconds: float) -> list[Answered]:
    """One request after the other for that long, each on a connection of its own, as new callers come."""
    answers: list[Answered] = []
    end = time.monotonic() + seconds
    while not answers or answers[-1].at < end:
        answers.append(_asked(port, requests[len(answers) % len(requests)]))
    return answers


def _asked(port: int, request: bytes) -> Answered:
    sent = time.monotonic()
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS_MAX) as connection:
            connection.sendall(request)
            good = _answer(connection)[9:12] == _OK
    except OSError:
        good = False
    now = time.monotonic()
    return Answered(at=now, seconds=now - sent, good=good)


def normal_again(answers: Sequence[Answered], *, limit: float) -> float:
    """When the first of five quick good answers came; infinity when there were none."""
    quick = [one.good and one.seconds <= limit for one in answers]
    starts = range(len(answers) - _IN_A_ROW + 1)
    ends = (answers[start].at for start in starts if all(quick[start : start + _IN_A_ROW]))
    return next(ends, math.inf)


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while True:
        part = connection.recv(_READ_BYTES)
        if not part:
            raise ConnectionResetError("the server closed the connection before its answer was complete")
        received += part
        wanted = answer_length(received)
        if wanted < 0 or 0 < wanted <= len(received):
            return received
