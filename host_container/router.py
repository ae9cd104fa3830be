"""One dispatch: ticket → version → a model in a worker → its answer. Transport-free.

A request for a model that is loaded is handed to its worker before `start`
returns, without a task of its own; only a cold one waits in a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    Draining,
    ModelRocketError,
    NotFound,
    Overloaded,
    Unauthenticated,
)
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.transfers import Transfer, read_transfer
from host_container.admission import Admitted, admit
from host_container.failures import crashed, interrupted, too_late
from host_container.fairness import Turns
from host_container.frames import Asked
from host_container.handle import Loaded, Lost, Outcome, Ran
from host_container.load import Loads
from host_container.presence import Presence
from host_container.replicas import Replicas
from host_container.trials import Trials
from host_container.workers import Workers

_REPEATS_MAX: Final = 3
"""How often a request is run again whose worker ended over another version."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds."""

    queue: float
    load: float
    batch: float
    run: float


@dataclass(frozen=True, slots=True)
class Answer:
    """`json_bytes` of the body are JSON, 0 means all. `rows` shared its run, `own_rows` are the request's.

    `cold`: it waited for its model to be loaded.
    """

    body: bytes
    version: int
    timings: Timings
    rows: int
    own_rows: int
    json_bytes: int
    cold: bool


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` measures; `unix` is only compared with what another machine wrote. Seconds."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]


Done = Callable[[Answer | ModelRocketError], None]


@dataclass(eq=False, slots=True)
class Call:
    """One request on its way. Times are on the monotonic clock.

    `loaded` has been asked, and knows it by its `identity`.
    """

    admitted: Admitted
    asked: Asked
    done: Done
    received: float
    deadline: float
    held: float = 0.0
    task: asyncio.Task[None] | None = None
    loaded: Loaded | None = None
    identity: int = 0
    repeats: int = 0
    over: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What a request passes through."""

    replicas: Replicas
    workers: Workers
    trials: Trials
    turns: Turns
    loads: Loads


class Router:
    """Counts what is in flight and bounds it. Owned by the event loop."""

    def __init__(self, parts: Parts, *, presence: Presence, key: bytes, clocks: Clocks) -> None:
        self._presence = presence
        self._key = key
        self.replicas = parts.replicas
        self.workers = parts.workers
        self._trials = parts.trials
        self.turns = parts.turns
        self._loads = parts.loads
        self._clocks = clocks
        self.in_flight = 0
        self.closed = False

    def admit(self, header: bytes) -> Admitted:
        """Raises Unauthenticated, NotMe, DeadlineExceeded."""
        boot_id = self._presence.alive(self._clocks.monotonic())
        return admit(header, key=self._key, boot_id=boot_id, unix=self._clocks.unix())

    def transfer(self, header: bytes, admitted: Admitted) -> Transfer:
        """What the gateway says of the store, for this very request. Raises Unauthenticated."""
        transfer = read_transfer(header, self._key)
        if transfer is None or transfer.request_id != admitted.request_id:
            raise Unauthenticated("Only the platform's gateway may send a host to the store.")
        return transfer

    def start(self, admitted: Admitted, asked: Asked, done: Done) -> Call:
        """`done` is called once with the answer or the error, never before this returns.

        Raises Draining, Overloaded, NotFound.
        """
        if self.closed:
            raise Draining("This host is shutting down. Another one answers.")
        if self.in_flight >= limits.HOST_QUEUE_MAX:
            raise Overloaded("This host has more requests than it can hold. Try again shortly.")
        received = self._clocks.monotonic()
        call = Call(admitted, asked, done, received, received + admitted.seconds_left)
        loaded = self.replicas.hold_now(admitted.version_id)
        self.in_flight += 1
        self._loads.began(admitted.version_id, received)
        if loaded is None:
            call.task = asyncio.get_running_loop().create_task(self._wake(call))
        else:
            try:
                self._run(call, loaded)
            except ModelRocketError:
                self._end(call)
                raise
        return call

    def cancel(self, call: Call) -> None:
        """Nobody waits any more: what has not started is dropped."""
        if call.task is not None:
            call.task.cancel()
        if call.loaded is not None:
            self.workers.drop(call.loaded, call.identity)
        self._end(call)

    def _run(self, call: Call, loaded: Loaded) -> None:
        try:
            _check_tenant(loaded.record, call.admitted)
            self._check_queues(loaded)
        except ModelRocketError:
            self.replicas.release(loaded)
            raise
        call.held = self._clocks.monotonic()
        done = partial(self._answered, call, loaded)
        call.loaded = loaded
        call.identity = self.workers.run(loaded, call.asked, deadline=call.deadline, done=done)

    def _check_queues(self, loaded: Loaded) -> None:
        if loaded.in_flight >= limits.MODEL_QUEUE_MAX:
            raise Overloaded("This model has more requests than it can hold. Try again shortly.")
        if len(loaded.worker.pending) >= limits.TENANT_QUEUE_MAX:
            raise Overloaded("Your models have more requests than this host holds for one account.")

    def _answered(self, call: Call, loaded: Loaded, outcome: Outcome) -> None:
        """A worker may have many answers at once; those of other tenants do not wait for all of them."""
        self.turns.take(call.admitted.tenant, partial(self._ran, call, loaded, outcome))

    def _ran(self, call: Call, loaded: Loaded, outcome: Outcome) -> None:
        self.replicas.release(loaded)
        if call.over:
            return
        match outcome:
            case Ran():
                self._loads.ran(
                    call.admitted.version_id, outcome.run_seconds * outcome.own_rows / max(1, outcome.rows)
                )
                self._finish(call, _answer(call, loaded.record, outcome))
            case Lost(suspect=False, elsewhere=elsewhere) if self._is_repeated(call, elsewhere=elsewhere):
                call.repeats += 1  # it had not started
                call.task = asyncio.get_running_loop().create_task(self._wake(call))
            case Lost(suspect=False, elsewhere=True):
                self._finish(call, interrupted())
            case Lost():
                self._finish(call, crashed())
            case ModelRocketError():
                self._finish(call, outcome)
        if call.admitted.on_trial is not None:
            self._trials.over(call.admitted, call.asked, loaded=loaded, outcome=outcome)

    def _is_repeated(self, call: Call, *, elsewhere: bool) -> bool:
        """Once where nobody knows why, oftener where it was another: that is in a worker of its own now."""
        return not self.closed and call.repeats < (_REPEATS_MAX if elsewhere else 1)

    async def _wake(self, call: Call) -> None:
        """Load what is not loaded, then run. Ends the call whatever happens, unless cancelled."""
        try:
            async with asyncio.timeout(call.deadline - self._clocks.monotonic()):
                record = await self._record(call.admitted)
                left = call.deadline - self._clocks.monotonic()
                loaded = await self.replicas.hold(record, wait_seconds=left)
            if call.over:
                self.replicas.release(loaded)
                return
            self._run(call, loaded)
        except TimeoutError:
            self._finish(call, too_late())
        except ModelRocketError as error:
            self._finish(call, error)
        except Exception as error:  # the boundary of a request that has a task: it must end
            self._finish(call, ModelRocketError("Something went wrong here. Report the request id."))
            raise error

    def _finish(self, call: Call, result: Answer | ModelRocketError) -> None:
        if not call.over:
            self._end(call)
            call.done(result)

    def _end(self, call: Call) -> None:
        if not call.over:
            call.over = True
            self.in_flight -= 1
            self._loads.ended(call.admitted.version_id, self._clocks.monotonic())

    async def _record(self, admitted: Admitted) -> VersionRecord:
        record = admitted.record or await self.replicas.record(admitted.version_id)
        if record is None:  # the gateway knows it: the hot state has forgotten and will be told again
            raise DependencyFailed("The version is not known here yet. Try again shortly.", retry_after=2)
        _check_tenant(record, admitted)
        return record


def _check_tenant(record: VersionRecord, admitted: Admitted) -> None:
    if record.tenant != admitted.tenant:
        raise NotFound("There is no such model.")


def _answer(call: Call, record: VersionRecord, ran: Ran) -> Answer:
    cold = call.task is not None and not call.repeats
    timings = Timings(
        queue=ran.queue_seconds,
        load=call.held - call.received if cold else 0.0,
        batch=ran.batch_seconds,
        run=ran.run_seconds,
    )
    return Answer(ran.body, record.number, timings, ran.rows, ran.own_rows, ran.json_bytes, cold)
