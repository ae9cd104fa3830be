"""Which processes are there, as /proc tells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def is_alive(pid: int) -> bool:
    """False for zombies too: they hold nothing."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def alive(pids: Iterable[int]) -> set[int]:
    return {pid for pid in pids if is_alive(pid)}


def processes_mentioning(text: str) -> dict[int, str]:
    """Pid and command line of every process whose command line or environment contains the text."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
            if text in command or text in environment:
                found[int(folder.name)] = command
    return {pid: command for pid, command in found.items() if is_alive(pid)}


def running_module(pid: int, module: str) -> set[int]:
    """Those below this process that were started as `python -m module`."""
    return {one for one in descendants(pid) if module in _command(one)}


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(child) for child in task.read_text().split()]
                found.update(children)
                waiting.extend(children)
    return found
