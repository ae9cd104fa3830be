"""What a function's start costs before it can answer: the import of `app` with nothing but its own files."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from infra.packaging.failure import CannotPackage

_RUNS: Final = 5
_IMPORT: Final = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time()
import app
print(time.process_time() - began)
"""


def runs_here() -> bool:
    """Whether this machine runs what Lambda does."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def import_seconds(archive: Path) -> float:
    """Seconds of CPU, the least of a few. Raises CannotPackage where something is missing in it."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        return min(_imported(folder) for _ in range(_RUNS))


def _imported(folder: str) -> float:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _IMPORT, folder],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotPackage(
            f"With its own files alone the application does not start:\n{done.stderr.strip()}"
        )
    return float(done.stdout)
