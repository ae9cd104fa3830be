"""The versions this host holds in memory: loaded on demand, one load however many wait.

Owned by the event loop; downloads happen in threads and loads in the tenants'
workers. The budget's arithmetic is `cache`'s, the files are `artifacts`'s, the
processes `workers`'s, and who may not be loaded any more is `ledger`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    InvalidModel,
    ModelLoading,
    ModelRocketError,
    NoCapacity,
    NotFound,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import ReplicaState, VersionRecord
from host_container.artifacts import Artifacts
from host_container.assignments import LEAVE_SECONDS, Assignments
from host_container.builds import Builds
from host_container.cache import Cache, Item, Refused
from host_container.events import EventLog
from host_container.forecast import Forecast, Load, ready_in
from host_container.handle import Loaded
from host_container.ledger import Ledger
from host_container.notices import Notices
from host_container.prepared import Built, ModelFiles
from host_container.workers import Workers

_RECORDS_MAX: Final = 4096
_NEVER_FITS_SECONDS: Final = 60.0
_RETRY_SECONDS_MIN: Final = 0.1
_PREPACK_DELAY_SECONDS: Final = 0.25
"""Who waited for the load is answered first."""
_DEADLINE_MARGIN_SECONDS: Final = 0.25
"""A caller is told to come back a little before its deadline, so that it hears it."""

Reserve = Callable[[Item], tuple[str, ...]]


@dataclass(slots=True)
class _Loading:
    """`began`: when it got a slot. `seconds`: what it will take from then, by the forecast.

    `beside`: loads that waited or ran when it was asked for.
    """

    task: asyncio.Task[None]
    record: VersionRecord
    seconds: float
    beside: int
    began: float | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ModelRocketError
    times: int
    until: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What replicas are made from."""

    hot: HotState
    artifacts: Artifacts
    builds: Builds
    workers: Workers
    ledger: Ledger
    notices: Notices
    events: EventLog
    clock: Callable[[], float]


