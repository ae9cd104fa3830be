"""A process that is closed in with a GPU reaches that and nothing else; one without reaches none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from host_container import sandbox
from host_container.sandbox import seccomp_filter
from tests.support.enclosed import ForkServer, Report, fork_server
from tests.support.enclosure_probes import DENIED, GPU, LISTED, MEBIBYTE, WORKING
from tests.unit.host.test_sandbox import (
    ALLOW,
    AUDIT,
    EPERM,
    OTHER_REFUSALS,
    OTHER_SUCCESSES,
    PID,
    REFUSALS,
    lay_out,
    verdict,
)

closed_in = pytest.mark.skipif(
    sys.platform != "linux" or bool(sandbox.missing_protections()), reason="Landlock or seccomp is missing"
)

DRIVER_NEEDS: Final = "memory_file"
KNOWS_COMMANDS: Final = (sandbox.landlock_abi() or 0) >= 5 if sys.platform == "linux" else False
WITH_DEVICES: Final = {
    "open_listed_device": "ok",
    "command_listed_device": "ENOTTY",
    "command_unified_memory": "ENOTTY",
    "command_foreign_to_gpus": "EPERM",
    "open_unlisted_device": "EACCES",
    "command_device_it_may_read": "EACCES" if KNOWS_COMMANDS else "EINVAL",
    "open_own_file_to_write": "EACCES",
    "name_another_thread": "ok",
    "share_memory_file": "ok",
    "share_large_memory_file": "EFBIG",
    "reserve_address_space": "ok",
}
WITHOUT: Final = {
    "open_listed_device": "EPERM",
    "command_listed_device": "EPERM",
    "command_unified_memory": "EPERM",
    "command_foreign_to_gpus": "EPERM",
    "open_unlisted_device": "EPERM",
    "command_device_it_may_read": "EPERM",
    "open_own_file_to_write": "EPERM",
    "name_another_thread": "EPERM",
    "share_memory_file": "EPERM",
    "share_large_memory_file": "EPERM",
    "reserve_address_space": "ENOMEM",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as process:
        yield process


def probed(server: ForkServer, folder: Path, **changes: object) -> Report:
    order = msgspec.structs.replace(
        lay_out(folder), memory_bytes_max=768 * MEBIBYTE, readable_files=("/dev/urandom",)
    )
    probes = (*GPU, *WORKING, *DENIED)
    return server.probe(msgspec.structs.replace(order, probes=probes, **changes))


@pytest.fixture(scope="module")
def with_devices(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return probed(server, tmp_path_factory.mktemp("gpu"), devices=(LISTED,))


@pytest.fixture(scope="module")
def without(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return probed(server, tmp_path_factory.mktemp("cpu"))


@closed_in
def test_with_devices_it_reaches_them_and_what_their_driver_needs(with_devices: Report) -> None:
    assert {name: with_devices.outcomes[name] for name in GPU} == WITH_DEVICES


@closed_in
def test_without_devices_it_reaches_none(without: Report) -> None:
    assert {name: without.outcomes[name] for name in GPU} == WITHOUT


@closed_in
@pytest.mark.parametrize("name", [name for name in DENIED if name != DRIVER_NEEDS])
def test_with_devices_all_else_is_denied_as_before(with_devices: Report, name: str) -> None:
    assert with_devices.outcomes[name] in OTHER_REFUSALS.get(name, REFUSALS)


@closed_in
@pytest.mark.parametrize("name", [name for name in WORKING if name != "see_environment"])
def test_with_devices_models_run_and_memory_is_limited_as_before(with_devices: Report, name: str) -> None:
    assert with_devices.outcomes[name] == OTHER_SUCCESSES.get(name, "ok")


@closed_in
def test_with_devices_it_keeps_no_compiled_kernels(with_devices: Report) -> None:
    assert with_devices.outcomes["see_environment"] == "ORT_DISABLE_TELEMETRY CUDA_CACHE_DISABLE"


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        pytest.param("ioctl", (3, 0x5401), ALLOW, id="isatty"),
        pytest.param("ioctl", (3, 0xC010_4629), ALLOW, id="free an object of the driver"),
        pytest.param("ioctl", (3, 0xC0FF_46FF), ALLOW, id="any command of the driver"),
        pytest.param("ioctl", (3, 0x25), ALLOW, id="register a device for unified memory"),
        pytest.param("ioctl", (3, 0x3000_0001), ALLOW, id="begin with unified memory"),
        pytest.param("ioctl", (3, 0x3000_0003), EPERM, id="no command of unified memory"),
        pytest.param("ioctl", (3, 0x80), EPERM, id="a number beyond unified memory's"),
        pytest.param("ioctl", (3, 0x4004_4629), EPERM, id="a command that only writes"),
        pytest.param("ioctl", (3, 0x5412), EPERM, id="type into a terminal"),
        pytest.param("ioctl", (3, 0xC010_4529), EPERM, id="an input device"),
        pytest.param("openat", (0, 0, 0o2000002), ALLOW, id="open to read and write"),
        pytest.param("openat", (0, 0, 0o1), EPERM, id="open to write"),
        pytest.param("openat", (0, 0, 0o102), EPERM, id="open and create"),
        pytest.param("memfd_create", (), ALLOW, id="make a file in memory"),
    ],
)
def test_a_gpus_filter_lets_through(
    machine: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    numbers = {
        "x86_64": {"ioctl": 16, "openat": 257, "memfd_create": 319},
        "aarch64": {"ioctl": 29, "openat": 56, "memfd_create": 279},
    }
    program = seccomp_filter(machine=machine, pid=PID, devices=(Path("/dev/nvidia0"),))
    assert verdict(program, numbers[machine][name], *arguments, audit=AUDIT[machine]) == expected


@pytest.mark.parametrize("machine", AUDIT)
def test_a_gpus_filter_differs_in_a_few_calls_only(machine: str) -> None:
    plain = seccomp_filter(machine=machine, pid=PID)
    wide = seccomp_filter(machine=machine, pid=PID, devices=(Path("/dev/nvidia0"),))
    changed = {
        number
        for number in range(600)
        if verdict(plain, number, audit=AUDIT[machine]) != verdict(wide, number, audit=AUDIT[machine])
    }
    by_number = {"x86_64": {16, 77, 319}, "aarch64": {29, 46, 279}}
    assert changed == by_number[machine]
