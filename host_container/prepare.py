"""Prepares uploaded versions: takes jobs, has each file examined in a process that can be killed, reports.

What goes wrong is either the model's fault (a reason for its owner) or this
host's or a store's (the job is handed back for another try).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
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
    decode,
    encode,
)
from host_container.artifacts import ArtifactCorrupt, ArtifactMissing
from host_container.events import EventLog
from host_container.examine import Order, Report, out_of_memory

_WAIT_MS: Final = 1000
_PAUSE_SECONDS: Final = 2.0
_KEEP_SECONDS: Final = 1.0
_FINISH_TRIES: Final = 10
_EXAMINATIONS_MAX: Final = 2
_LINE_BYTES_MAX: Final = 4 * 1024 * 1024
_ERROR_TAIL_BYTES: Final = 4096
_DOING: Final = {
    PrepareStage.VALIDATING: "reading it",
    PrepareStage.LOADING: "loading it",
    PrepareStage.MEASURING: "running it on a generated input",
}


@dataclass(frozen=True, slots=True)
class ExaminationLimits:
    """What one examination may take."""

    seconds_max: float = limits.PREPARE_SECONDS_MAX
    cpu_seconds_max: int = limits.PREPARE_CPU_SECONDS_MAX
    memory_bytes_max: int = limits.PREPARE_MEMORY_BYTES_MAX


class ExaminationLost(Exception):
    """The examining process ended without a verdict, and not by anything the model is known to do."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the examining process ended while {doing}")
        self.doing = doing


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
    limits: ExaminationLimits = ExaminationLimits()


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


async def run_examination(
    path: Path,
    bounds: ExaminationLimits,
    *,
    entered: Callable[[PrepareStage], None],
    events: EventLog,
) -> Report:
    """The verdict on one file; a process that exceeds its limits or crashes is a verdict too."""
    process = await _start(path)
    watch = _Watch(process, entered)
    try:
        async with asyncio.timeout(bounds.seconds_max):
            report = await watch.verdict(_order(path, bounds))
    except TimeoutError:
        return Report(reason=f"Stopped after {bounds.seconds_max:.0f} s while {watch.doing}.")
    finally:
        _kill_group(process)
        status = await process.wait()
        errors = await watch.errors()
    if report is not None:
        return report
    events.write("examination_ended", status=status, stage=watch.stage, errors=errors)
    return Report(reason=_obituary(-status, watch.doing, bounds))


class _Watch:
    """Reads what the examining process says, and remembers where it was."""

    def __init__(self, process: asyncio.subprocess.Process, entered: Callable[[PrepareStage], None]) -> None:
        self._process = process
        self._entered = entered
        self._errors = asyncio.create_task(_tail(process.stderr))
        self.stage = PrepareStage.VALIDATING

    @property
    def doing(self) -> str:
        return _DOING.get(self.stage, "preparing it")

    async def verdict(self, order: bytes) -> Report | None:
        """The last report; None when the process ended before it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(order)
            await self._process.stdin.drain()
        while line := await self._line(self._process.stdout):
            report = decode(line, Report)
            if report is None or report.stage is None:
                return report
            self.stage = report.stage
            self._entered(report.stage)
        return None

    async def _line(self, stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # longer than any line of ours: the model has taken over the process
            return b""

    async def errors(self) -> str:
        return (await self._errors).decode(errors="replace")


async def _start(path: Path) -> asyncio.subprocess.Process:
    """Started from the main thread: the kernel ends it together with the thread that started it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "host_container.examine"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=path.parent,
        env=_environment(),
        start_new_session=True,
        limit=_LINE_BYTES_MAX,
    )


def _environment() -> Mapping[str, str]:
    """Nothing of ours: no credentials, one thread per library, few memory arenas."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "LC_ALL": "C.UTF-8",
    }


def _order(path: Path, bounds: ExaminationLimits) -> bytes:
    order = Order(str(path), os.getpid(), bounds.cpu_seconds_max, bounds.memory_bytes_max)
    return encode(order) + b"\n"


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    """The end of what was written, read as it comes so that nobody blocks writing."""
    assert stream is not None
    tail = b""
    while chunk := await stream.read(_ERROR_TAIL_BYTES):
        tail = (tail + chunk)[-_ERROR_TAIL_BYTES:]
    return tail


def _obituary(number: int, doing: str, bounds: ExaminationLimits) -> str:
    """Why there is no verdict. Raises ExaminationLost when the model did not do it."""
    if number == signal.SIGXCPU:
        return f"Stopped after {bounds.cpu_seconds_max} s of CPU time while {doing}."
    if number == signal.SIGABRT:
        return f"It ended the process while {doing}. {out_of_memory(bounds.memory_bytes_max)}"
    if number > 0 and number != signal.SIGKILL:
        return f"It crashed the process ({signal.Signals(number).name}) while {doing}."
    raise ExaminationLost(doing)


def _record(job: PrepareJob, result: PrepareResult) -> VersionRecord:
    assert result.signature is not None and result.passport is not None
    fields = msgspec.structs.asdict(job)
    return VersionRecord(**fields, signature=result.signature, passport=result.passport)


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
