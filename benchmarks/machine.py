"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("onnxruntime", "numpy", "orjson", "uvloop", "httptools", "msgspec", "granian")


@dataclass(frozen=True, slots=True)
class Machine:
    """`cores` are those this process may use; `memory_bytes` is all there is."""

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    packages: dict[str, str]


def this_machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in _PACKAGES},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
