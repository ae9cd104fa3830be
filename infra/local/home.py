"""The folder of one stack: at most one stack uses it at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HomeInUse(Exception):
    """Another stack runs in this folder."""


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Make the folder and hold it until the block ends. Raises HomeInUse.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise HomeInUse(
                f"A stack already runs in {home} (pid {file.read().strip() or 'unknown'}). "
                "Stop it with Ctrl-C, or choose another folder: ROCKET_HOME=/some/folder make up"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
