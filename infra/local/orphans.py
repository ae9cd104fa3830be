"""Processes that a dead child left behind, even those that made a session of their own (Linux).

A process that adopts orphans becomes the parent of whatever its descendants
leave, so nothing can slip away by detaching itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS_MAX: Final = 50


def adopt_orphans() -> None:
    """From now on orphaned descendants become children of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_orphans(known: Collection[int]) -> None:
    """Kill and reap every child of this process that is not one of `known`."""
    for _ in range(_ROUNDS_MAX):  # ending one may hand us its children
        orphans = children_of_this_process() - frozenset(known)
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def children_of_this_process() -> frozenset[int]:
    pids: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in task.read_text().split())
    return frozenset(pids)
