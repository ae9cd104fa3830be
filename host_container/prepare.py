"""Prepares uploaded versions: takes jobs, has each file examined, optimised and measured, reports.

    downloading → validating → optimising → measuring → (loaded here, so that it can answer) → the result

Each of the three in the middle is a process that can be killed. What is measured and certified is what this
host serves: the prepared form where one could be made, else the file as it was uploaded.
What goes wrong is either the model's fault (a reason for its owner) or this
host's or a store's (the job is handed back for another try).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, InvalidModel, ModelRocketError, Unavailable
from chalicelib.contract.findings import Refusal
from chalicelib.contract.hotstate import ClaimedJob, HotState
from chalicelib.contract.messages import (
    Optimisation,
    Preparation,
    PrepareJob,
    PrepareResult,
    PrepareStage,
    VersionRecord,
)
from host_container.artifacts import ArtifactCorrupt, ArtifactMissing, Artifacts
from host_container.builds import Builds
from host_container.events import EventLog
from host_container.examination import (
    ExaminationLimits,
    ExaminationLost,
    run_examination,
    run_measurement,
)
from host_container.orders import Doing, Measured, Report
from host_container.prepared import ABSOLUTE, RELATIVE, Built, onnxruntime_version

Found = TypeVar("Found", Report, Measured)

_WAIT_MS: Final = 1000
_PAUSE_SECONDS: Final = 2.0
_KEEP_SECONDS: Final = 1.0
_FINISH_TRIES: Final = 10
_EXAMINATIONS_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Bench:
    """What a preparation needs of the host.

    Attributes:
        artifacts: the job's file, and its prepared form, on disk.
        builds: makes that form.
        warm: load a version here, so that it can answer the moment it is activated.
        bytes_max: memory of this host for models.
        host_class: the name of the forms that fit this host.
    """

    artifacts: Artifacts
    builds: Builds
    warm: Callable[[VersionRecord], Awaitable[None]]
    bytes_max: int
    host_class: str
    limits: ExaminationLimits = field(default_factory=ExaminationLimits)


class Preparer:
    """Works through jobs one at a time until cancelled."""

    def __init__(self, hot: HotState, host_id: str, *, bench: Bench, events: EventLog) -> None:
        self._hot = hot
        self._host_id = host_id
        self._bench = bench
        self._events = events
        self._stage = PrepareStage.QUEUED
        self._entered = asyncio.Event()

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
        self._enter(PrepareStage.DOWNLOADING)
        keeper = asyncio.create_task(self._keep(claimed))
        started = self._now()
        try:
            result = await self._result(claimed)
        except asyncio.CancelledError:
            await self._finish(claimed, self._handed_back(claimed.job), tries=1)
            raise
        finally:
            keeper.cancel()
        self._tell(result, seconds=self._now() - started)
        await self._finish(claimed, result, tries=_FINISH_TRIES)

    def _tell(self, result: PrepareResult, *, seconds: float) -> None:
        outcome = "retry" if result.retry else "failed" if result.reason else "ready"
        told = {"outcome": outcome, "reason": result.reason, "ms": round(seconds * 1000, 1)}
        self._events.write("prepared", version=result.version_id, **told)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _keep(self, claimed: ClaimedJob) -> None:
        """Say where it stands: at once when that changes, and every second that we are at it."""
        while True:
            self._entered.clear()
            with contextlib.suppress(DependencyFailed):  # lost to another host at worst; both results agree
                await asyncio.to_thread(
                    self._hot.keep_job,
                    self._host_id,
                    claimed.entry_id,
                    version_id=claimed.job.version_id,
                    stage=self._stage,
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._entered.wait(), _KEEP_SECONDS)

    def _enter(self, stage: PrepareStage) -> None:
        self._stage = stage
        self._entered.set()

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
        except InvalidModel as error:  # its processes ended, or the hosts themselves
            return self._failed(job, error.message, self._preparation(Report(refusal=Refusal.CRASH)))
        except ModelRocketError as error:
            return self._failed(job, error.message)

    async def _prepared(self, job: PrepareJob) -> PrepareResult:
        if job.bytes_in_all > self._bench.bytes_max:
            found = self._preparation(Report(refusal=Refusal.MEMORY))
            return self._failed(job, self._too_large(job.bytes_in_all), found)
        report = await self._examined(job)
        found = self._preparation(report)
        if report.signature is None:
            return self._failed(job, report.reason or "It could not be examined.", found)
        self._enter(PrepareStage.OPTIMISING)
        built = await self._bench.builds.build(job, load_seconds=report.load_seconds)
        found = msgspec.structs.replace(found, optimisation=_optimisation(built))
        measured = await self._measured(job)
        if measured.passport is None:
            found = msgspec.structs.replace(found, refusal=measured.refusal)
            return self._failed(job, measured.reason or "It could not be measured.", found)
        if measured.passport.memory_bytes_mapped > self._bench.bytes_max:
            found = msgspec.structs.replace(found, refusal=Refusal.MEMORY)
            return self._failed(job, self._too_large(measured.passport.memory_bytes_mapped), found)
        result = PrepareResult(
            job.version_id,
            self._host_id,
            signature=report.signature,
            passport=measured.passport,
            certificate=measured.certificate,
            preparation=found,
        )
        await self._warm(job, result)
        return result

    async def _examined(self, job: PrepareJob) -> Report:
        async def examined() -> Report:
            with ExitStack() as held:
                path = await asyncio.to_thread(held.enter_context, self._bench.artifacts.held(job))
                begins = self._beginning(PrepareStage.VALIDATING)
                return await run_examination(path, self._bench.limits, begins=begins, events=self._events)

        return await self._not_lost(examined)

    async def _measured(self, job: PrepareJob) -> Measured:
        self._enter(PrepareStage.MEASURING)

        async def measured() -> Measured:
            with ExitStack() as held:
                files = await asyncio.to_thread(held.enter_context, self._bench.artifacts.held_to_load(job))
                begins = self._beginning(PrepareStage.MEASURING)
                return await run_measurement(files, self._bench.limits, begins=begins, events=self._events)

        return await self._not_lost(measured)

    def _beginning(self, stage: PrepareStage) -> Callable[[Doing], None]:
        return lambda _doing: self._enter(stage)

    async def _not_lost(self, look: Callable[[], Awaitable[Found]]) -> Found:
        """A process that was killed from outside is followed by one other; then it was the model."""
        for _ in range(_EXAMINATIONS_MAX):
            try:
                return await look()
            except ExaminationLost as error:
                lost = error
        raise InvalidModel(f"The process was killed twice while {lost.doing}. It may use too much memory.")

    def _preparation(self, report: Report) -> Preparation:
        return Preparation(
            onnxruntime=onnxruntime_version(),
            host_class=self._bench.host_class,
            refusal=report.refusal,
            findings=report.findings,
            example=report.example,
            sizes=report.sizes,
        )

    def _too_large(self, size: int) -> str:
        return (
            f"It takes {_gib(size)} of memory; a host has "
            f"{_gib(self._bench.bytes_max)}. Make it smaller (quantise it, for example)."
        )

    async def _warm(self, job: PrepareJob, result: PrepareResult) -> None:
        """Best effort: where there is no room now, the first request loads it."""
        try:
            await self._bench.warm(_record(job, result))
        except Unavailable as error:
            self._events.write("not_warmed", version=job.version_id, message=error.message)

    async def _finish(self, claimed: ClaimedJob, result: PrepareResult, *, tries: int) -> None:
        for _ in range(tries):
            try:
                await asyncio.to_thread(self._hot.finish_job, claimed.entry_id, result)
                return
            except DependencyFailed:
                await asyncio.sleep(_PAUSE_SECONDS)
        # The job is still there: whoever asks next prepares it once more.

    def _failed(self, job: PrepareJob, reason: str, preparation: Preparation | None = None) -> PrepareResult:
        return PrepareResult(job.version_id, self._host_id, reason=reason, preparation=preparation)

    def _handed_back(self, job: PrepareJob) -> PrepareResult:
        return PrepareResult(job.version_id, self._host_id, retry=True)


def _record(job: PrepareJob, result: PrepareResult) -> VersionRecord:
    assert result.signature is not None and result.passport is not None
    return VersionRecord(
        **msgspec.structs.asdict(job),
        signature=result.signature,
        passport=result.passport,
        certificate=result.certificate,
    )


def _optimisation(built: Built) -> Optimisation:
    return Optimisation(
        reason=built.reason,
        uploaded_load_ms=built.uploaded_load_ms,
        load_ms=built.load_ms,
        relative_tolerance=RELATIVE,
        absolute_tolerance=ABSOLUTE,
        largest_difference=built.largest_difference,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
