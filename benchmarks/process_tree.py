"""CPU time and memory of a whole process tree, from Linux's /proc.

A process's line in /proc tells its own time and that of its children which have
ended and been waited for. The sum over the living ones is therefore the time of
all, also of those that lived shorter than a measurement. The kernel counts in
ticks (10 ms) per process.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES, _STARTED = 1, slice(11, 15), 19  # positions behind the command's closing bracket
_KIB: Final = 1024


class ProcessGone(Exception):
    """A process under measurement ended."""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc. `ticks` are user and system time, its ended children's included."""

    pid: int
    parent: int
    started: int
    ticks: int


class ProcessTree:
    """The processes below some roots, and those once seen there that outlived their parent."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = frozenset(roots)
        self._seen: set[tuple[int, int]] = set()
        self.processes()

    def processes(self) -> tuple[Process, ...]:
        """All that live now. Raises ProcessGone when a root does not."""
        everything = {process.pid: process for process in _all_processes()}
        gone = self._roots - everything.keys()
        if gone:
            raise ProcessGone(f"process {min(gone)} of the server under test has ended")
        strays = {
            pid for pid, started in self._seen if pid in everything and everything[pid].started == started
        }
        members = _with_descendants(self._roots | strays, everything.values())
        found = tuple(everything[pid] for pid in sorted(members))
        self._seen.update((process.pid, process.started) for process in found)
        return found

    def cpu_seconds(self) -> float:
        """Since the processes began; the difference of two readings is what was used between them."""
        return sum(process.ticks for process in self.processes()) / _TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """Proportional set size: shared pages are divided by how many processes share them."""
        return self._memory("Pss")

    def resident_bytes(self) -> int:
        """Resident set size: shared pages count in every process, whoever else maps them."""
        return self._memory("Rss")

    def anonymous_bytes(self) -> int:
        """The part of `memory_bytes` that no file backs: shared within the tree at most, and never given back
        unless its owner does."""
        return self._memory("Pss_Anon")

    def _memory(self, kind: str) -> int:
        return sum(_memory_bytes(process.pid, kind) for process in self.processes())


def _all_processes() -> Iterable[Process]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            process = _read(int(entry.name))
            if process is not None:
                yield process


def _read(pid: int) -> Process | None:
    try:
        line = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()
    return Process(
        pid=pid,
        parent=int(fields[_PARENT]),
        started=int(fields[_STARTED]),
        ticks=sum(map(int, fields[_TIMES])),
    )


def _with_descendants(roots: Iterable[int], processes: Iterable[Process]) -> set[int]:
    children = defaultdict(list)
    for process in processes:
        children[process.parent].append(process.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children[pid])
    return found


def _memory_bytes(pid: int, kind: str) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended, or is a zombie
        return 0
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{kind}:")), 0)
