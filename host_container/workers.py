"""The worker processes of this host as the front sees them: started, loaded, asked, watched, killed.

One worker per key (a tenant, by default). Spare ones are forked and closed in ahead
of need, so that a new tenant, or one whose worker was just killed, waits for no fork.

A version's files are linked into its worker's folder for as long as it loads, and
are all the worker can open then; when nothing loads the folder is empty.

Owned by the event loop; nothing here blocks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    InvalidModel,
    ModelRocketError,
)
from chalicelib.contract.messages import VersionRecord
from host_container.beacon import Beacon
from host_container.events import EventLog
from host_container.failures import too_late
from host_container.frames import (
    RAN,
    Asked,
    BrokenFrames,
    Ended,
    Event,
    Failure,
    Frame,
    FrameReader,
    Kind,
    LoadOrder,
    LoadReport,
    Spawned,
    SpawnOrder,
    frame,
    run_head,
)
from host_container.prepared import ModelFiles

T = TypeVar("T")
_SPARES: Final = 1
_KEPT_BYTES: Final = str(64 * limits.MIB)
"""Freed blocks up to this size are kept and used again: a fresh page costs more than copying into it."""
_COMPLAINT_LENGTH_MAX: Final = 2_000
_SWEEP_SECONDS: Final = 0.025
_WATCH_SECONDS: Final = 0.5
_MESSAGE_BYTES_MAX: Final = 1 << 16
_SOCKET_BYTES: Final = 4 * limits.MIB
_FRAME_BYTES_MAX: Final = limits.RESPONSE_BYTES_MAX + (1 << 16)
_LOAD_GRACE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How workers are made.

    Attributes:
        folder: where each gets a folder of its own.
        memory_bytes_max: what one may map beyond what every worker maps.
        threads: for heavy models, in each.
        sandbox_required: refuse to start one where the machine cannot close it in.
    """

    folder: Path
    memory_bytes_max: int
    threads: int
    sandbox_required: bool


