"""Exporting in a process of its own, within limits of time and memory: some exporters never return.

exporting(…)
  ├── the model goes by cloudpickle into a private folder
  ├── `python -m modelrocket.convert.apart FOLDER` makes the same `Source` of it, and exports the attempts
  │   whose numbers it reads, each into a file of the folder
  └── what takes too long or too much is killed; its files go with the folder
A model that cannot be copied into another process is exported in this one, and its owner is told.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from modelrocket.convert.export import Exported, exported
from modelrocket.convert.interface import Declared, Source
from modelrocket.errors import ConversionError
from modelrocket.payload import WEIGHTS_LOCATION, Payload, Weights

SECONDS_MAX: Final = 600.0
_POLL_SECONDS: Final = 0.02
_STACK_SECONDS: Final = 1.0
_FREE_MEMORY_SHARE: Final = 0.9
_LOG_CHARACTERS_MAX: Final = 500
_JOB, _READY, _OUTCOME, _TWO_FILES, _LOG = "job", "ready", "outcome", "two_files", "log"
_FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\:]+[/\\])+")
"""Of this machine; the note that a reason is part of leaves it with the receipt."""

Export = Callable[[int], Exported]
"""By the attempt's number. Raises `ConversionError`."""


@dataclass(frozen=True)
class Limits:
    """Of all attempts together; `memory_bytes` is nine tenths of what is free when it is None.

    Memory is watched on Linux alone.
    """

    seconds: float = SECONDS_MAX
    memory_bytes: int | None = None


@dataclass(frozen=True)
class _Job:
    """What the other process needs: the converter's module, what stands for the model, and what was said."""

    converter: str
    thing: Any
    declared: Declared


@dataclass(frozen=True)
class _Files:
    """What an export left: the graph, and the length and hash of the weights that lie beside it."""

    model: bytes
    opsets: dict[str, int]
    weights: tuple[int, str] | None


class _NotRebuilt(Exception):
    """The other process could not make the model again."""


