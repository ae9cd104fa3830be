"""The process that runs one tenant's models: read frames, batch, run, write frames.

It owns nothing but its end of a socket pair, its private folder and a shared
page. Light models run on the thread that reads, as soon as they are read; heavy
ones on threads of their own, so that they hold nobody up. Whatever queued for a
model while its last run went on becomes its next run: no timer, no waiting.

What happens to it is decided outside: it can be killed at any time.
"""

from __future__ import annotations

import gc
import mmap
import os
import socket
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel, ModelRocketError, Overloaded
from chalicelib.contract.messages import VersionRecord
from host_container.beacon import LANES_MAX, Beacon
from host_container.comparison import compare
from host_container.confined import says_out_of_memory
from host_container.failures import too_late
from host_container.frames import (
    RAN,
    WITH,
    Asked,
    Compared,
    Failure,
    Frame,
    FrameReader,
    Kind,
    LoadOrder,
    LoadReport,
    frame,
)
from host_container.inference import Model, Output, answer_batch
from host_container.providers import ON_CPU, Execution
from host_container.session import (
    Session,
    load,
    load_mapped,
    load_prepacked,
    return_freed_memory,
    warm_up,
)

_READ_BYTES: Final = 1 << 20
_STATM_BYTES: Final = 128
_HEAVY_SECONDS: Final = 0.000_15
"""Above this a run goes to a thread of its own; the hand-over costs about 20 µs."""
_COMPARING_LANE: Final = LANES_MAX - 1
_BOTH: Final = 2
_LOAD_ORDERS: Final = msgspec.json.Decoder(LoadOrder)
"""Made where workers are forked: its first use takes longer than a small model's load."""


@dataclass(slots=True)
class Waiting:
    """A request in the queue of its model."""

    identity: int
    deadline: float
    received: float
    asked: Asked


@dataclass(slots=True)
class Slot:
    """A loaded model and what waits for it, by identity, oldest first."""

    number: int
    model: Model
    heavy: bool
    batch_size_max: int
    waiting: OrderedDict[int, Waiting] = field(default_factory=OrderedDict)
    busy: bool = False


class _Memory(NamedTuple):
    """Bytes of this process: all that is resident, and what no file backs."""

    resident: int
    anonymous: int


@dataclass(frozen=True, slots=True)
class World:
    """What a worker has besides its connection.

    `threads` for heavy models; `memory` is its own /proc/self/statm, opened before it was closed in.
    """

    folder: Path
    beacon: Beacon
    threads: int
    memory: int
    now: Callable[[], float]
    execution: Execution = ON_CPU