@dataclass(frozen=True, slots=True)
class Ran:
    """An answer. Seconds; `json_bytes` of the body are JSON, 0 means all."""

    body: bytes
    queue_seconds: float
    run_seconds: float
    rows: int
    json_bytes: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended before it answered. `suspect`: this very model was running then."""

    suspect: bool


Outcome = Ran | Lost | ModelRocketError
Done = Callable[[Outcome], None]


@dataclass(eq=False, slots=True)
class Loaded:
    """A version in a worker."""

    record: VersionRecord
    worker: WorkerHandle
    slot: int
    report: LoadReport
    in_flight: int = 0


@dataclass(eq=False, slots=True)
class _Pending:
    loaded: Loaded
    deadline: float
    done: Done
    answered: bool = False


@dataclass(eq=False, slots=True)
class _Loading:
    record: VersionRecord
    worker: WorkerHandle
    slot: int
    files: ModelFiles
    report: asyncio.Future[LoadReport] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class WorkerHandle(asyncio.Protocol):
    """One worker: its connection, what it holds, what it was asked."""

    def __init__(self, number: int, folder: Path, page: int) -> None:
        self.number = number
        self.folder = folder
        self.beacon = Beacon(page)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.pidfd = -1
        self.gone = False
        self.loaded: dict[int, Loaded] = {}
        self.loading: dict[int, _Loading] = {}
        self.pending: dict[int, _Pending] = {}
        self.load_lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes | bytearray | memoryview] = []
        self._reader = FrameReader(payload_bytes_max=_FRAME_BYTES_MAX)

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            for one in self._reader.feed(data):
                self._take(one)
        except (BrokenFrames, msgspec.DecodeError, ValueError, KeyError):
            self.kill()  # it no longer speaks our protocol: nothing it says counts

    def send(self, *pieces: bytes | bytearray | memoryview) -> None:
        """Everything sent in one turn of the loop goes out in one write."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.extend(pieces)

    def kill(self) -> None:
        if self.pidfd >= 0 and not self.gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Forget everything of it; its process has ended or is about to."""
        self.gone = True
        if self._transport is not None:
            self._transport.abort()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.beacon.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            out, self._out = self._out, []
            self._transport.writelines(out)

    def _take(self, one: Frame) -> None:
        if one.kind == Kind.ANSWER:
            queued, run, rows, json_bytes = RAN.unpack_from(one.payload)
            self._answer(one.identity, Ran(bytes(one.payload[RAN.size :]), queued, run, rows, json_bytes))
        elif one.kind == Kind.REFUSED:
            self._answer(one.identity, msgspec.json.decode(one.payload, type=Failure).error())
        elif one.kind == Kind.LOADED:
            _resolve(self.loading[one.slot].report, msgspec.json.decode(one.payload, type=LoadReport))
        elif one.kind == Kind.FAILED:
            failure = msgspec.json.decode(one.payload, type=Failure)
            _reject(self.loading[one.slot].report, failure.error())

    def _answer(self, identity: int, outcome: Outcome) -> None:
        pending = self.pending.pop(identity, None)
        if pending is None:
            return
        pending.loaded.in_flight -= 1
        if not pending.answered:
            pending.answered = True
            pending.done(outcome)


LostModels = Callable[[list[Loaded], set[str]], None]
"""Called with what was loaded and the ids of the versions that were running."""


class Workers:
    """All of them, and the fork server they come from."""

    def __init__(self, policy: WorkerPolicy, *, events: EventLog, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._events = events
        self._clock = clock
        self._lost: LostModels = lambda _loaded, _suspects: None
        self._numbers = count(1)
        self._identities = count(1)
        self._slots = count(1)
        self._handles: dict[int, WorkerHandle] = {}
        self._by_key: dict[str, WorkerHandle] = {}
        self._spares: deque[WorkerHandle] = deque()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None

    # Life.

    def on_lost(self, lost: LostModels) -> None:
        """Whom to tell what went with a worker."""
        self._lost = lost

    def start(self) -> None:
        """Start the fork server and the spares. Imports take it most of a second; nobody waits here."""
        shutil.rmtree(self._policy.folder, ignore_errors=True)
        self._policy.folder.mkdir(parents=True, mode=0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-m", "host_container.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # a worker may write to a pipe, to no file
                env=_environment(),
                start_new_session=True,
            )
        self._control = ours
        assert self._server.stderr is not None
        os.set_blocking(self._server.stderr.fileno(), False)
        asyncio.get_running_loop().add_reader(self._server.stderr.fileno(), self._overhear)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)
        self._fill_spares()
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Kill them all."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
        if self._server is not None and self._server.stderr is not None:
            asyncio.get_running_loop().remove_reader(self._server.stderr.fileno())
            self._server.stderr.close()
            self._server.kill()  # the workers die with it
            self._server.wait()
        for handle in self._handles.values():
            handle.kill()
            handle.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    async def watch(self) -> None:
        """Returns when the fork server has ended: without it the host is of no use."""
        while self._server is None or self._server.poll() is None:
            await asyncio.sleep(_WATCH_SECONDS)
        self._events.write("fork_server_ended", exit_code=self._server.returncode)

    # Work.

    async def load(self, record: VersionRecord, files: ModelFiles, *, key: str) -> Loaded:
        """Raises InvalidModel, or DependencyFailed when the worker ended for another reason."""
        handle = self._handle(key)
        await handle.ready
        slot = next(self._slots)
        async with handle.load_lock:  # its time begins when it is at work on this one
            report = await self._ordered(Kind.LOAD, _Loading(record, handle, slot, files))
        loaded = Loaded(record, handle, slot, report)
        handle.loaded[slot] = loaded
        return loaded

    async def prepack(self, loaded: Loaded, files: ModelFiles) -> LoadReport:
        """Swap a mapped session for one that runs faster; the mapped one answers, and others load, meanwhile.

        Raises as `load` does.
        """
        return await self._ordered(Kind.PREPACK, _Loading(loaded.record, loaded.worker, loaded.slot, files))

    async def _ordered(self, kind: Kind, loading: _Loading) -> LoadReport:
        handle, slot = loading.worker, loading.slot
        if handle.gone:
            raise DependencyFailed("The worker ended before it could load the model. Try again.")
        handle.loading[slot] = loading
        try:
            with _linked(loading.files.paths, handle.folder / str(slot)) as name:
                order = msgspec.json.encode(LoadOrder(loading.record, name, loading.files.built))
                deadline = self._clock() + limits.LOAD_SECONDS_MAX
                handle.send(frame(kind, order, slot=slot, stamp=deadline))
                async with asyncio.timeout(limits.LOAD_SECONDS_MAX + _LOAD_GRACE_SECONDS):
                    return await loading.report
        except TimeoutError:
            handle.kill()
            raise InvalidModel(f"Loading took more than {limits.LOAD_SECONDS_MAX:.0f} s.") from None
        finally:
            handle.loading.pop(slot, None)

    def unload(self, loaded: Loaded) -> None:
        if loaded.worker.loaded.pop(loaded.slot, None) is not None and not loaded.worker.gone:
            loaded.worker.send(frame(Kind.UNLOAD, b"", slot=loaded.slot))

    def run(self, loaded: Loaded, asked: Asked, *, deadline: float, done: Done) -> None:
        """`done` is called once, never before this returns."""
        handle = loaded.worker
        if handle.gone:
            asyncio.get_running_loop().call_soon(done, Lost(suspect=False))
            return
        identity = next(self._identities)
        handle.pending[identity] = _Pending(loaded, deadline, done)
        loaded.in_flight += 1
        head = run_head(asked, len(asked.body), slot=loaded.slot, identity=identity, deadline=deadline)
        handle.send(head, asked.body)

    def in_flight(self, key: str) -> int:
        """How many requests the worker of this key has been asked and not answered."""
        handle = self._by_key.get(key)
        return len(handle.pending) if handle else 0

    async def _sweep(self) -> None:
        """Answer what is late, and kill what will not let go."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self._clock()
            for handle in tuple(self._handles.values()):
                if not handle.gone and self._stuck(handle, now):
                    self._events.write("worker_killed", worker=handle.number, pid=handle.pid)
                    handle.kill()

    def _stuck(self, handle: WorkerHandle, now: float) -> bool:
        stuck = False
        for pending in tuple(handle.pending.values()):
            if now > pending.deadline and not pending.answered:
                pending.answered = True
                pending.done(too_late())
            stuck = stuck or now > pending.deadline + limits.UNANSWERED_SECONDS_MAX
        return stuck or any(now > lit.deadline + limits.KILL_GRACE_SECONDS for lit in handle.beacon.lit())

    # The fork server.

    def _handle(self, key: str) -> WorkerHandle:
        handle = self._by_key.get(key)
        if handle is None or handle.gone:
            handle = self._by_key[key] = self._spares.popleft() if self._spares else self._spawn()
            self._fill_spares()
        return handle

    def _fill_spares(self) -> None:
        while len(self._spares) < _SPARES:
            self._spares.append(self._spawn())

    def _spawn(self) -> WorkerHandle:
        assert self._control is not None, "not started"
        number = next(self._numbers)
        folder = self._policy.folder / str(number)
        folder.mkdir(mode=0o700)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        page = Beacon.create()
        handle = self._handles[number] = WorkerHandle(number, folder, page)
        order = SpawnOrder(
            worker=number,
            folder=str(folder),
            memory_bytes_max=self._policy.memory_bytes_max,
            threads=self._policy.threads,
            sandbox_required=self._policy.sandbox_required,
        )
        with theirs:
            socket.send_fds(self._control, [msgspec.json.encode(order)], [theirs.fileno(), page])
        os.close(page)
        task = asyncio.create_task(self._connect(handle, ours))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return handle

    async def _connect(self, handle: WorkerHandle, end: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: handle, sock=end)
        _resolve(handle.ready, None)

    def _overhear(self) -> None:
        """What workers complain of, a little of it."""
        assert self._server is not None and self._server.stderr is not None
        complaint = self._server.stderr.read(_MESSAGE_BYTES_MAX)
        if complaint:
            text = complaint[-_COMPLAINT_LENGTH_MAX:].decode(errors="replace")
            self._events.write("worker_stderr", text=text)
        elif complaint == b"":
            asyncio.get_running_loop().remove_reader(self._server.stderr.fileno())

    def _hear(self) -> None:
        assert self._control is not None
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES_MAX, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                message = b""
            if not message:
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                return
            self._note(msgspec.json.decode(message, type=Event), descriptors)

    def _note(self, event: Event, descriptors: list[int]) -> None:
        handle = self._handles.get(event.worker)
        match event:
            case Spawned(pid=pid) if handle is not None:
                handle.pid, handle.pidfd = pid, descriptors[0]
            case Ended(exit_code=exit_code) if handle is not None:
                self._bury(handle, exit_code)

    def _bury(self, handle: WorkerHandle, exit_code: int) -> None:
        """Tell everybody who waits for it."""
        running = {one.slot: one.last for one in sorted(handle.beacon.lit(), key=lambda one: one.last)}
        handle.gone = True
        del self._handles[handle.number]
        for key in [key for key, one in self._by_key.items() if one is handle]:
            del self._by_key[key]
        if handle in self._spares:
            self._spares.remove(handle)
        suspects = {loaded.record.version_id for slot, loaded in handle.loaded.items() if slot in running}
        self._events.write(
            "worker_ended",
            worker=handle.number,
            pid=handle.pid,
            exit_code=exit_code,
            versions=len(handle.loaded),
            suspects=sorted(suspects),
        )
        pending, handle.pending = handle.pending, {}
        for identity, one in pending.items():
            if not one.answered:
                one.done(Lost(suspect=identity <= running.get(one.loaded.slot, -1)))
        for slot, loading in handle.loading.items():
            _reject(loading.report, _load_lost(slot in running, exit_code))
        lost = list(handle.loaded.values())
        handle.close()
        self._lost(lost, suspects)


def _load_lost(suspect: bool, exit_code: int) -> ModelRocketError:
    if suspect:
        return InvalidModel(f"Loading it ended its process (exit code {exit_code}).")
    return DependencyFailed("The worker ended while the model waited to be loaded. Try again.")


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[LoadReport], error: ModelRocketError) -> None:
    if not future.done():
        future.set_exception(error)


@contextlib.contextmanager
def _linked(paths: tuple[Path, ...], folder: Path) -> Iterator[str]:
    """The files under their own names in a folder of the worker's, for a while: where the first one is.

    No bytes are copied.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        for path in paths:
            os.link(path, folder / path.name)
        yield f"{folder.name}/{paths[0].name}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Nothing of ours: the fork server and all its children hold no secret."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
        "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
        "LC_ALL": "C.UTF-8",
    }
