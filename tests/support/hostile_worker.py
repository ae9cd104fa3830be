"""Workers that do not keep to the protocol: closed in like all, and corrupted from within.

The fork server imports this before its first fork when a test has it do so. A worker
then does as it should until an input has the name of a misdeed in it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from host_container.frames import RAN, Frame, Kind, frame
from host_container.worker import Worker

HANG_UP: Final = "hang up"
UNKNOWN: Final = 2**63
FLOOD_FRAMES: Final = 500
ALIKE: Final = b'{"answering": {"ran": true}, "other": {"ran": true}, "differing": false}'
Said = Callable[[Frame], bytes]


def corrupt() -> None:
    take = Worker._take

    def took(self: Worker, one: Frame, received: float) -> None:
        asked = bytes(one.payload) if one.kind == Kind.RUN else b""
        for name, said in MISDEEDS.items():
            if name.encode() in asked:
                _flood(self._connection, said(one))
        if HANG_UP.encode() in asked:
            _hang_up(self._connection)
        take(self, one, received)

    Worker._take = took  # type: ignore[method-assign]


def _flood(connection: socket.socket, said: bytes) -> NoReturn:
    """For ever, and whatever becomes of it: it never asks again and never ends by itself."""
    flood = said * FLOOD_FRAMES
    while True:
        with suppress(OSError):
            connection.sendall(flood)


def _hang_up(connection: socket.socket) -> NoReturn:
    """And live on."""
    connection.close()
    while True:
        time.sleep(1)


def _answer_to_nothing(_: Frame) -> bytes:
    return frame(Kind.ANSWER, RAN.pack(0, 0, 0, 1, 1, 0) + b"{}", identity=UNKNOWN)


def _refusal_of_nothing(_: Frame) -> bytes:
    return frame(Kind.REFUSED, b'{"code": "x", "message": "x"}', identity=UNKNOWN)


def _answer_twice(one: Frame) -> bytes:
    return frame(Kind.ANSWER, RAN.pack(0, 0, 0, 1, 1, 0) + b"{}", identity=one.identity)


def _comparison_of_nothing(_: Frame) -> bytes:
    return frame(Kind.COMPARED, ALIKE, identity=UNKNOWN)


def _comparison_in_place_of_an_answer(one: Frame) -> bytes:
    return frame(Kind.COMPARED, ALIKE, identity=one.identity)


def _unasked_drop(one: Frame) -> bytes:
    return frame(Kind.DROPPED, b"", identity=one.identity)


def _report_of_nothing(_: Frame) -> bytes:
    return frame(Kind.LOADED, b"{}", slot=2**31)


def _failure_of_nothing(_: Frame) -> bytes:
    return frame(Kind.FAILED, b"{}", slot=2**31)


def _order_of_the_front(one: Frame) -> bytes:
    return frame(Kind.UNLOAD, b"", slot=one.slot)


def _unknown_kind(_: Frame) -> bytes:
    return b"\xff".join((bytes(4), bytes(35)))


def _cut_short(one: Frame) -> bytes:
    return frame(Kind.ANSWER, b"{}", identity=one.identity)


def _not_a_number(one: Frame) -> bytes:
    return frame(Kind.ANSWER, RAN.pack(float("nan"), 0, 0, 1, 1, 0), identity=one.identity)


def _more_json_than_there_is(one: Frame) -> bytes:
    return frame(Kind.ANSWER, RAN.pack(0, 0, 0, 1, 1, 10**6), identity=one.identity)


def _endless_depth(one: Frame) -> bytes:
    return frame(Kind.REFUSED, b'{"x":' + b"[" * 100_000, identity=one.identity)


def _too_long(_: Frame) -> bytes:
    return b"\xff" * 40


MISDEEDS: Final[dict[str, Said]] = {
    "answer to nothing": _answer_to_nothing,
    "refusal of nothing": _refusal_of_nothing,
    "answer twice": _answer_twice,
    "comparison of nothing": _comparison_of_nothing,
    "comparison in place of an answer": _comparison_in_place_of_an_answer,
    "unasked drop": _unasked_drop,
    "report of nothing": _report_of_nothing,
    "failure of nothing": _failure_of_nothing,
    "order of the front": _order_of_the_front,
    "unknown kind": _unknown_kind,
    "cut short": _cut_short,
    "not a number": _not_a_number,
    "more JSON than there is": _more_json_than_there_is,
    "endless depth": _endless_depth,
    "too long": _too_long,
}
