"""Prepares uploaded versions: takes jobs, has each file examined in a process that can be killed, reports.

What goes wrong is either the model's fault (a reason for its owner) or this
host's or a store's (the job is handed back for another try).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, InvalidModel, ModelRocketError, Unavailable
from chalicelib.contract.hotstate import ClaimedJob, HotState
from chalicelib.contract.messages import (
    PrepareJob,
    PrepareResult,
    PrepareStage,
    VersionRecord,
)
from host_container.artifacts import ArtifactCorrupt, ArtifactMissing
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, ExaminationLost, run_examination
from host_container.orders import Report

_WAIT_MS: Final = 1000
_PAUSE_SECONDS: Final = 2.0
_KEEP_SECONDS: Final = 1.0
_FINISH_TRIES: Final = 10
_EXAMINATIONS_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Bench:
    """What a preparation needs of the host.

    Attributes:
        hold: the job's file on disk while the context lasts; blocking.
        warm: load a version here, so that it can answer the moment it is activated.
        bytes_max: memory of this host for models.
    """

    hold: Callable[[PrepareJob], AbstractContextManager[Path]]
    warm: Callable[[VersionRecord], Awaitable[None]]
    bytes_max: int
    limits: ExaminationLimits = field(default_factory=ExaminationLimits)


class Preparer:
    """Works through jobs one at a time until cancelled."""

    def __init__(self, hot: HotState, host_id: str, *, bench: Bench, events: EventLog) -> None:
        self._hot = hot
        self._host_id = host_id
        self._bench = bench
        self._events = events
        self._stage = PrepareStage.QUEUED

    async def serve(self) -> None:
        while True:
            try:
                claimed = await asyncio.to_thread(self._hot.take_job, self._host_id, wait_ms=_WAIT_MS)
            except DependencyFailed:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if claimed is not None:
                await self._work(claimed)

    async def _work(self, claimed: ClaimedJob) -> None:
        """One job, kept alive meanwhile and handed back when we are stopped."""
        self._stage = PrepareStage.DOWNLOADING
        keeper = asyncio.create_task(self._keep(claimed))
        try:
            result = await self._result(claimed)
        except asyncio.CancelledError:
            await self._finish(claimed, self._handed_back(claimed.job), tries=1)
            raise
        finally:
            keeper.cancel()
        await self._finish(claimed, result, tries=_FINISH_TRIES)

    async def _keep(self, claimed: ClaimedJob) -> None:
        while True:
            with contextlib.suppress(DependencyFailed):  # lost to another host at worst; both results agree
                await asyncio.to_thread(
                    self._hot.keep_job,
                    self._host_id,
                    claimed.entry_id,
                    version_id=claimed.job.version_id,
                    stage=self._stage,
                )
            await asyncio.sleep(_KEEP_SECONDS)

    async def _result(self, claimed: ClaimedJob) -> PrepareResult:
        job = claimed.job
        try:
            if claimed.deliveries > limits.PREPARE_ATTEMPTS_MAX:
                raise InvalidModel(f"{limits.PREPARE_ATTEMPTS_MAX} hosts ended while preparing it.")
            return await self._prepared(job)
        except (ArtifactMissing, ArtifactCorrupt) as error:
            return self._failed(job, f"{error.message} Upload it again.")
        except (Unavailable, OSError) as error:
            self._events.write("prepare_retry", version=job.version_id, message=str(error))
            return self._handed_back(job)
        except ModelRocketError as error:
            return self._failed(job, error.message)

    async def _prepared(self, job: PrepareJob) -> PrepareResult:
        with ExitStack() as held:
            path = await asyncio.to_thread(held.enter_context, self._bench.hold(job))
            report = await self._examined(path)
        if report.reason is not None or report.signature is None or report.passport is None:
            return self._failed(job, report.reason or "It could not be measured.")
        if report.passport.memory_bytes > self._bench.bytes_max:
            raise InvalidModel(
                f"It takes {_gib(report.passport.memory_bytes)} of memory; a host has "
                f"{_gib(self._bench.bytes_max)}. Make it smaller (quantise it, for example)."
            )
        result = PrepareResult(
            job.version_id, self._host_id, signature=report.signature, passport=report.passport
        )
        await self._warm(job, result)
        return result

    async def _examined(self, path: Path) -> Report:
        """A process that was killed from outside is followed by one other; then it was the model."""
        for _ in range(_EXAMINATIONS_MAX):
            try:
                return await run_examination(
                    path, self._bench.limits, entered=self._entered, events=self._events
                )
            except ExaminationLost as error:
                lost = error
        raise InvalidModel(f"The process was killed twice while {lost.doing}. It may use too much memory.")

    async def _warm(self, job: PrepareJob, result: PrepareResult) -> None:
        """Best effort: where there is no room now, the first request loads it."""
        try:
            await self._bench.warm(_record(job, result))
        except Unavailable as error:
            self._events.write("not_warmed", version=job.version_id, message=error.message)

    async def _finish(self, claimed: ClaimedJob, result: PrepareResult, *, tries: int) -> None:
        outcome = "retry" if result.retry else "failed" if result.reason else "ready"
        self._events.write("prepared", version=result.version_id, outcome=outcome, reason=result.reason)
        for _ in range(tries):
            try:
                await asyncio.to_thread(self._hot.finish_job, claimed.entry_id, result)
                return
            except DependencyFailed:
                await asyncio.sleep(_PAUSE_SECONDS)
        # The job is still there: whoever asks next prepares it once more.

    def _entered(self, stage: PrepareStage) -> None:
        self._stage = stage

    def _failed(self, job: PrepareJob, reason: str) -> PrepareResult:
        return PrepareResult(job.version_id, self._host_id, reason=reason)

    def _handed_back(self, job: PrepareJob) -> PrepareResult:
        return PrepareResult(job.version_id, self._host_id, retry=True)


def _record(job: PrepareJob, result: PrepareResult) -> VersionRecord:
    assert result.signature is not None and result.passport is not None
    fields = msgspec.structs.asdict(job)
    return VersionRecord(**fields, signature=result.signature, passport=result.passport)


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
