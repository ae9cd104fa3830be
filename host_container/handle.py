"""One worker as the front sees it: its connection, what it holds, what it was asked.

Whatever it was asked stays open until it has said what became of it, though nobody
may wait any more. So each frame of an honest worker answers something that is open;
the first one that does not ends the worker, and nothing after it is read.

Owned by the event loop; nothing here blocks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.messages import VersionRecord
from host_container.beacon import Beacon
from host_container.failures import too_late
from host_container.frames import (
    RAN,
    Asked,
    BrokenFrames,
    Compared,
    Failure,
    Frame,
    FrameReader,
    Kind,
    LoadReport,
    compare_head,
    frame,
    run_head,
)
from host_container.prepared import ModelFiles

T = TypeVar("T")
_FRAME_BYTES_MAX: Final = limits.RESPONSE_BYTES_MAX + (1 << 16)
_NOTHING: Final = -1
_REPORTS: Final = frozenset({Kind.LOADED, Kind.FAILED})


@dataclass(frozen=True, slots=True)
class Ran:
    """An answer. Seconds; `own_rows` of the run's `rows` are the request's; `json_bytes` are JSON, 0: all."""

    body: bytes
    queue_seconds: float
    batch_seconds: float
    run_seconds: float
    rows: int
    own_rows: int
    json_bytes: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended before it answered.

    `suspect`: this very request was running then. `elsewhere`: another version alone is to blame.
    """

    suspect: bool
    elsewhere: bool = False


Outcome = Ran | Compared | Lost | ModelRocketError
Done = Callable[[Outcome], None]