class Worker:
    """One connection to the front."""

    def __init__(self, connection: socket.socket, world: World) -> None:
        self._connection = connection
        self._folder = world.folder
        self._beacon = world.beacon
        self._now = world.now
        self._threads = min(world.threads, _COMPARING_LANE - 1)
        self._memory = world.memory
        self._execution = world.execution
        self._slots: dict[int, Slot] = {}
        self._light: deque[Slot] = deque()
        self._heavy: deque[Slot] = deque()
        self._dropped: list[bytes] = []
        self._work = threading.Condition()
        self._sending = threading.Lock()
        self._started_threads = 0
        self._reader = FrameReader(payload_bytes_max=limits.PAYLOAD_BYTES_MAX + (1 << 16))
        self._buffer = bytearray(_READ_BYTES)

    def serve(self) -> None:
        """Until the front goes away."""
        warm_up()
        while self._read(block=not self._light):
            replies = [self._run_next(self._light.popleft(), lane=0) for _ in range(len(self._light))]
            if replies:
                self._send(b"".join(replies))

    def _read(self, *, block: bool) -> bool:
        """Take in what has arrived. False when the front has gone."""
        flags = 0 if block else socket.MSG_DONTWAIT
        space = self._reader.space()
        try:
            size = self._connection.recv_into(self._buffer if space is None else space, 0, flags)
        except BlockingIOError:
            return True
        if not size:
            return False
        received = self._now()
        if space is None:
            frames = self._reader.feed(bytes(memoryview(self._buffer)[:size]))
        else:
            frames = self._reader.took(size)
        for one in frames:
            self._take(one, received)
        if self._dropped:
            self._send(b"".join(self._dropped))
            self._dropped.clear()
        return True

    def _take(self, one: Frame, received: float) -> None:
        if one.kind == Kind.RUN:
            self._queue(one, received)
        elif one.kind == Kind.DROP:
            self._drop(one)
        elif one.kind == Kind.COMPARE:
            threading.Thread(target=self._compare, args=(one,), daemon=True).start()
        elif one.kind == Kind.LOAD:
            self._send(self._load(one))
        elif one.kind == Kind.PREPACK:
            threading.Thread(target=self._prepack, args=(one.slot, bytes(one.payload)), daemon=True).start()
        elif one.kind == Kind.UNLOAD:
            self._slots.pop(one.slot, None)
            gc.collect()
            return_freed_memory()

    def _queue(self, one: Frame, received: float) -> None:
        slot = self._slots.get(one.slot)
        if slot is None:
            self._send(_refused(one.identity, InferenceFailed("The model is not loaded here any more.")))
            return
        asked = Asked(one.payload, one.form, one.header_length)
        waiting = Waiting(one.identity, one.stamp, received, asked)
        if slot.heavy:
            with self._work:
                slot.waiting[one.identity] = waiting
                self._ready(slot)
            return
        slot.waiting[one.identity] = waiting
        if not slot.busy:
            slot.busy = True
            self._light.append(slot)

    def _drop(self, one: Frame) -> None:
        """What has started is left to run."""
        slot = self._slots.get(one.slot)
        if slot is None:
            return
        with self._work:
            waiting = slot.waiting.pop(one.identity, None)
        if waiting is not None:
            self._dropped.append(frame(Kind.DROPPED, b"", identity=one.identity))

    # Running.

    def _run_next(self, slot: Slot, *, lane: int) -> bytes:
        """The answers to the next batch of a light model."""
        batch = self._next_batch(slot)
        if slot.waiting:
            self._light.append(slot)
        else:
            slot.busy = False
        return self._run(slot, batch, lane=lane)

    def _next_batch(self, slot: Slot) -> list[Waiting]:
        count = min(len(slot.waiting), slot.batch_size_max)
        return [slot.waiting.popitem(last=False)[1] for _ in range(count)]

    def _run(self, slot: Slot, batch: Sequence[Waiting], *, lane: int) -> bytes:
        started = self._now()
        alive = [one for one in batch if one.deadline > started]
        frames = [_refused(one.identity, too_late()) for one in batch if one.deadline <= started]
        if alive:
            deadline = max(one.deadline for one in alive)
            self._beacon.light(lane, deadline=deadline, slot=slot.number, last=batch[-1].identity)
            answered = self._answer(slot.model, alive)
            self._beacon.dark(lane)
            frames += [_reply(one, reply, started) for one, reply in zip(alive, answered, strict=True)]
        return b"".join(frames)

    def _answer(self, model: Model, batch: Sequence[Waiting]) -> Sequence[Output | ModelRocketError]:
        try:
            return answer_batch(model, [one.asked for one in batch], clock=self._now)
        except Exception:  # the boundary of a batch: a defect of ours must not be blamed on the model
            traceback.print_exc()
            return [InferenceFailed("The answer could not be made. Report the request id.")] * len(batch)

    def _ready(self, slot: Slot) -> None:
        """Under the lock: let a thread take it, unless one has it."""
        if slot.busy or not slot.waiting:
            return
        slot.busy = True
        self._heavy.append(slot)
        if self._started_threads < self._threads:
            self._started_threads += 1
            lane = self._started_threads
            threading.Thread(target=self._serve_heavy, args=(lane,), daemon=True).start()
        self._work.notify()

    def _serve_heavy(self, lane: int) -> None:
        while True:
            self._send(self._run_heavy(lane))

    def _run_heavy(self, lane: int) -> bytes:
        """The answers to one batch. A thread that waits must hold no model: it would outlive its eviction."""
        with self._work:
            while not self._heavy:
                self._work.wait()
            slot = self._heavy.popleft()
            batch = self._next_batch(slot)
            slot.busy = False
            self._ready(slot)
        return self._run(slot, batch, lane=lane)

    def _compare(self, one: Frame) -> None:
        """On a thread of its own, so that whoever waits for an answer does not wait for this one."""
        try:
            compared = self._compared(one)
        except ModelRocketError as error:
            self._send(_refused(one.identity, error))
        except Exception:  # the boundary of a comparison: a defect of ours must not be blamed on the model
            traceback.print_exc()
            self._send(_refused(one.identity, InferenceFailed("The answers could not be compared.")))
        else:
            self._send(frame(Kind.COMPARED, msgspec.json.encode(compared), identity=one.identity))
        finally:
            self._beacon.dark(_COMPARING_LANE)

    def _compared(self, one: Frame) -> Compared:
        """Each of the two may take as long as the one that answered."""
        other, tolerance = WITH.unpack_from(one.payload)
        slots = [slot for number in (one.slot, other) if (slot := self._slots.get(number))]
        if len(slots) < _BOTH:
            raise InferenceFailed("The model is not loaded here any more.")
        seconds = one.stamp - self._now()

        def begin(turn: int) -> None:
            until, number = self._now() + seconds, slots[turn].number
            self._beacon.light(_COMPARING_LANE, deadline=until, slot=number, last=one.identity)

        asked = Asked(one.payload[WITH.size :], one.form, one.header_length)
        models = slots[0].model, slots[1].model
        return compare(models, asked, tolerance=tolerance, clock=self._now, begin=begin)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)

    # Loading.

    def _load(self, one: Frame) -> bytes:
        try:
            order = _LOAD_ORDERS.decode(one.payload)
            self._beacon.light(0, deadline=one.stamp, slot=one.slot, last=0)
            slot, report = self._loaded(order, one.slot)
        except ModelRocketError as error:
            return frame(Kind.FAILED, msgspec.json.encode(Failure.of(_to_blame(error))), slot=one.slot)
        finally:
            self._beacon.dark(0)
        self._slots[one.slot] = slot
        return frame(Kind.LOADED, msgspec.json.encode(report), slot=one.slot)

    def _loaded(self, order: LoadOrder, number: int) -> tuple[Slot, LoadReport]:
        before, started, computing = self._memory_bytes(), self._now(), time.thread_time()
        session = self._session(order)
        took, computed = self._now() - started, time.thread_time() - computing
        model = Model.of(order.record, session)
        run_seconds = order.record.passport.run_ms / 1000
        batch_size_max = order.record.batch_size_max
        report = self._report(
            before,
            signature=session.signature,
            load_seconds=took,
            processor_seconds=computed,
            run_seconds=run_seconds,
            batch_size_max=batch_size_max,
            batching=_batching(order.record),
            providers=session.providers,
        )
        heavy = run_seconds > _HEAVY_SECONDS
        return Slot(number, model, heavy, batch_size_max), report

    def _session(self, order: LoadOrder) -> Session:
        """There are prepared forms for CPUs only."""
        path = self._folder / order.file
        return load_mapped(path) if order.built else load(path, self._execution)

    def _prepack(self, number: int, payload: bytes) -> None:
        """On a thread of its own: what runs goes on with the mapped session until the faster one is there."""
        try:
            report = self._prepacked(number, _LOAD_ORDERS.decode(payload))
        except ModelRocketError as error:
            self._send(frame(Kind.FAILED, msgspec.json.encode(Failure.of(error)), slot=number))
        else:
            self._send(frame(Kind.LOADED, msgspec.json.encode(report), slot=number))

    def _prepacked(self, number: int, order: LoadOrder) -> LoadReport:
        slot = self._slots.get(number)
        if slot is None:
            raise InferenceFailed("The model is not loaded here any more.")
        before, started = self._memory_bytes(), self._now()
        session = load_prepacked(self._folder / order.file)
        slot.model = Model.of(order.record, session)
        return self._report(
            before,
            signature=session.signature,
            load_seconds=self._now() - started,
            run_seconds=order.record.passport.run_ms / 1000,
            batch_size_max=slot.batch_size_max,
            batching="as before",
            providers=session.providers,
        )

    def _report(self, before: _Memory, **measured: Any) -> LoadReport:
        now = self._memory_bytes()
        return LoadReport(
            bytes_resident=max(0, now.resident - before.resident),
            bytes_anonymous=max(0, now.anonymous - before.anonymous),
            **measured,
        )

    def _memory_bytes(self) -> _Memory:
        """Without what was freed: the passport counts like that too."""
        return_freed_memory()
        fields = os.pread(self._memory, _STATM_BYTES, 0).split()
        resident, of_files = int(fields[1]), int(fields[2])
        return _Memory(resident * mmap.PAGESIZE, (resident - of_files) * mmap.PAGESIZE)


