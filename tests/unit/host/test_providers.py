"""Execution providers: what is chosen from what is there, and what a chosen one is given."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import pytest

from host_container.__main__ import form_load_seconds_min
from host_container.prepared import LOAD_SECONDS_MIN, form
from host_container.providers import (
    ON_CPU,
    Choice,
    Execution,
    Found,
    Provider,
    ProviderMissing,
    Reach,
    Sighting,
    choose,
    look,
    reach,
    session_providers,
)
from tests.support.hosts import KEY, ROOT, free_port

CPU, CUDA, TENSORRT = Provider.CPU, Provider.CUDA, Provider.TENSORRT
ALL: Final = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
GIB: Final = 2**30


def sighting(built_with: tuple[str, ...] = ALL, **obstacles: str) -> Sighting:
    return Sighting("1.31.1", built_with, {Provider(name): reason for name, reason in obstacles.items()})


NOTHING: Final = Found(())
UNUSED: Final = Found(("nvidia0",), sighting(ALL[2:]))
READY: Final = Found(("nvidia0",), sighting(tensorrt="libnvinfer.so.10 is missing."))
COMPLETE: Final = Found(("nvidia0", "nvidia1"), sighting())
NO_DRIVER: Final = Found(("nvidia0",), sighting(cuda="no driver.", tensorrt="no driver."))
SILENT: Final = Found(("nvidia0",))


@pytest.mark.parametrize(
    ("asked", "found", "chosen", "note"),
    [
        pytest.param(None, NOTHING, CPU, None, id="the best of nothing is the CPU"),
        pytest.param(None, READY, CUDA, None, id="CUDA where it can be used"),
        pytest.param(None, COMPLETE, CUDA, None, id="TensorRT never unasked"),
        pytest.param(None, UNUSED, CPU, "built without", id="a device and the build for CPUs"),
        pytest.param(None, NO_DRIVER, CPU, "no driver.", id="a device without its driver"),
        pytest.param(None, SILENT, CPU, "without an answer", id="a device that nobody could look at"),
        pytest.param(CPU, COMPLETE, CPU, None, id="the CPU where there is more"),
        pytest.param(CUDA, READY, CUDA, None, id="CUDA as asked"),
        pytest.param(TENSORRT, COMPLETE, TENSORRT, None, id="TensorRT as asked"),
    ],
)
def test_a_provider_is_chosen(
    asked: Provider | None, found: Found, chosen: Provider, note: str | None
) -> None:
    choice = choose(asked, found)
    assert choice.provider is chosen
    assert choice.note is None if note is None else note in (choice.note or "")


@pytest.mark.parametrize(
    ("asked", "found", "why"),
    [
        pytest.param(CUDA, NOTHING, "no NVIDIA device.*--gpus all", id="no device"),
        pytest.param(TENSORRT, NOTHING, "no NVIDIA device", id="no device for TensorRT"),
        pytest.param(CUDA, UNUSED, "nvidia0 is there.*built without CUDA.*host-gpu", id="the build for CPUs"),
        pytest.param(CUDA, NO_DRIVER, "nvidia0 is there, but no driver", id="no driver"),
        pytest.param(TENSORRT, READY, "libnvinfer.so.10 is missing", id="no TensorRT beside CUDA"),
        pytest.param(CUDA, SILENT, "ended without an answer", id="nobody could look"),
    ],
)
def test_one_asked_for_in_vain_is_refused_with_what_to_do(asked: Provider, found: Found, why: str) -> None:
    with pytest.raises(ProviderMissing, match=f"MODELROCKET_PROVIDER asks for {asked}.*{why}.*auto or cpu"):
        choose(asked, found)


def test_sessions_on_the_cpu_are_given_nothing_else() -> None:
    assert session_providers(ON_CPU) == [("CPUExecutionProvider", {})]


def test_sessions_on_cuda_fall_back_to_the_cpu_node_by_node_and_have_a_limit() -> None:
    cuda = {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": str(4 * GIB),
    }
    assert session_providers(Execution(CUDA, 4 * GIB)) == [
        ("CUDAExecutionProvider", cuda),
        ("CPUExecutionProvider", {}),
    ]
    assert "gpu_mem_limit" not in session_providers(Execution(CUDA))[0][1]


def test_sessions_on_tensorrt_keep_no_engines_and_fall_back_to_cuda() -> None:
    (first, options), *others = session_providers(Execution(TENSORRT, GIB))
    assert first == "TensorrtExecutionProvider"
    assert options == {
        "device_id": "0",
        "trt_engine_cache_enable": "0",
        "trt_max_workspace_size": str(GIB),
    }
    assert others == session_providers(Execution(CUDA, GIB))


def test_a_prepared_form_fits_one_provider() -> None:
    names = {form(provider) for provider in Provider}
    assert len(names) == len(Provider)


def test_forms_are_made_for_cpus_only() -> None:
    assert form_load_seconds_min(ON_CPU) == LOAD_SECONDS_MIN
    assert form_load_seconds_min(Execution(CUDA)) == math.inf


# --- looking at a machine ---


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The files of one with a GPU that is split, and of another device beside it."""
    gpu = "0000:3b:00.0"
    for folder in (
        "dev/nvidia-caps",
        "dev/dri",
        "proc/self",
        f"proc/driver/nvidia/gpus/{gpu}",
        "sys/bus/pci/devices",
        f"sys/devices/pci0000:3a/{gpu}",
        "sys/devices/pci0000:3a/0000:3c:00.0",
        "sys/devices/system/node",
    ):
        (tmp_path / folder).mkdir(parents=True)
    names = (
        "nvidia0 nvidiactl nvidia-uvm nvidia-uvm-tools nvidia-modeset nvidia-caps/nvidia-cap1 dri/card0 sda"
    )
    for name in names.split():
        (tmp_path / "dev" / name).touch()
    (tmp_path / "proc/meminfo").touch()
    (tmp_path / "proc/kallsyms").touch()
    for device in (tmp_path / "sys/devices/pci0000:3a").iterdir():
        (tmp_path / "sys/bus/pci/devices" / device.name).symlink_to(device)
    return tmp_path


