"""What the processes around models find in their environment: nothing of ours, so no credentials."""

from __future__ import annotations

import os
import sys


def bare(**more: str) -> dict[str, str]:
    """The same imports as ours, one thread per library, few memory arenas; and what else is given."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "LC_ALL": "C.UTF-8",
        **more,
    }