class Replicas:
    """Loads, keeps and evicts models. Every `hold` needs its `release`."""

    def __init__(self, parts: Parts, *, bytes_max: int) -> None:
        self._hot = parts.hot
        self._artifacts = parts.artifacts
        self._builds = parts.builds
        self._workers = parts.workers
        self._ledger = parts.ledger
        self._notices = parts.notices
        self._events = parts.events
        self._clock = parts.clock
        self._cache = Cache(bytes_max)
        parts.workers.on_lost(self.lost)
        self._slots = asyncio.Semaphore(limits.LOAD_SLOTS)
        self._prepacking = asyncio.Semaphore(1)
        self._loaded: dict[str, Loaded] = {}
        self._reloading: set[asyncio.Task[None]] = set()
        self._loading: dict[str, _Loading] = {}
        self._failures: OrderedDict[str, _Failure] = OrderedDict()
        self._records: OrderedDict[str, VersionRecord] = OrderedDict()
        self._retiring: dict[str, Loaded] = {}
        self._assignments = Assignments()
        self._stored: OrderedDict[str, VersionRecord] = OrderedDict()
        self._forecast = Forecast()

    @property
    def bytes_max(self) -> int:
        return self._cache.bytes_max

    @property
    def bytes_used(self) -> int:
        return self._cache.bytes_used

    @property
    def ready(self) -> int:
        return len(self._loaded)

    def held(self) -> Iterator[tuple[VersionRecord, int]]:
        """What is in memory, and how many bytes are counted for it."""
        return ((loaded.record, self._item(loaded.record).bytes) for loaded in self._loaded.values())

    def remember(self, record: VersionRecord) -> None:
        """What a version is, so that nobody has to be asked."""
        self._records[record.version_id] = record
        if len(self._records) > _RECORDS_MAX:
            self._records.popitem(last=False)

    async def record(self, version_id: str) -> VersionRecord | None:
        """What the version is: never changes, so what is known is not asked for again. Raises NotFound."""
        self._ledger.check_there(version_id)
        known = self._records.get(version_id)
        if known is None:
            known = await asyncio.to_thread(self._hot.version, version_id)
            if known is not None:
                self.remember(known)
        return known

    def hold_now(self, version_id: str) -> Loaded | None:
        """The model, kept in memory until released, if it is there."""
        loaded = self._loaded.get(version_id)
        if loaded is not None:
            self._cache.pin(version_id, now=self._clock())
        return loaded

    def is_loaded(self, version_id: str) -> bool:
        return version_id in self._loaded

    def is_loading(self, version_id: str) -> bool:
        return version_id in self._loading

    async def hold(self, record: VersionRecord, *, wait_seconds: float) -> Loaded:
        """The model, kept in memory until released. Loads it, evicting others where it must.

        Raises ModelLoading when it takes longer than `wait_seconds`, NoCapacity
        when it does not fit now, NotFound for what was deleted, and whatever made the load fail.
        """
        until = self._clock() + min(limits.COLD_WAIT_SECONDS_MAX, wait_seconds - _DEADLINE_MARGIN_SECONDS)
        while (loaded := self.hold_now(record.version_id)) is None:
            self._ledger.check(record.version_id, now=self._clock())
            if (error := self._recent_failure(record.version_id)) is not None:
                raise error.with_traceback(None)  # it is raised again and again: let no frames pile up on it
            loading = self._loading.get(record.version_id) or self._start(record, self._reserve)
            await asyncio.wait({loading.task}, timeout=max(0.0, until - self._clock()))
            if not loading.task.done():
                raise self._come_back(record)
            loading.task.result()
        return loaded

    def release(self, loaded: Loaded) -> None:
        version_id = loaded.record.version_id
        if self._loaded.get(version_id) is loaded:  # else it was lost, and its pins with it
            self._cache.unpin(version_id)
        elif self._retiring.get(version_id) is loaded:
            self._cache.unpin(version_id)
            self._retire(version_id)

    def close(self) -> None:
        """The host ends in order, whatever it is loading."""
        self._ledger.close()

    def quarantined(self) -> frozenset[str]:
        """Ids of versions that this host does not run now."""
        return self._ledger.all_quarantined(now=self._clock())

    @property
    def leaving(self) -> frozenset[str]:
        """Ids of deleted versions that are still in use."""
        return frozenset(self._retiring)

    def drop(self, version_ids: Iterable[str]) -> frozenset[str]:
        """They were deleted: nothing new runs; what runs ends, then its memory is free. Says what is news."""
        new = self._ledger.drop(version_ids)
        for version_id in new:
            self._records.pop(version_id, None)
            if self._stored.pop(version_id, None) is not None:
                self._notices.drop(version_id)
            if version_id in self._loaded:
                self._notices.drop(version_id)
                self._retiring[version_id] = self._loaded.pop(version_id)
                self._retire(version_id)
        return new

    def _retire(self, version_id: str) -> None:
        if not self._cache.pinned(version_id):
            self._cache.forget(version_id)
            self._workers.unload(self._retiring.pop(version_id))
            self._events.write("dropped", version=version_id)

    @property
    def wanted(self) -> frozenset[str]:
        """What was assigned last."""
        return self._assignments.wanted

    def assigned(self, version_ids: Iterable[str]) -> None:
        """What this host is to hold. What it no longer is goes when nobody has used it for a while."""
        now = self._clock()
        self._assignments.told(version_ids, now=now)
        self._cache.wanted = self._assignments.wanted
        for version_id in self._assignments.leaving(now=now):
            if version_id not in self._loaded:
                self._assignments.gone(version_id)
            elif self._cache.idle(version_id, seconds=LEAVE_SECONDS, now=now):
                self._assignments.gone(version_id)
                self._cache.forget(version_id)
                for loaded in self._unload((version_id,)):
                    self._workers.unload(loaded)

    def lost(self, gone: list[Loaded], suspects: set[str]) -> None:
        """A worker ended: what it held is gone. What did not end it comes back by itself."""
        now = self._clock()
        for version_id in suspects:
            self._ledger.blame(version_id, now=now)
            quarantined = self._ledger.quarantined(version_id, now=now)
            self._events.write("blamed", version=version_id, quarantined=quarantined)
            record = self._records.get(version_id)
            if quarantined and record is not None:
                self._background(self._tell_quarantine(record))
        for loaded in gone:
            version_id = loaded.record.version_id
            if self._loaded.get(version_id) is loaded:
                del self._loaded[version_id]
                self._cache.lose(version_id)
                self._notices.drop(version_id)
            elif self._retiring.get(version_id) is loaded:
                del self._retiring[version_id]
                self._cache.lose(version_id)
            if version_id not in suspects:
                self._background(self._reload(loaded.record))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _tell_quarantine(self, record: VersionRecord) -> None:
        """So that no gateway sends it to any host. Not heard, other hosts find out for themselves."""
        with contextlib.suppress(DependencyFailed):
            await asyncio.to_thread(
                self._hot.quarantine, record.model_id, record.version_id, seconds=limits.QUARANTINE_SECONDS
            )

    async def _reload(self, record: VersionRecord) -> None:
        with contextlib.suppress(ModelRocketError):  # whoever asks for it next hears why
            self.release(await self.hold(record, wait_seconds=limits.LOAD_SECONDS_MAX))

    async def warm(self, record: VersionRecord) -> None:
        """Load it for requests that are to come, and say so to the gateways before returning."""
        self.remember(record)
        self.release(await self.hold(record, wait_seconds=limits.LOAD_SECONDS_MAX))
        await self._notices.tell()

    async def prefetch(self) -> None:
        """Load what is assigned, one after the other, as far as it fits in beside each other; of the rest,
        have the files at hand.

        What may have ended a process comes last, and not at all while it is in quarantine.
        """
        for version_id in sorted(self._assignments.wanted, key=self._turn):
            if self._ledger.quarantined(version_id, now=self._clock()):
                continue
            with contextlib.suppress(NotFound, NoCapacity):  # deleted meanwhile; the disk is full
                await self._prefetch(version_id)

    def _turn(self, version_id: str) -> tuple[bool, str]:
        return self._ledger.suspected(version_id), version_id

    async def _prefetch(self, version_id: str) -> None:
        if version_id in self._loaded or version_id in self._loading:
            return
        record = await self.record(version_id)
        if record is None or self._recent_failure(version_id) or version_id in self._loading:
            return
        if self._cache.room_beside_wanted(self._item(record), now=self._clock()):
            await asyncio.wait({self._start(record, self._reserve_beside_wanted).task})
        elif not self._artifacts.has(record):
            async with self._files(record):
                self._tell_stored(record)

    def _recent_failure(self, version_id: str) -> ModelRocketError | None:
        failure = self._failures.get(version_id)
        return failure.error if failure is not None and self._clock() < failure.until else None

    def _start(self, record: VersionRecord, reserve: Reserve) -> _Loading:
        task = asyncio.create_task(self._load(record, reserve), name=f"load {record.version_id}")
        task.add_done_callback(_retrieved)
        beside, on_disk = len(self._loading), self._artifacts.has(record)
        seconds = self._forecast.seconds(record, on_disk=on_disk, beside=beside)
        loading = _Loading(task, record, seconds, beside)
        self._loading[record.version_id] = loading
        return loading

    async def _load(self, record: VersionRecord, reserve: Reserve) -> None:
        try:
            async with self._slots:
                self._loading[record.version_id].began = self._clock()
                await self._load_reserved(record, self._unload(reserve(self._item(record))))
        except (NoCapacity, NotFound):
            raise  # nothing is wrong with the version
        except ModelRocketError as error:
            self._remember_failure(record, error)
            raise
        finally:
            del self._loading[record.version_id]

    async def _load_reserved(self, record: VersionRecord, evicted: list[Loaded]) -> None:
        version_id, started = record.version_id, self._clock()
        on_disk = self._artifacts.has(record)
        self._notices.put(record, ReplicaState.LOADING)
        try:
            for one in evicted:
                self._workers.unload(one)
            with self._ledger.loading(version_id):
                loaded, built = await self._load_from_disk(record)
            self._refuse_dropped(loaded)
        except BaseException:
            self._cache.forget(version_id)
            self._tell_stored(record)
            raise
        took, beside = self._clock() - started, self._loading[version_id].beside
        self._forecast.saw(record, on_disk=on_disk, seconds=took, beside=beside)
        self._cache.commit(version_id, now=self._clock())
        self._loaded[version_id] = loaded
        self._failures.pop(version_id, None)
        self._notices.put(record, ReplicaState.READY)
        self._events.write(
            "loaded",
            version=version_id,
            ms=round((self._clock() - started) * 1000, 1),
            session_ms=round(loaded.report.load_seconds * 1000, 3),
            processor_ms=round(loaded.report.processor_seconds * 1000, 3),
            worker=loaded.worker.number,
            bytes_resident=loaded.report.bytes_resident,
            bytes_anonymous=loaded.report.bytes_anonymous,
            batch_size_max=loaded.report.batch_size_max,
            batching=loaded.report.batching,
            prepared=built is not None,
            providers=loaded.report.providers,
        )
        if built is None:
            self._builds.loaded_plainly(record, load_seconds=loaded.report.load_seconds)
        elif built.prepacking_pays and self._takes_prepacked(record):
            self._background(self._prepack(loaded))

    def _refuse_dropped(self, loaded: Loaded) -> None:
        """It was deleted while it was loaded. Raises NotFound."""
        try:
            self._ledger.check_there(loaded.record.version_id)
        except NotFound:
            self._workers.unload(loaded)
            raise

    async def _load_from_disk(self, record: VersionRecord) -> tuple[Loaded, Built | None]:
        """From the prepared form where there is one that loads, else from the uploaded file."""
        key = self._ledger.worker_key(record)
        async with self._files(record) as files:
            try:
                return await self._workers.load(record, files, key=key), files.built
            except InvalidModel as error:
                if files.built is None:
                    raise
                self._events.write("form_dropped", version=record.version_id, message=error.message)
        await asyncio.to_thread(self._artifacts.drop_prepared, record)
        async with self._files(record) as files:
            return await self._workers.load(record, files, key=key), files.built

    @asynccontextmanager
    async def _files(self, record: VersionRecord) -> AsyncIterator[ModelFiles]:
        """Kept on disk meanwhile."""
        with contextlib.ExitStack() as held:
            yield await asyncio.to_thread(held.enter_context, self._artifacts.held_to_load(record))

    async def _prepack(self, loaded: Loaded) -> None:
        """The second stage. Its memory is reserved: the passport was measured with weights rearranged."""
        record = loaded.record
        await asyncio.sleep(_PREPACK_DELAY_SECONDS)
        if self._loaded.get(record.version_id) is not loaded:
            return
        self._cache.keep(record.version_id)
        try:
            async with self._prepacking, self._files(record) as files:
                if files.built is not None:
                    report = await self._workers.prepack(loaded, files)
                    self._events.write(
                        "prepacked",
                        version=record.version_id,
                        ms=round(report.load_seconds * 1000, 1),
                        bytes_resident=report.bytes_resident,
                        bytes_anonymous=report.bytes_anonymous,
                    )
        except (ModelRocketError, OSError) as error:  # the mapped session goes on answering
            self._events.write("not_prepacked", version=record.version_id, message=str(error))
        finally:
            self.release(loaded)

    def _item(self, record: VersionRecord) -> Item:
        passport = record.passport
        size = passport.memory_bytes if self._takes_prepacked(record) else passport.memory_bytes_mapped
        return Item(
            record.version_id, bytes=max(record.bytes_in_all, size), cost_seconds=passport.load_ms / 1000
        )

    def _takes_prepacked(self, record: VersionRecord) -> bool:
        """Whether this host is large enough for its weights a second time, rearranged."""
        return record.passport.memory_bytes <= self._cache.bytes_max

    def _reserve(self, item: Item) -> tuple[str, ...]:
        try:
            return self._cache.reserve(item, now=self._clock())
        except Refused as error:
            raise NoCapacity(
                f"This host has no memory for the model now. {error}",
                retry_after=error.retry_after or _NEVER_FITS_SECONDS,
            ) from error

    def _reserve_beside_wanted(self, item: Item) -> tuple[str, ...]:
        if not self._cache.room_beside_wanted(item, now=self._clock()):
            raise NoCapacity("This host has no memory for the model now.")
        return self._reserve(item)

    def _unload(self, version_ids: tuple[str, ...]) -> list[Loaded]:
        gone = [self._loaded.pop(version_id) for version_id in version_ids]
        for loaded in gone:
            self._tell_stored(loaded.record)
            self._events.write("evicted", version=loaded.record.version_id)
        return gone

    def _tell_stored(self, record: VersionRecord) -> None:
        """It is not in memory (any more). Who has the files on disk is asked first to load it again."""
        if not self._artifacts.has(record):
            self._notices.drop(record.version_id)
            return
        self._notices.put(record, ReplicaState.STORED)
        self._stored[record.version_id] = record
        if len(self._stored) > _RECORDS_MAX:
            oldest, _ = self._stored.popitem(last=False)
            if oldest not in self._loaded and oldest not in self._loading:
                self._notices.drop(oldest)

    def check_stored(self) -> None:
        """Whether the files are still there of what is told to be on disk."""
        for version_id, record in list(self._stored.items()):
            if version_id in self._loaded or version_id in self._loading:
                del self._stored[version_id]
            elif not self._artifacts.has(record):
                del self._stored[version_id]
                self._notices.drop(version_id)

    def _come_back(self, record: VersionRecord) -> ModelLoading:
        loads = [Load(key, one.seconds, one.began) for key, one in self._loading.items()]
        seconds = ready_in(record.version_id, loads, now=self._clock())
        return ModelLoading(
            f"The model is being loaded, and should be ready in {seconds:.1f} s. Try again then, or send "
            "Prefer: respond-async to the gateway and fetch the answer when it is there.",
            retry_after=max(_RETRY_SECONDS_MIN, seconds),
            ready_in=round(seconds, 3),
        )

    def _remember_failure(self, record: VersionRecord, error: ModelRocketError) -> None:
        """Not to be tried again at once: 1, 2, 4, … seconds."""
        before = self._failures.pop(record.version_id, None)
        times = before.times + 1 if before else 1
        pause = min(2.0 ** (times - 1), limits.LOAD_FAILURE_SECONDS_MAX)
        self._failures[record.version_id] = _Failure(error, times, self._clock() + pause)
        if len(self._failures) > _RECORDS_MAX:
            self._failures.popitem(last=False)
        self._events.write("load_failed", version=record.version_id, code=error.code, message=error.message)


def _retrieved(task: asyncio.Task[None]) -> None:
    """A load may fail with nobody waiting any more; it has been logged."""
    if not task.cancelled():
        task.exception()
