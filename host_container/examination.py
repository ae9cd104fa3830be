"""The processes that look at a file and make its prepared form: started, watched, killed.

Each has its own limits; a process that exceeds them, or crashes, has given its
verdict by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import PrepareStage, decode, encode
from host_container.events import EventLog
from host_container.orders import NOT_CLOSED_IN, BuildOrder, Order, Report, out_of_memory
from host_container.prepared import Built

_EXAMINE: Final = "host_container.examine"
_BUILDER: Final = "host_container.builder"
_LINE_BYTES_MAX: Final = 4 * 1024 * 1024
_ERROR_TAIL_BYTES: Final = 4096
_DOING: Final = {
    PrepareStage.VALIDATING: "reading it",
    PrepareStage.LOADING: "loading it",
    PrepareStage.MEASURING: "running it on a generated input",
}


@dataclass(frozen=True, slots=True)
class ExaminationLimits:
    """What one examination may take; `sandbox_required` as for workers."""

    seconds_max: float = limits.PREPARE_SECONDS_MAX
    cpu_seconds_max: int = limits.PREPARE_CPU_SECONDS_MAX
    memory_bytes_max: int = limits.PREPARE_MEMORY_BYTES_MAX
    sandbox_required: bool = True


class ExaminationLost(Exception):
    """The examining process ended without a verdict, and not by anything the model is known to do."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the examining process ended while {doing}")
        self.doing = doing


async def run_examination(
    path: Path,
    bounds: ExaminationLimits,
    *,
    entered: Callable[[PrepareStage], None],
    events: EventLog,
) -> Report:
    """The verdict on one file; a process that exceeds its limits or crashes is a verdict too.

    Raises ExaminationLost, and Unavailable when the process could not begin.
    """
    process = await _start(_EXAMINE, cwd=path.parent)
    watch = _Watch(process, entered)
    try:
        async with asyncio.timeout(bounds.seconds_max):
            report = await watch.verdict(encode(_order(path, bounds)) + b"\n")
    except TimeoutError:
        reason = f"Stopped after {bounds.seconds_max:.0f} s while {watch.doing}."
        return Report(reason=reason, refusal=Refusal.WALL_TIME)
    finally:
        _kill_group(process)
        status = await process.wait()
        errors = await watch.errors()
    if report is None or report.refusal is Refusal.UNEXPLAINED:
        events.write("examination_ended", status=status, stage=watch.stage, errors=errors)
    return _told(report) if report is not None else _obituary(-status, watch.doing, bounds)


async def run_build(path: Path, folder: Path, bounds: ExaminationLimits, *, bytes_max: int) -> Built:
    """Have the prepared form of this file made in this empty folder, no file larger than `bytes_max`."""
    process = await _start(_BUILDER, cwd=folder)
    order = msgspec.structs.replace(_order(path, bounds), file_bytes_max=bytes_max)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(_tail(process.stderr))
    try:
        async with asyncio.timeout(bounds.seconds_max):
            process.stdin.write(encode(BuildOrder(order, str(folder.absolute()))) + b"\n")
            answer = decode(await process.stdout.readline(), Built)
    except TimeoutError:
        return Built(reason=f"it was not made within {bounds.seconds_max:.0f} s")
    except ValueError:  # a line longer than any of ours: the model has taken over the process
        answer = None
    finally:
        _kill_group(process)
        status = await process.wait()
        await errors
        await _tail(process.stdout)  # to its end, so that its pipe is closed
    return answer or Built(reason=f"the process that made it ended ({status})")


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


async def _start(module: str, *, cwd: Path) -> asyncio.subprocess.Process:
    """Started from the main thread: the kernel ends it together with the thread that started it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
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


def _order(path: Path, bounds: ExaminationLimits) -> Order:
    return Order(
        str(path.absolute()),
        os.getpid(),
        bounds.cpu_seconds_max,
        bounds.memory_bytes_max,
        sandbox_required=bounds.sandbox_required,
    )


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


def _told(report: Report) -> Report:
    """As its owner may read it: names in the file, and so the file's author, choose some of the words."""
    if report.reason is None:
        return report
    reason = " ".join("".join(sign if sign.isprintable() else " " for sign in report.reason).split())
    if len(reason) > limits.REASON_LENGTH_MAX:
        reason = reason[: limits.REASON_LENGTH_MAX - 1] + "…"
    return Report(reason=reason, refusal=report.refusal or Refusal.UNEXPLAINED)


def _obituary(number: int, doing: str, bounds: ExaminationLimits) -> Report:
    """Why there is no verdict. Raises ExaminationLost or Unavailable when the model did not do it."""
    if number == signal.SIGXCPU:
        reason = f"Stopped after {bounds.cpu_seconds_max} s of CPU time while {doing}."
        return Report(reason=reason, refusal=Refusal.CPU_TIME)
    if number == signal.SIGABRT:
        reason = f"It ended the process while {doing}. {out_of_memory(bounds.memory_bytes_max)}"
        return Report(reason=reason, refusal=Refusal.MEMORY)
    if number > 0 and number != signal.SIGKILL:
        reason = f"It crashed the process ({signal.Signals(number).name}) while {doing}."
        return Report(reason=reason, refusal=Refusal.CRASH)
    if number == -NOT_CLOSED_IN:
        raise Unavailable("This host cannot close in the process that examines models.")
    raise ExaminationLost(doing)