def _to_blame(error: ModelRocketError) -> ModelRocketError:
    """A version loaded when it was prepared: if memory is what it lacks here, it is not the one to change."""
    if isinstance(error, InvalidModel) and says_out_of_memory(error.message):
        return Overloaded("Your models leave no memory on this host to load this one now. Try again shortly.")
    return error


def _batching(record: VersionRecord) -> str:
    """Why its rows may share runs, or why they do not."""
    if record.certificate is None:
        return "it has no certificate"
    if record.certificate.batchable and record.batch_size_max == 1:
        return f"sharing a run would not pay ({record.passport.batch_gain:.2f} times the rows)"
    return record.certificate.evidence


def _reply(one: Waiting, outcome: Output | ModelRocketError, started: float) -> bytes:
    if isinstance(outcome, ModelRocketError):
        return _refused(one.identity, outcome)
    waited = started - one.received
    seconds = waited, outcome.batch_seconds, outcome.run_seconds
    ran = RAN.pack(*seconds, outcome.rows, outcome.own_rows, outcome.json_bytes)
    return frame(Kind.ANSWER, ran + outcome.body, identity=one.identity)


def _refused(identity: int, error: ModelRocketError) -> bytes:
    return frame(Kind.REFUSED, msgspec.json.encode(Failure.of(error)), identity=identity)
