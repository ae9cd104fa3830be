"""The libraries of a GPU: loaded before a worker is closed in, and tried out by a process of its own.

A closed-in worker can map no code, so the fork server maps all of it before; that does not initialise
CUDA, which would not survive the fork. Run as `python -m host_container.gpu` this does initialise it,
says what it found as one line of JSON (`Sighting`), and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import onnxruntime

from host_container.providers import Provider, Sighting

_DRIVER: Final = "libcuda.so.1"
_COMPILER: Final = "libnvidia-ptxjitcompiler.so.1"
_LOADED_LATE: Final = ("cudnn/lib/libcudnn_*.so.*", "cu*/lib/libnvrtc-builtins.so.*")
_NO_DRIVER: Final = (
    f"the driver's library cannot be loaded ({_DRIVER}). Install NVIDIA's driver, and in a container its "
    "container toolkit with NVIDIA_DRIVER_CAPABILITIES=compute,utility."
)
_LIBRARIES: Final = {
    Provider.CUDA: "what requirements/host-gpu.txt names",
    Provider.TENSORRT: "TensorRT 10 for the same CUDA (its wheels: tensorrt-cu13)",
}
_TENSORRT_FOLDER: Final = "tensorrt_libs"
"""Where the wheels of TensorRT keep its libraries."""


@functools.cache
def preload(provider: Provider) -> None:
    """Map the code that the provider's sessions need. Raises OSError naming what cannot be loaded."""
    if provider is Provider.CPU:
        return
    ctypes.CDLL(_DRIVER)
    with contextlib.suppress(OSError):  # where it is missing, kernels for newer devices cannot be compiled
        ctypes.CDLL(_COMPILER)
    onnxruntime.preload_dlls()
    for library in _loaded_late():
        ctypes.CDLL(str(library))
    folder = Path(onnxruntime.capi.onnxruntime_pybind11_state.__file__).parent
    ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    if provider is Provider.TENSORRT:
        for library in _tensorrt_libraries():
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_tensorrt.so"))


def _loaded_late() -> Iterator[Path]:
    """What cuDNN and the compiler of kernels load when they first need it; none where the system has them."""
    for place in map(Path, sys.path):
        for pattern in _LOADED_LATE:
            yield from sorted((place / "nvidia").glob(pattern))


def _tensorrt_libraries() -> Iterator[Path]:
    """Of its wheels, the one that others need first; none where the system has them."""
    for place in map(Path, sys.path):
        libraries = sorted((place / _TENSORRT_FOLDER).glob("*.so*"))
        yield from sorted(libraries, key=lambda path: not path.name.startswith("libnvinfer.so"))


def sighting() -> Sighting:
    """Initialises CUDA in this process."""
    built_with = tuple(onnxruntime.get_available_providers())
    wanted = (Provider.CUDA, Provider.TENSORRT)
    obstacles = {one: _obstacle(one) for one in wanted if one.name_in_onnxruntime in built_with}
    return Sighting(
        onnxruntime.__version__, built_with, {one: reason for one, reason in obstacles.items() if reason}
    )


def _obstacle(provider: Provider) -> str | None:
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return _NO_DRIVER
    try:
        preload(provider)
    except OSError as error:
        return f"a library of {provider} cannot be loaded ({error}). Install {_LIBRARIES[provider]}."
    return _driver_obstacle(driver)


def _driver_obstacle(driver: ctypes.CDLL) -> str | None:
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return f"CUDA cannot be initialised (error {code} of the driver). Look at what nvidia-smi says."
    if not count.value:
        return "CUDA sees no device. Look at what nvidia-smi says, and at NVIDIA_VISIBLE_DEVICES."
    return None


def main() -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer of ours
    os.write(answer, msgspec.json.encode(sighting()) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
