"""What runs models on this host, the CPU, CUDA or TensorRT: looked for, chosen, put in onnxruntime's terms.

Choosing is pure. Looking is done by a process of its own (`host_container.gpu`) that ends at once:
CUDA does not survive a fork, so neither the front nor the fork server may ever have initialised it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from host_container import environment

_DEVICE: Final = re.compile(r"nvidia\d+")
_BESIDE: Final = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
"""CUDA opens all three, and gives up where one is refused (seen with drivers 570 and later)."""
_READ: Final = (
    *("proc/self", "proc/cpuinfo", "proc/meminfo", "proc/devices", "proc/modules"),
    *("proc/driver/nvidia", "proc/driver/nvidia-uvm", "proc/sys/vm/mmap_min_addr"),
    *("sys/devices/system/cpu", "sys/devices/system/memory", "sys/devices/system/node"),
)
"""What traces of CUDA's start show it to read of the system; a node folder that is missing crashes it."""
_GPUS: Final = "proc/driver/nvidia/gpus"
_PCI: Final = "sys/bus/pci/devices"
_LOOK_SECONDS_MAX: Final = 60.0
FIRST_DEVICE: Final = "0"
"""A host uses one GPU: which it sees first is its container's affair."""


class Provider(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"

    @property
    def name_in_onnxruntime(self) -> str:
        return _NAMES[self]


_NAMES: Final = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}


class Execution(msgspec.Struct, frozen=True):
    """How a worker runs its models. `gpu_memory_bytes_max` is for all of them together; None is no limit."""

    provider: Provider = Provider.CPU
    gpu_memory_bytes_max: int | None = None


ON_CPU: Final = Execution()


class Sighting(msgspec.Struct, frozen=True):
    """What a process that tried found.

    Attributes:
        onnxruntime: its version.
        built_with: the names of the execution providers it was built with.
        obstacles: for each provider that cannot be used, what stands in its way.
    """

    onnxruntime: str
    built_with: tuple[str, ...]
    obstacles: dict[Provider, str]


@dataclass(frozen=True, slots=True)
class Found:
    """`devices` are NVIDIA's by their names in /dev; `sighting` is None where nobody had to try."""

    devices: tuple[str, ...]
    sighting: Sighting | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """`note` says what could have been used and is not."""

    provider: Provider
    note: str | None = None


class ProviderMissing(Exception):
    """The provider asked for cannot be used here; the message says what was found and what to do."""


def choose(asked: Provider | None, found: Found) -> Choice:
    """None asks for the best that is there. Raises ProviderMissing.

    That is never TensorRT: it compiles every model anew at every load, which takes minutes. Who wants
    it asks for it.
    """
    if asked is Provider.CPU:
        return Choice(Provider.CPU)
    wanted = asked or Provider.CUDA
    obstacle = _obstacle(wanted, found)
    if obstacle is None:
        return Choice(wanted)
    if asked is not None:
        raise ProviderMissing(
            f"MODELROCKET_PROVIDER asks for {asked}, which cannot be used here: {obstacle} "
            "Set it to auto or cpu to run models on the CPU."
        )
    return Choice(Provider.CPU, note=obstacle if found.devices else None)


def _obstacle(wanted: Provider, found: Found) -> str | None:
    """The first thing in the way, and what to do about it."""
    if not found.devices:
        return (
            "there is no NVIDIA device (no /dev/nvidia0, /dev/nvidia1, …). Start the host on a machine "
            "with one, or give the container its devices (docker run --gpus all)."
        )
    sighting = found.sighting
    if sighting is None:
        return "the process that looked for it ended without an answer. See its error above."
    if wanted.name_in_onnxruntime not in sighting.built_with:
        return (
            f"{', '.join(found.devices)} is there, but onnxruntime {sighting.onnxruntime} was built without "
            f"{wanted.name_in_onnxruntime} (it has {', '.join(sighting.built_with)}). Install "
            "onnxruntime-gpu instead of onnxruntime: requirements/host-gpu.txt."
        )
    reason = sighting.obstacles.get(wanted)
    if reason is not None:
        return f"{', '.join(found.devices)} is there, but {reason}"
    return None


