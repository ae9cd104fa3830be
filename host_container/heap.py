"""What a process keeps of the memory it has freed. Without glibc, nothing here changes that."""

from __future__ import annotations

import ctypes
from typing import Final

from chalicelib.contract import limits

KEPT_BYTES: Final = 64 * limits.MIB
"""Freed blocks up to this size, and so much at the end of the heap, are kept and used again: a fresh page
costs more than copying into it."""
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3


def keep_freed_blocks() -> None:
    """In this process; `environment()` does the same for one that is about to start."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, KEPT_BYTES)
        set_option(_TRIM_THRESHOLD, KEPT_BYTES)


def environment() -> dict[str, str]:
    """Variables that glibc reads at a process's start."""
    return {"MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES), "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES)}
