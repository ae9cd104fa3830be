"""Runs a command that the kernel kills when the process that started it is gone (Linux).

Started by path with `python -I -S leash.py PARENT_PID COMMAND...`, so it imports
nothing but the standard library and costs a few milliseconds. A function run
between fork and exec would do the same, but not safely in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask for SIGKILL when the parent's thread that started this process ends.

    Survives exec, not fork: a child of this process is not covered.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the request was made
        os._exit(1)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
