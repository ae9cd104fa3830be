"""Outlives the stack for a moment and ends whatever a killed stack left behind.

The stack writes `+PID` and `-PID` for every process group it starts and reaps.
When the pipe closes, every group still listed is killed. The kernel already
ends direct children (see leash); this reaches the processes those had started.
Started by path with `python -I -S guard.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the end of the pipe ends the guard
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
