"""One dispatch: ticket → version → a model in memory → its answer. Transport-free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, Draining, NotFound, Overloaded
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.tokens import Ticket
from host_container.admission import Admitted, admit
from host_container.inference import Model, Output, answer
from host_container.presence import Presence
from host_container.replicas import Replicas
from host_container.runs import Run, RunThreads, too_late


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds."""

    queue: float
    load: float
    run: float


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    version: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` measures; `unix` is only compared with what another machine wrote. Seconds."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Ran:
    output: Output
    started: float


class Router:
    """Counts what is in flight and bounds it. Owned by the event loop."""

    def __init__(
        self, *, presence: Presence, key: bytes, replicas: Replicas, threads: RunThreads, clocks: Clocks
    ) -> None:
        self._presence = presence
        self._key = key
        self.replicas = replicas
        self.threads = threads
        self._clocks = clocks
        self.in_flight = 0
        self.closed = False

    def admit(self, header: bytes) -> Admitted:
        """Raises Unauthenticated, NotMe, DeadlineExceeded."""
        boot_id = self._presence.alive(self._clocks.monotonic())
        return admit(header, key=self._key, boot_id=boot_id, unix=self._clocks.unix())

    async def infer(self, admitted: Admitted, body: bytes | bytearray) -> Answer:
        """Cancel it when nobody waits any more: work that has not started is dropped.

        Raises a ModelRocketError for everything that is not an answer.
        """
        if self.closed:
            raise Draining("This host is shutting down. Another one answers.")
        if self.in_flight >= limits.HOST_QUEUE_MAX:
            raise Overloaded("This host has more requests than it can hold. Try again shortly.")
        self.in_flight += 1
        try:
            async with asyncio.timeout(admitted.seconds_left):
                return await self._answer(admitted, body)
        except TimeoutError:
            raise too_late() from None
        finally:
            self.in_flight -= 1

    async def _answer(self, admitted: Admitted, body: bytes | bytearray) -> Answer:
        clock = self._clocks.monotonic
        received = clock()
        deadline = received + admitted.seconds_left
        record = await self._record(admitted.ticket)
        model = await self.replicas.hold(record, wait_seconds=admitted.seconds_left)
        held = clock()
        ran = await self.threads.submit(self._run(model, body, deadline))
        if clock() > deadline:
            raise too_late()
        timings = Timings(queue=ran.started - held, load=held - received, run=ran.output.run_seconds)
        return Answer(ran.output.body, record.number, timings)

    def _run(self, model: Model, body: bytes | bytearray, deadline: float) -> Run[_Ran]:
        clock = self._clocks.monotonic

        def work() -> _Ran:
            started = clock()
            return _Ran(answer(model, body, clock=clock), started)

        return Run(work, deadline=deadline, released=lambda: self.replicas.release(model))

    async def _record(self, ticket: Ticket) -> VersionRecord:
        record = await self.replicas.record(ticket.version_id)
        if record is None:  # the gateway knows it: the hot state has forgotten and will be told again
            raise DependencyFailed("The version is not known here yet. Try again shortly.", retry_after=2)
        if record.tenant != ticket.tenant:
            raise NotFound("There is no such model.")
        return record