def test_a_worker_on_a_gpu_reaches_its_devices_and_what_cuda_reads(machine: Path) -> None:
    names = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia-caps/nvidia-cap1")
    folders = (
        "proc/self",
        "proc/driver/nvidia",
        "sys/devices/system/node",
        "sys/devices/pci0000:3a/0000:3b:00.0",
    )
    assert reach(Execution(CUDA), root=machine) == Reach(
        devices=tuple(machine / "dev" / name for name in names),
        folders=tuple(machine / folder for folder in folders),
        files=(machine / "proc/meminfo",),
    )


def test_a_worker_on_the_cpu_reaches_nothing_of_a_gpu(machine: Path) -> None:
    assert reach(ON_CPU, root=machine) == Reach()


def test_nobody_looks_closely_where_nothing_is_there_or_wanted(machine: Path, tmp_path: Path) -> None:
    assert look(CPU, root=machine) == Found(("nvidia0",))
    assert look(CUDA, root=tmp_path / "none") == Found(())


def built_for_gpus() -> bool:
    try:
        return bool(version("onnxruntime-gpu"))
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(built_for_gpus(), reason="onnxruntime is the build for GPUs")
def test_a_device_beside_the_build_for_cpus_is_noted_or_refused(machine: Path) -> None:
    found = look(None, root=machine)
    assert found.devices == ("nvidia0",)
    assert found.sighting is not None
    assert found.sighting.onnxruntime == version("onnxruntime")
    choice = choose(None, found)
    assert choice == Choice(CPU, note=choice.note)
    assert "requirements/host-gpu.txt" in (choice.note or "")
    with pytest.raises(ProviderMissing, match="was built without CUDAExecutionProvider"):
        choose(CUDA, found)


@pytest.mark.skipif(bool(look(CPU).devices), reason="there is an NVIDIA device")
@pytest.mark.parametrize("asked", ["cuda", "tensorrt"])
def test_a_host_asked_for_a_gpu_it_has_not_ends_before_it_does_anything(tmp_path: Path, asked: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as redis:
        redis.setblocking(False)
        ended = subprocess.run(
            [sys.executable, "-m", "host_container"],
            cwd=ROOT,
            env={
                "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
                "MODELROCKET_PROVIDER": asked,
                "MODELROCKET_HOST_ID": "host",
                "MODELROCKET_HOST_ADDRESS": "127.0.0.1",
                "MODELROCKET_HOST_PORT": str(free_port()),
                "MODELROCKET_REDIS_URL": f"redis://127.0.0.1:{redis.getsockname()[1]}/0",
                "MODELROCKET_S3_BUCKET": "none",
                "MODELROCKET_DISPATCH_KEY": KEY,
                "MODELROCKET_CACHE_DIR": str(tmp_path / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        with pytest.raises(BlockingIOError):
            redis.accept()
    assert ended.returncode == 69
    assert ended.stderr.startswith(
        f"MODELROCKET_PROVIDER asks for {asked}, which cannot be used here: there is"
    )
    assert ended.stdout == ""
    assert not (tmp_path / "cache").exists()
