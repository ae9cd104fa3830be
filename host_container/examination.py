"""The processes that look at a file, make its prepared form and measure it: started, watched, killed.

Each has its own limits; a process that exceeds them, or crashes, has given its
verdict by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import Certificate, Counterexample, Example, decode, encode
from host_container import environment, heap
from host_container.events import EventLog
from host_container.orders import (
    NOT_CLOSED_IN,
    Began,
    BuildOrder,
    Doing,
    Measured,
    MeasureOrder,
    Order,
    Report,
    out_of_memory,
)
from host_container.prepared import Built, ModelFiles, uploaded

_EXAMINE: Final = "host_container.examine"
_BUILDER: Final = "host_container.builder"
_MEASURE: Final = "host_container.measure"
_LINE_BYTES_MAX: Final = 4 * 1024 * 1024
_ERROR_TAIL_BYTES: Final = 4096
_COPIES_MAX: Final = 3
_BYTES_PER_SECOND_MIN: Final = 50e6
_COUNTED: Final = 8
_TEXT_LENGTH_MAX: Final = 100

Begins = Callable[[Doing], None]


@dataclass(frozen=True, slots=True)
class ExaminationLimits:
    """What one examination may take; `sandbox_required` as for workers."""

    seconds_max: float = limits.PREPARE_SECONDS_MAX
    cpu_seconds_max: int = limits.PREPARE_CPU_SECONDS_MAX
    memory_bytes_max: int = limits.PREPARE_MEMORY_BYTES_MAX
    load_seconds_max: float = limits.LOAD_SECONDS_MAX
    sandbox_required: bool = True

    def allowing(self, files: ModelFiles) -> ExaminationLimits:
        """More for weights beside the graph, which may be larger than any graph: they are mapped twice and
        copied once at the most, and read and multiplied with some dozen times."""
        apart = files.bytes_apart
        return replace(
            self,
            seconds_max=self.seconds_max + apart / _BYTES_PER_SECOND_MIN,
            cpu_seconds_max=self.cpu_seconds_max + int(apart / _BYTES_PER_SECOND_MIN),
            memory_bytes_max=self.memory_bytes_max + _COPIES_MAX * apart,
            load_seconds_max=self.load_seconds_max + apart / limits.LOAD_BYTES_PER_SECOND_MIN,
        )


class ExaminationLost(Exception):
    """The examining process ended without a verdict, and not by anything the model is known to do."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the examining process ended while {doing}")
        self.doing = doing


async def run_examination(
    path: Path, bounds: ExaminationLimits, *, begins: Begins, events: EventLog
) -> Report:
    """The verdict on one file; a process that exceeds its limits or crashes is a verdict too.

    Raises ExaminationLost, and Unavailable when the process could not begin.
    """
    files = uploaded(path)
    bounds = bounds.allowing(files)
    watch = _Watch(bounds, begins)
    last = await watch.run(_EXAMINE, encode(_order(files, bounds)), cwd=path.parent)
    if isinstance(last, Report) and last.refusal is not Refusal.UNEXPLAINED:
        return _fitting(last) if last.reason is None else Report(*_told(last.reason, last.refusal))
    watch.tell(events)
    return Report(*(_told(last.reason, last.refusal) if isinstance(last, Report) else watch.obituary()))


async def run_measurement(
    files: ModelFiles, bounds: ExaminationLimits, *, begins: Begins, events: EventLog
) -> Measured:
    """Passport and certificate of this form; it runs into limits and ends as an examination does.

    Raises as `run_examination`.
    """
    bounds = bounds.allowing(files)
    order = MeasureOrder(
        _order(files, bounds),
        prepared=files.built is not None,
        prepack_gain=files.built.prepack_gain if files.built else 1.0,
    )
    watch = _Watch(bounds, begins)
    await asyncio.to_thread(_drop_from_page_cache, files.paths)
    last = await watch.run(_MEASURE, encode(order), cwd=files.paths[0].parent)
    if isinstance(last, Measured) and last.reason is None:
        return msgspec.structs.replace(last, certificate=_short(last.certificate))
    watch.tell(events)
    return Measured(*(_told(last.reason, last.refusal) if isinstance(last, Measured) else watch.obituary()))