@dataclass(eq=False, slots=True)
class Loaded:
    """A version in a worker. `in_flight` requests are neither answered nor given up."""

    record: VersionRecord
    worker: WorkerHandle
    slot: int
    report: LoadReport
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `loaded` has answered, for the `other` version in the same worker to answer too.

    `tolerance`: how far floating-point outputs may be apart, see `Guard`.
    """

    loaded: Loaded
    other: Loaded
    asked: Asked
    tolerance: float


@dataclass(eq=False, slots=True)
class Pending:
    """A request the worker has not spoken about.

    `answered`: its caller was told something all the same. `dropped`: the worker was told not to run it.
    `compares`: it is for no caller, and `loaded` is the version that did not answer.
    """

    loaded: Loaded
    deadline: float
    done: Done
    answered: bool = False
    dropped: bool = False
    compares: bool = False


@dataclass(eq=False, slots=True)
class Loading:
    """A load the worker has not spoken about."""

    record: VersionRecord
    worker: WorkerHandle
    slot: int
    files: ModelFiles
    report: asyncio.Future[LoadReport] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class WorkerHandle(asyncio.Protocol):
    """The front's end of one connection, and the process behind it."""

    def __init__(self, number: int, folder: Path, page: int) -> None:
        self.number = number
        self.folder = folder
        self.beacon = Beacon(page)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.gone = False
        self.broken = ""
        """What it said that it may not say."""
        self.doomed = False
        """It was killed, or will be as soon as it is born."""
        self.loaded: dict[int, Loaded] = {}
        self.loading: dict[int, Loading] = {}
        self.pending: dict[int, Pending] = {}
        self.comparing = _NOTHING
        """The identity of the one comparison it works at."""
        self.load_lock = asyncio.Lock()
        self._pidfd = -1
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes | bytearray | memoryview] = []
        self._reader = FrameReader(payload_bytes_max=_FRAME_BYTES_MAX)

    # The process.

    def born(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd
        if self.doomed:
            self.kill()

    def kill(self) -> None:
        """At once, or as soon as it is known who it is."""
        self.doomed = True
        if self._pidfd >= 0 and not self.gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Forget everything of it; its process has ended or is about to."""
        self.gone = True
        if self._transport is not None:
            self._transport.abort()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.beacon.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it is told.

    def load(self, kind: Kind, order: bytes, loading: Loading, *, deadline: float) -> None:
        """`loading` hears how it went. LOAD or PREPACK."""
        self.loading[loading.slot] = loading
        self._send(frame(kind, order, slot=loading.slot, stamp=deadline))

    def unload(self, slot: int) -> None:
        self._send(frame(Kind.UNLOAD, b"", slot=slot))

    def run(self, loaded: Loaded, asked: Asked, *, identity: int, deadline: float, done: Done) -> None:
        """`done` is called once, never before this returns."""
        self.pending[identity] = Pending(loaded, deadline, done)
        loaded.in_flight += 1
        head = run_head(asked, len(asked.body), slot=loaded.slot, identity=identity, deadline=deadline)
        self._send(head, asked.body)

    def compare(self, comparison: Comparison, *, identity: int, deadline: float, done: Done) -> None:
        """One at a time. `done` is called once, and nobody is in the other's way meanwhile."""
        assert not self.compares, "it compares already"
        self.comparing = identity
        self.pending[identity] = Pending(comparison.other, deadline, done, compares=True)
        head = compare_head(
            comparison.asked,
            slots=(comparison.loaded.slot, comparison.other.slot),
            tolerance=comparison.tolerance,
            identity=identity,
            deadline=deadline,
        )
        self._send(head, comparison.asked.body)

    @property
    def compares(self) -> bool:
        return self.comparing != _NOTHING

    def running(self) -> dict[int, range]:
        """What to blame when it ends now: slots, each with the requests that were running there.

        What is compared is run for nobody: while it is, nothing that somebody waits for is to blame.
        """
        lit = sorted(self.beacon.lit(), key=lambda one: one.last)
        compared = {one.slot: range(one.last, one.last + 1) for one in lit if one.last == self.comparing}
        return compared or {one.slot: range(one.last + 1) for one in lit}

    def drop(self, identity: int) -> None:
        """Nobody waits for it any more: if it has not started it need not."""
        pending = self.pending.get(identity)
        if pending is None or pending.dropped:
            return
        pending.dropped = True
        pending.loaded.in_flight -= 1
        self._send(frame(Kind.DROP, b"", slot=pending.loaded.slot, identity=identity))

    def expire(self, now: float) -> None:
        """Answer and drop what is late."""
        for identity, pending in tuple(self.pending.items()):
            if now > pending.deadline and not pending.answered and not pending.compares:
                pending.answered = True
                self.drop(identity)
                pending.done(too_late())

    def stuck(self, now: float) -> bool:
        """Whether something runs that should have ended, or nothing has been said for too long."""
        grace, silence = limits.KILL_GRACE_SECONDS, limits.UNANSWERED_SECONDS_MAX
        return any(now > lit.deadline + grace for lit in self.beacon.lit()) or any(
            now > pending.deadline + silence for pending in self.pending.values()
        )

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _settle(self.ready, None)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self.kill()  # it cannot be asked any more, whatever it is doing

    def data_received(self, data: bytes) -> None:
        try:
            for one in self._reader.feed(data):
                self._take(one)
        except BrokenFrames as error:
            self.broken = str(error)
            self.kill()
            if self._transport is not None:
                self._transport.abort()

    def _send(self, *pieces: bytes | bytearray | memoryview) -> None:
        """Everything sent in one turn of the loop goes out in one write."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.extend(pieces)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            out, self._out = self._out, []
            self._transport.writelines(out)

    # What it says.

    def _take(self, one: Frame) -> None:
        """Raises BrokenFrames, and has changed nothing then."""
        if one.kind in _REPORTS:
            self._report(one)
        else:
            pending = self._open(one.identity)
            self._end(one.identity, pending, _outcome(one, pending))

    def _report(self, one: Frame) -> None:
        report = self._open_load(one.slot).report
        if one.kind == Kind.LOADED:
            _settle(report, _read(one.payload, LoadReport))
        else:
            reject(report, _read(one.payload, Failure).error())
        del self.loading[one.slot]

    def _open(self, identity: int) -> Pending:
        pending = self.pending.get(identity)
        if pending is None:
            raise BrokenFrames("an answer to what it was not asked, or had answered")
        return pending

    def _open_load(self, slot: int) -> Loading:
        loading = self.loading.get(slot)
        if loading is None:
            raise BrokenFrames("a report of what it was not told to load, or had reported")
        return loading

    def _end(self, identity: int, pending: Pending, outcome: Outcome) -> None:
        del self.pending[identity]
        if pending.compares:
            self.comparing = _NOTHING
        elif not pending.dropped:
            pending.loaded.in_flight -= 1
        if not pending.answered:
            pending.answered = True
            pending.done(outcome)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def reject(report: asyncio.Future[LoadReport], error: ModelRocketError) -> None:
    """Unless it is settled, or nobody waits for it."""
    if not report.done():
        report.set_exception(error)


def _outcome(one: Frame, pending: Pending) -> Outcome:
    """Raises BrokenFrames for what does not answer what was asked."""
    if one.kind == Kind.ANSWER and not pending.compares:
        return _ran(one.payload)
    if one.kind == Kind.REFUSED:
        return _read(one.payload, Failure).error()
    if one.kind == Kind.DROPPED and pending.dropped:
        return too_late()
    if one.kind == Kind.COMPARED and pending.compares:
        return _read(one.payload, Compared)
    raise BrokenFrames(f"a frame of kind {one.kind}, which nobody asked it for")


def _ran(payload: memoryview) -> Ran:
    """Raises BrokenFrames."""
    try:
        queued, batched, run, rows, own_rows, json_bytes = RAN.unpack_from(payload)
    except struct.error as error:
        raise BrokenFrames("an answer that is cut short") from error
    body = bytes(payload[RAN.size :])
    if json_bytes > len(body) or not math.isfinite(queued + batched + run):
        raise BrokenFrames("an answer that cannot be")
    return Ran(body, queued, batched, run, rows, own_rows, json_bytes)


def _read(payload: memoryview, kind: type[T]) -> T:
    """Raises BrokenFrames."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BrokenFrames(f"a {kind.__name__} that is none") from error
