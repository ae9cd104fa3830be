"""All the worker processes of this host: who is whose, what they load and run, when they are killed.

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
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

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
from host_container.frames import Asked, Ended, Event, Kind, LoadOrder, LoadReport, Spawned, SpawnOrder
from host_container.handle import Comparison, Done, Loaded, Loading, Lost, WorkerHandle, reject
from host_container.prepared import ModelFiles
from host_container.providers import ON_CPU, Execution
from host_container.spawning import Spawner

_SPARES: Final = 1
_SWEEP_SECONDS: Final = 0.025
_SOCKET_BYTES: Final = 4 * limits.MIB
_LOAD_GRACE_SECONDS: Final = 1.0
_THREAD_BYTES: Final = 72 * limits.MIB
"""Of address space: a stack, and an arena of glibc's, whatever is in it."""


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How workers are made.

    Attributes:
        folder: where each gets a folder of its own.
        memory_bytes_max: what one may map beyond what every worker maps, and what its threads take.
        threads: for heavy models, in each.
        sandbox_required: refuse to start one where the machine cannot close it in.
        execution: what runs its models.
    """

    folder: Path
    memory_bytes_max: int
    threads: int
    sandbox_required: bool
    execution: Execution = ON_CPU


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
        self._spawner = Spawner(events=events, told=self._note)
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
        self._spawner.start()
        self._fill_spares()
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Kill them all."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._spawner.close()
        for handle in self._handles.values():
            handle.kill()
            handle.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    async def watch(self) -> None:
        """Returns when the fork server has ended: without it the host is of no use."""
        await self._spawner.watch()

    # Work.

    async def load(self, record: VersionRecord, files: ModelFiles, *, key: str) -> Loaded:
        """Raises InvalidModel, or DependencyFailed when the worker ended for another reason."""
        handle = self._handle(key)
        await handle.ready
        slot = next(self._slots)
        async with handle.load_lock:  # its time begins when it is at work on this one
            report = await self._ordered(Kind.LOAD, Loading(record, handle, slot, files))
        loaded = Loaded(record, handle, slot, report)
        handle.loaded[slot] = loaded
        return loaded

    async def prepack(self, loaded: Loaded, files: ModelFiles) -> LoadReport:
        """Swap a mapped session for one that runs faster; the mapped one answers, and others load, meanwhile.

        Raises as `load` does.
        """
        return await self._ordered(Kind.PREPACK, Loading(loaded.record, loaded.worker, loaded.slot, files))

    async def _ordered(self, kind: Kind, loading: Loading) -> LoadReport:
        handle, slot = loading.worker, loading.slot
        seconds_max = loading.files.load_seconds_max
        if handle.gone:
            raise DependencyFailed("The worker ended before it could load the model. Try again.")
        try:
            with _linked(loading.files.paths, handle.folder / str(slot)) as name:
                order = msgspec.json.encode(LoadOrder(loading.record, name, loading.files.built))
                deadline = self._clock() + seconds_max
                handle.load(kind, order, loading, deadline=deadline)
                async with asyncio.timeout(seconds_max + _LOAD_GRACE_SECONDS):
                    return await loading.report
        except TimeoutError:
            handle.kill()
            raise InvalidModel(f"Loading took more than {seconds_max:.0f} s.") from None

    def unload(self, loaded: Loaded) -> None:
        if loaded.worker.loaded.pop(loaded.slot, None) is not None and not loaded.worker.gone:
            loaded.worker.unload(loaded.slot)

    def run(self, loaded: Loaded, asked: Asked, *, deadline: float, done: Done) -> int:
        """What to `drop` it by. `done` is called once, never before this returns."""
        identity = next(self._identities)
        if loaded.worker.gone:
            asyncio.get_running_loop().call_soon(done, Lost(suspect=False))
        else:
            loaded.worker.run(loaded, asked, identity=identity, deadline=deadline, done=done)
        return identity

    def compare(self, comparison: Comparison, *, deadline: float, done: Done) -> None:
        """Run both, in their worker, only to hear how they differ. `done` is called once, later."""
        worker, identity = comparison.loaded.worker, next(self._identities)
        worker.compare(comparison, identity=identity, deadline=deadline, done=done)

    def drop(self, loaded: Loaded, identity: int) -> None:
        """Nobody waits for it any more. What has been answered, or lost, needs no dropping."""
        if not loaded.worker.gone:
            loaded.worker.drop(identity)

    async def _sweep(self) -> None:
        """Answer what is late, and kill what will not let go."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self._clock()
            for handle in tuple(self._handles.values()):
                handle.expire(now)
                if handle.stuck(now) and not handle.doomed:
                    self._events.write("worker_killed", worker=handle.number, pid=handle.pid)
                    handle.kill()

    # Processes.

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
            memory_bytes_max=self._policy.memory_bytes_max + _THREAD_BYTES * self._policy.threads,
            threads=self._policy.threads,
            sandbox_required=self._policy.sandbox_required,
            execution=self._policy.execution,
        )
        with theirs:
            self._spawner.spawn(order, connection=theirs, page=page)
        os.close(page)
        task = asyncio.create_task(self._connect(handle, ours))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return handle

    async def _connect(self, handle: WorkerHandle, end: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: handle, sock=end)

    def _note(self, event: Event, descriptors: list[int]) -> None:
        handle = self._handles.get(event.worker)
        match event:
            case Spawned(pid=pid) if handle is not None:
                handle.born(pid, descriptors[0])
            case Ended(exit_code=exit_code) if handle is not None:
                self._bury(handle, exit_code)

    def _bury(self, handle: WorkerHandle, exit_code: int) -> None:
        """Tell everybody who waits for it."""
        running = handle.running()
        handle.gone = True
        del self._handles[handle.number]
        for key in [key for key, one in self._by_key.items() if one is handle]:
            del self._by_key[key]
        if handle in self._spares:
            self._spares.remove(handle)
        suspects = {
            loaded.record.version_id
            for slot, loaded in handle.loaded.items()
            if slot in running or handle.broken  # whose words they were cannot be told
        }
        self._events.write(
            "worker_ended",
            worker=handle.number,
            pid=handle.pid,
            exit_code=exit_code,
            broken=handle.broken,
            versions=len(handle.loaded),
            suspects=sorted(suspects),
        )
        pending, handle.pending = handle.pending, {}
        for identity, one in pending.items():
            if not one.answered:
                suspect = identity in running.get(one.loaded.slot, ())
                elsewhere = bool(suspects) and one.loaded.record.version_id not in suspects
                one.done(Lost(suspect, elsewhere))
        for slot, loading in handle.loading.items():
            reject(loading.report, _load_lost(slot in running, exit_code))
        lost = list(handle.loaded.values())
        handle.close()
        self._lost(lost, suspects)


def _load_lost(suspect: bool, exit_code: int) -> ModelRocketError:
    if suspect:
        return InvalidModel(f"Loading it ended its process (exit code {exit_code}).")
    return DependencyFailed("The worker ended while the model waited to be loaded. Try again.")


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
