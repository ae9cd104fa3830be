"""What the processes that examine, build and measure have in common: an order in, lines out, closed in.

Each limits its own CPU time and memory and closes itself in before it reads a model; whoever started it
watches the clock.
"""

from __future__ import annotations

import os
import resource
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from chalicelib.contract.messages import encode
from host_container.orders import NOT_CLOSED_IN, Order
from host_container.sandbox import Enclosure, enclose

_CPU_GRACE_SECONDS: Final = 5
_PAGE_BYTES: Final = resource.getpagesize()
_PROC_BYTES: Final = 8192
_STATUS_UNIT_BYTES: Final = 1024
_FORGET_PEAK: Final = b"5"
"""See proc_pid_clear_refs(5)."""
_OUT_OF_MEMORY: Final = ("bad_alloc", "Failed to allocate memory", "std::length_error", "out of memory")


@dataclass(frozen=True, slots=True)
class Lines:
    """Messages to whoever started us."""

    stream: IO[bytes]

    def send(self, message: msgspec.Struct) -> None:
        self.stream.write(encode(message) + b"\n")
        self.stream.flush()


class Taken(NamedTuple):
    """Bytes of this process: all that is resident, and what no file backs."""

    resident: int
    anonymous: int


class Memory:
    """What this process takes, by files of its own in /proc. Opened before it is closed in."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._clear_refs = _opened_to_write("/proc/self/clear_refs")

    @property
    def descriptors(self) -> frozenset[int]:
        """To be kept."""
        return frozenset({self._statm, self._status, *self._clear_refs})

    def taken(self) -> Taken:
        fields = os.pread(self._statm, _PROC_BYTES, 0).split()
        resident, of_files = int(fields[1]), int(fields[2])
        return Taken(resident * _PAGE_BYTES, (resident - of_files) * _PAGE_BYTES)

    def forget_peak(self) -> None:
        """From now on `peak` is that of what follows."""
        for descriptor in self._clear_refs:
            os.write(descriptor, _FORGET_PEAK)

    def peak(self) -> int:
        """The most bytes that were resident at once; those that are now, where the kernel forgets no peak."""
        if not self._clear_refs:
            return self.taken().resident
        lines = os.pread(self._status, _PROC_BYTES, 0).splitlines()
        peak = next(line for line in lines if line.startswith(b"VmHWM:"))
        return int(peak.split()[1]) * _STATUS_UNIT_BYTES


def _opened_to_write(path: str) -> tuple[int, ...]:
    """Nothing where this kernel has no such file."""
    try:
        return (os.open(path, os.O_WRONLY),)
    except OSError:
        return ()


def close_in(order: Order, *, keep_open: frozenset[int], writable: Path | None = None) -> None:
    """From here on the kernel ends us when we use too much, and lets us read the model and no more.

    Where it cannot be had, nothing may be examined: the process ends at once, with `NOT_CLOSED_IN`.
    """
    cpu = order.cpu_seconds_max
    enclosure = Enclosure(
        readable=(),
        readable_files=(Path(order.path), *map(Path, order.beside)),
        writable=writable,
        file_bytes_max=order.file_bytes_max,
        keep_open=keep_open,
        parent=order.parent_pid,
        required=order.sandbox_required,
    )
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + _CPU_GRACE_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (order.memory_bytes_max, order.memory_bytes_max))
        enclose(enclosure)
    except (OSError, RuntimeError, ValueError):
        traceback.print_exc()
        os._exit(NOT_CLOSED_IN)


def private_output() -> IO[bytes]:
    """Our lines go to standard output, whatever else any library prints to nowhere."""
    stream = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return stream


def says_out_of_memory(message: str) -> bool:
    """Whether onnxruntime's words mean that there was no more memory."""
    return any(mark in message for mark in _OUT_OF_MEMORY)