@contextmanager
def exporting(
    converter: str, model: object, declared: Declared, source: Source, limits: Limits
) -> Iterator[tuple[Export, str | None]]:
    """The way to export, and why it is not in a process of its own where it is not."""
    with TemporaryDirectory(prefix="modelrocket-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        try:
            _write_job(Path(name), converter, model, declared)
            process = stack.enter_context(_Process(Path(name), source, limits))
            process.wait_until_ready()
        except ConversionError:
            raise
        except Exception as error:  # pickling runs the model's own code, which may raise anything
            yield here(source), _told(error)
            return
        yield process.export, None


def here(source: Source) -> Export:
    """In this process, without limits."""
    return lambda number: exported(source, source.attempts[number])


def _told(error: Exception) -> str:
    reason = _FOLDERS.sub("", str(error).strip().partition("\n")[0]) or type(error).__name__
    return (
        "It was converted without limits of time and memory: "
        f"it cannot be copied into another process ({reason})."
    )


def _write_job(folder: Path, converter: str, model: object, declared: Declared) -> None:
    import cloudpickle

    module = import_module(converter)
    thing = module.packed(model, folder) if hasattr(module, "packed") else model
    with (folder / _JOB).open("wb") as file:
        cloudpickle.dump(_Job(converter, thing, declared), file)


class _Process:
    """The process that exports, until the block is left."""

    def __init__(self, folder: Path, source: Source, limits: Limits) -> None:
        self._folder, self._source, self._limits = folder, source, limits
        self._deadline = time.monotonic() + limits.seconds
        self._memory_max = limits.memory_bytes or _free_memory()
        with (folder / _LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # noqa: TID251
            )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self) -> None:
        """Raises `_NotRebuilt`, and `ConversionError` beyond the limits."""
        while not (self._folder / _READY).exists():
            if self._process.poll() is not None:
                raise _NotRebuilt(self._log().strip().rpartition("\n")[2])
            self._check_limits("Copying it to another process")
            time.sleep(_POLL_SECONDS)

    def export(self, number: int) -> Exported:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended; what it left says why
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()
        outcome = self._folder / f"{_OUTCOME}{number}"
        exporter = self._source.attempts[number].exporter
        while not outcome.exists():
            ended = self._process.poll()
            if ended is not None and not outcome.exists():
                raise self._ended(exporter, ended)
            self._check_limits(exporter)
            time.sleep(_POLL_SECONDS)
        return self._read(outcome)

    def _read(self, outcome: Path) -> Exported:
        files: _Files | ConversionError = pickle.loads(outcome.read_bytes())
        if isinstance(files, ConversionError):
            raise files
        if files.weights is None:
            return Exported(Payload(files.model), files.opsets)
        home = TemporaryDirectory(prefix="modelrocket-", ignore_cleanup_errors=True)
        moved = Path(home.name) / _TWO_FILES
        (self._folder / _TWO_FILES).rename(moved)
        weights = Weights(moved / WEIGHTS_LOCATION, *files.weights, home)
        return Exported(Payload(files.model, weights), files.opsets)

    def _check_limits(self, exporter: str) -> None:
        if time.monotonic() > self._deadline:
            raise ConversionError(
                f"{exporter} did not convert this model ({self._source.framework}) in "
                f"{self._limits.seconds:.0f} s{self._where()}.",
                hint=f"Give it more time, convert_seconds=…, or: {self._source.hint}",
            )
        used = _memory(self._process.pid)
        if used > self._memory_max:
            raise ConversionError(
                f"{exporter} took {used / 1e9:,.1f} GB of memory to convert this model "
                f"({self._source.framework}), and {self._memory_max / 1e9:,.1f} GB were free{self._where()}.",
                hint=self._source.hint,
            )

    def _where(self) -> str:
        """What it is doing, as its own stack says: the innermost call."""
        if not hasattr(signal, "SIGUSR1"):
            return ""
        self._process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + _STACK_SECONDS
        while not (frame := _FRAME.search(self._log())) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        if frame is None:
            return ""
        return f"; it was in {frame['function']} ({Path(frame['path']).name}, line {frame['line']})"

    def _ended(self, exporter: str, code: int) -> ConversionError:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        log = self._log()[-_LOG_CHARACTERS_MAX:].strip()
        return ConversionError(
            f"{exporter} crashed on this model ({self._source.framework}): its process {how}. {log}".strip(),
            hint=self._source.hint,
        )

    def _log(self) -> str:
        return (self._folder / _LOG).read_text(errors="replace")


def _free_memory() -> float:
    try:
        told = Path("/proc/meminfo").read_text()
    except OSError:
        return float("inf")
    free = re.search(r"^MemAvailable:\s+(\d+) kB", told, re.MULTILINE)
    return int(free[1]) * 1024 * _FREE_MEMORY_SHARE if free else float("inf")


def _memory(process_id: int) -> int:
    """Bytes resident."""
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _export_as_asked(folder: Path) -> None:
    """The other process: until nobody asks any more."""
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    job: _Job = pickle.loads((folder / _JOB).read_bytes())
    (folder / _JOB).unlink()
    tempfile.tempdir = str(folder)  # whatever exporters leave behind goes with it
    module = import_module(job.converter)
    model = module.unpacked(job.thing, folder) if hasattr(module, "unpacked") else job.thing
    source: Source = module.source(model, job.declared)
    (folder / _READY).touch()
    for number in _asked():
        _write(folder / f"{_OUTCOME}{number}", _outcome(folder, source, number))


def _asked() -> Iterator[int]:
    """The numbers, as they come; when whoever asks is gone, this process ends whatever it is doing."""
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            numbers.put(int(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield numbers.get()


def _outcome(folder: Path, source: Source, number: int) -> _Files | ConversionError:
    try:
        found = exported(source, source.attempts[number])
    except ConversionError as error:
        return error
    weights = found.payload.weights
    if weights is None:
        return _Files(found.payload.model, found.opsets, None)
    weights.path.parent.rename(folder / _TWO_FILES)
    return _Files(found.payload.model, found.opsets, (weights.bytes, weights.sha256))


def _write(path: Path, outcome: _Files | ConversionError) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(outcome))
    partial.rename(path)


if __name__ == "__main__":
    from modelrocket.convert.apart import _export_as_asked as export_as_asked

    export_as_asked(Path(sys.argv[1]))
