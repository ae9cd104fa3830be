"""Requests that nobody waits for: tried again while it may help, told once, left to others in a drain."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    Draining,
    InvalidTensor,
    ModelLoading,
    ModelRocketError,
    Overloaded,
)
from chalicelib.contract.hotstate.answers import Head
from chalicelib.contract.transfers import Transfer
from host_container.admission import Admitted
from host_container.answers import Deferred, Held
from host_container.errands import Ends, Errand, Means
from host_container.fairness import Turns
from host_container.http1 import Response
from tests.support.waiting import eventually
from tests.unit.host.test_payloads import BODY, GOOD, Store, in_loop, saying, store

GONE = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"


@dataclass
class HotState:
    """Away as often as it is told to be."""

    away: int = 0
    told: list[tuple[str, Head, bytes]] = field(default_factory=list)

    def finish_answer(self, answer_id: str, head: Head, body: bytes) -> bool:
        if self.away:
            self.away -= 1
            raise DependencyFailed("away")
        self.told.append((answer_id, head, body))
        return len(self.told) == 1


class Events:
    def write(self, event: str, **fields: Any) -> None:
        raise AssertionError(event)


class Desk:
    """Runs what an errand brings: each run fails with the next error, until there is none."""

    def __init__(self, there: Store, *errors: ModelRocketError, seconds: float = 20) -> None:
        self.hot = HotState()
        self.errors = list(errors)
        self.runs: list[bytes] = []
        self.ended: list[ModelRocketError | bytes] = []
        deferred: Any = Deferred(self.hot, there.payloads, events=Events(), clock=time.monotonic)  # type: ignore[arg-type]
        self.means = Means(there.payloads, Held(), deferred, Turns(time.monotonic), time.monotonic)
        transfer = Transfer(
            "request", inputs_url=there.url, answer_url=there.url, answer_id="answer", seconds=seconds
        )
        self.errand = self._errand(transfer)
        self.counted = 0

    def _errand(self, transfer: Transfer) -> Errand:
        admitted = Admitted(transfer.request_id, "tenant", "version", 20)
        ends = Ends(run=self.run, done=lambda _: None, fail=self.fail, crash=lambda: None)
        return Errand(admitted, transfer, self.means, ends, began=time.monotonic())

    def run(self, admitted: Admitted, inputs: bytearray) -> None:
        self.runs.append(bytes(inputs))
        if self.errors:
            self.fail(self.errors.pop(0))
        else:
            self.end(b"answer")

    def fail(self, error: ModelRocketError) -> None:
        if not self.errand.comes_back(error):
            self.end(error)

    def end(self, outcome: ModelRocketError | bytes) -> None:
        self.ended.append(outcome)
        self.errand.end()
        body = outcome if isinstance(outcome, bytes) else b"error"
        self.errand.tell(Response(200, body, {}), self.count)

    def count(self) -> None:
        self.counted += 1


def soon(kind: type[Any]) -> ModelRocketError:
    error: ModelRocketError = kind("not now", retry_after=0.01)
    return error


@in_loop
async def test_what_fails_only_for_now_is_tried_again_with_the_inputs_that_are_there() -> None:
    asked = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await saying(GONE if asked == 1 else GOOD + BODY)(reader, writer)

    async with store(counting) as there:
        desk = Desk(there, soon(ModelLoading), soon(Overloaded))
        desk.errand.start()
        await eventually(lambda: desk.counted, what="the answer")
        assert (asked, desk.runs, desk.ended) == (2, [BODY] * 3, [b"answer"])
        assert desk.hot.told == [("answer", Head(200, {"content-type": "application/json"}, 6), b"answer")]
        assert desk.counted == 1


@in_loop
async def test_what_fails_for_good_or_too_late_is_the_answer() -> None:
    for error in (InvalidTensor("no"), ModelLoading("not now", retry_after=100)):
        async with store(saying(GOOD + BODY)) as there:
            desk = Desk(there, error)
            desk.errand.start()
            await eventually(lambda: desk.hot.told, what="the answer")  # noqa: B023
            assert (len(desk.runs), desk.ended) == (1, [error])


@in_loop
async def test_a_draining_host_leaves_it_to_another_one() -> None:
    async with store(saying(GOOD + BODY)) as there:
        desk = Desk(there, Draining("this host is going"))
        desk.errand.start()
        await eventually(lambda: desk.runs, what="the run")
        assert (desk.ended, desk.hot.told, there.room.is_empty) == ([], [], True)
        for _ in range(limits.TENANT_ANSWERS_MAX):
            desk.means.deferred.accept("tenant")
        with pytest.raises(Overloaded):
            desk.means.deferred.accept("tenant")


@in_loop
async def test_an_answer_waits_for_a_hot_state_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_container.answers._TELL_PAUSE_SECONDS", 0.01)
    async with store(saying(GOOD + BODY)) as there:
        desk = Desk(there)
        desk.hot.away = 3
        desk.errand.start()
        await eventually(lambda: desk.counted, what="the answer to be told")
        assert (len(desk.runs), len(desk.hot.told)) == (1, 1)


@in_loop
async def test_an_answer_that_somebody_else_told_before_is_not_counted() -> None:
    async with store(saying(GOOD + BODY)) as there:
        desk = Desk(there)
        desk.hot.told.append(("answer", Head(200, {}, 0), b""))
        desk.errand.start()
        await eventually(lambda: len(desk.hot.told) > 1, what="the second answer")
        await asyncio.sleep(0)
        assert desk.counted == 0


@in_loop
async def test_a_large_answer_that_cannot_be_stored_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_BYTES_HOT_MAX", 3)

    async def no_puts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.read(6 if head.startswith(b"PUT") else 0)
        writer.write(GONE if head.startswith(b"PUT") else GOOD + BODY)
        await writer.drain()

    async with store(no_puts) as there:
        desk = Desk(there)
        desk.errand.start()
        await eventually(lambda: desk.hot.told, what="the answer")
        [(_, head, body)] = desk.hot.told
        assert (head.status, head.stored) == (503, False)
        assert b"could not be kept" in body


@in_loop
async def test_one_account_and_one_host_have_so_many_at_once() -> None:
    async with store(saying(GOOD + BODY)) as there:
        deferred = Desk(there).means.deferred
        for number in range(limits.HOST_ANSWERS_MAX):
            deferred.accept(f"tenant-{number // limits.TENANT_ANSWERS_MAX}")
        with pytest.raises(Overloaded, match="This host"):
            deferred.accept("another")
        deferred.leave("tenant-0")
        deferred.accept("another")
