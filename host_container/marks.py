"""Which versions were being loaded when this host was killed: on its own disk, where a kill leaves them.

A host that has too little memory for a version is ended with all it holds, its ledger too. What began to be
loaded and did not end, one way or the other, is under suspicion when the host is back.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Marks:
    """A file a version, a line for each time that its load began. A disk that takes none changes nothing.

    `unix`: seconds since 1970, which go on while no process runs.
    """

    def __init__(self, folder: Path, *, unix: Callable[[], float]) -> None:
        self._folder = folder
        self._unix = unix

    @contextmanager
    def loading(self, version_id: str) -> Iterator[None]:
        """Marked until the block ends."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self._folder / version_id).open("a") as file:
                file.write(f"{self._unix():.3f}\n")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (self._folder / version_id).unlink()

    def left(self) -> Mapping[str, tuple[float, ...]]:
        """By version, how many seconds ago loads began that never ended; the longest ago first."""
        now, found = self._unix(), {}
        with contextlib.suppress(OSError, ValueError):
            for path in self._folder.iterdir():
                found[path.name] = tuple(max(0.0, now - float(line)) for line in path.read_text().split())
        return found

    def clear(self) -> None:
        """The host ends in order: whatever is being loaded is not to blame."""
        shutil.rmtree(self._folder, ignore_errors=True)