def _drop_from_page_cache(paths: Sequence[Path]) -> None:
    """So that the first load is a cold one. Pages that others map stay."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def run_build(
    path: Path, folder: Path, bounds: ExaminationLimits, *, bytes_max: int, nice: int = 0
) -> Built:
    """Have the prepared form of this file made in this empty folder, no file larger than `bytes_max`."""
    files = uploaded(path)
    bounds = bounds.allowing(files)
    process = await _start(_BUILDER, cwd=folder)
    order = msgspec.structs.replace(_order(files, bounds), file_bytes_max=bytes_max)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(_tail(process.stderr))
    try:
        async with asyncio.timeout(bounds.seconds_max):
            process.stdin.write(encode(BuildOrder(order, str(folder.absolute()), nice)) + b"\n")
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
    """Runs one process, reads what it says, and remembers where it was."""

    def __init__(self, bounds: ExaminationLimits, begins: Begins) -> None:
        self._bounds = bounds
        self._begins = begins
        self._doing = Doing.READING
        self._timed_out = False
        self._status = 0
        self._errors = b""

    async def run(self, module: str, order: bytes, *, cwd: Path) -> Report | Measured | None:
        """The last thing it says; None when it ended, or was ended, before that."""
        process = await _start(module, cwd=cwd)
        errors = asyncio.create_task(_tail(process.stderr))
        try:
            async with asyncio.timeout(self._bounds.seconds_max):
                return await self._last(process, order + b"\n")
        except TimeoutError:
            self._timed_out = True
            return None
        finally:
            _kill_group(process)
            self._status = await process.wait()
            self._errors = await errors

    async def _last(self, process: asyncio.subprocess.Process, order: bytes) -> Report | Measured | None:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(order)
            await process.stdin.drain()
        while line := await self._line(process.stdout):
            match _said(line):
                case Began(doing):
                    self._doing = doing
                    self._begins(doing)
                case last:
                    return last
        return None

    async def _line(self, stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # longer than any line of ours: the model has taken over the process
            return b""

    def tell(self, events: EventLog) -> None:
        """That it ended in a way that somebody may want to look into."""
        if not self._timed_out:
            errors = self._errors.decode(errors="replace")
            events.write("examination_ended", status=self._status, doing=self._doing, errors=errors)

    def obituary(self) -> tuple[str, Refusal]:
        """Why there is no verdict. Raises ExaminationLost or Unavailable when the model did not do it."""
        bounds, number = self._bounds, -self._status
        if self._timed_out:
            return f"Stopped after {bounds.seconds_max:.0f} s while {self._doing}.", Refusal.WALL_TIME
        if number == signal.SIGXCPU:
            spent = f"Stopped after {bounds.cpu_seconds_max} s of CPU time while {self._doing}."
            return spent, Refusal.CPU_TIME
        if number == signal.SIGABRT:
            aborted = f"It ended the process while {self._doing}. {out_of_memory(bounds.memory_bytes_max)}"
            return aborted, Refusal.MEMORY
        if number > 0 and number != signal.SIGKILL:
            name = signal.Signals(number).name
            return f"It crashed the process ({name}) while {self._doing}.", Refusal.CRASH
        if number == -NOT_CLOSED_IN:
            raise Unavailable("This host cannot close in the process that examines models.")
        raise ExaminationLost(self._doing)


def _said(line: bytes) -> Began | Report | Measured | None:
    try:
        return msgspec.json.decode(line, type=Began | Report | Measured)
    except (msgspec.DecodeError, RecursionError):
        return None


async def _start(module: str, *, cwd: Path) -> asyncio.subprocess.Process:
    """Started from the main thread: the kernel ends it together with the thread that started it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment.bare(**heap.environment()),
        start_new_session=True,
        limit=_LINE_BYTES_MAX,
    )


def _order(files: ModelFiles, bounds: ExaminationLimits) -> Order:
    path, *beside = (str(path.absolute()) for path in files.paths)
    return Order(
        path,
        os.getpid(),
        bounds.cpu_seconds_max,
        bounds.memory_bytes_max,
        sandbox_required=bounds.sandbox_required,
        load_seconds_max=bounds.load_seconds_max,
        beside=tuple(beside),
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


def _told(reason: str | None, refusal: Refusal | None) -> tuple[str, Refusal]:
    """As its owner may read it: names in the file, and so the file's author, choose some of the words."""
    return _plain(reason or "It gave no reason.", limits.REASON_LENGTH_MAX), refusal or Refusal.UNEXPLAINED


def _plain(text: str, length_max: int) -> str:
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return shown if len(shown) <= length_max else shown[: length_max - 1] + "…"


def _fitting(report: Report) -> Report:
    """Without an example and sizes that do not fit the signature: a model may have taken over the process."""
    ranks = {given.name: len(given.shape) for given in report.signature.inputs} if report.signature else {}
    fits = {name: len(sizes) for name, sizes in report.sizes.items()} == ranks
    example = report.example if fits and report.example and _is_example(report.example, ranks) else None
    return msgspec.structs.replace(report, example=example, sizes=report.sizes if fits else {})


def _is_example(example: Example, ranks: Mapping[str, int]) -> bool:
    return (
        example.inputs.keys() == ranks.keys()
        and max(ranks.values(), default=0) <= limits.RANK_MAX
        and all(_nests(value, ranks[name]) for name, value in example.inputs.items())
        and len(msgspec.json.encode(example.inputs)) <= limits.EXAMPLE_BYTES_MAX
    )


def _nests(value: object, rank: int) -> bool:
    """Lists in each other so many times, and nothing else that holds anything."""
    if not rank:
        return not isinstance(value, list | dict)
    return isinstance(value, list) and all(_nests(one, rank - 1) for one in value)


def _short(certificate: Certificate | None) -> Certificate | None:
    """However long a process that a model has taken over makes it."""
    if certificate is None:
        return None
    found = certificate.counterexample
    return Certificate(
        certificate.batchable,
        _plain(certificate.evidence, limits.REASON_LENGTH_MAX),
        None if found is None else _short_counterexample(found),
    )


def _short_counterexample(found: Counterexample) -> Counterexample:
    def values(given: Sequence[str]) -> tuple[str, ...]:
        return tuple(_plain(one, _TEXT_LENGTH_MAX) for one in given[:_COUNTED])

    return msgspec.structs.replace(
        found,
        trial=_plain(found.trial, _TEXT_LENGTH_MAX),
        output=_plain(found.output, _TEXT_LENGTH_MAX),
        expected=values(found.expected),
        got=values(found.got),
    )