def look(asked: Provider | None, *, root: Path = Path("/")) -> Found:
    """What is there. Costs a second where there is a device or one was asked for, and else nothing."""
    devices = devices_below(root)
    if asked is Provider.CPU or not devices:
        return Found(devices)
    return Found(devices, _look_closely())


def devices_below(root: Path) -> tuple[str, ...]:
    """The names of NVIDIA's devices in /dev."""
    names = (path.name for path in (root / "dev").glob("nvidia*"))
    return tuple(sorted(name for name in names if _DEVICE.fullmatch(name)))


def _look_closely() -> Sighting | None:
    """What the process says that may initialise CUDA; what it complains of goes where our errors go."""
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "host_container.gpu"],
            env=environment.bare(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_LOOK_SECONDS_MAX,
            check=True,
        )
        return msgspec.json.decode(ended.stdout.strip().rpartition(b"\n")[2], type=Sighting)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        print(f"Looking for a GPU failed: {error}", file=sys.stderr)
        return None


# What a chosen provider is given.


def session_providers(execution: Execution) -> list[tuple[str, dict[str, str]]]:
    """For onnxruntime, the preferred one first; what it cannot do, the next one does.

    The limit on memory holds for each session here. That the sessions of a worker share it is done by
    the arena they share (`session`).
    """
    providers: list[tuple[str, dict[str, str]]] = []
    if execution.provider is Provider.TENSORRT:
        providers.append((Provider.TENSORRT.name_in_onnxruntime, _tensorrt_options(execution)))
    if execution.provider is not Provider.CPU:
        providers.append((Provider.CUDA.name_in_onnxruntime, _cuda_options(execution)))
    return [*providers, (Provider.CPU.name_in_onnxruntime, {})]


def arena_options(execution: Execution) -> dict[str, Any]:
    """Of the arena on the GPU that a worker's sessions share: it grows by what is asked for, not twofold."""
    return {"max_mem": execution.gpu_memory_bytes_max or 0, "arena_extend_strategy": 1}


def _cuda_options(execution: Execution) -> dict[str, str]:
    """Convolutions are chosen by rule: trying them all out, the default, would be done per batch size."""
    options = {
        "device_id": FIRST_DEVICE,
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if execution.gpu_memory_bytes_max is not None:
        options["gpu_mem_limit"] = str(execution.gpu_memory_bytes_max)
    return options


def _tensorrt_options(execution: Execution) -> dict[str, str]:
    """No cache of engines: a worker may write nowhere, and one that could would leave code to the next."""
    options = {"device_id": FIRST_DEVICE, "trt_engine_cache_enable": "0"}
    if execution.gpu_memory_bytes_max is not None:
        options["trt_max_workspace_size"] = str(execution.gpu_memory_bytes_max)
    return options


@dataclass(frozen=True, slots=True)
class Reach:
    """What a worker's enclosure must let it reach besides its own folder."""

    devices: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()


def reach(execution: Execution, *, root: Path = Path("/")) -> Reach:
    """Nothing for the CPU. To be asked by the worker itself: /proc/self is whoever asks.

    Of the PCI devices, only the GPUs' own folders can be read.
    """
    if execution.provider is Provider.CPU:
        return Reach()
    devices = [root / "dev" / name for name in (*_BESIDE, *devices_below(root))]
    shares = sorted((root / "dev" / "nvidia-caps").glob("nvidia-cap*"))  # of a GPU that is split (MIG)
    gpus = [(root / _PCI / gpu.name).resolve() for gpu in sorted((root / _GPUS).glob("*"))]
    read = [*(root / path for path in _READ), *gpus]
    return Reach(
        devices=tuple(path for path in (*devices, *shares) if path.exists()),
        folders=tuple(path for path in read if path.is_dir()),
        files=tuple(path for path in read if path.is_file()),
    )
