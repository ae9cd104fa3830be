"""A process that is closed in can do its work and nothing else. Every claim is tried out in a real one."""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper

from host_container import sandbox
from host_container.sandbox import Enclosure, Instruction, SandboxUnavailable, seccomp_filter
from tests.support.enclosed import NO_IO_URING, ForkServer, Order, Report, fork_server
from tests.support.enclosure_probes import DEADLY, DENIED, MEBIBYTE, WORKING
from tests.support.onnx_models import model, value, weight

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's"),
    pytest.mark.skipif(
        bool(sandbox.missing_protections()), reason=f"lacks {' and '.join(sandbox.missing_protections())}"
    ),
]

REFUSALS: Final = {"EPERM", "EACCES"}
OTHER_REFUSALS: Final = {"fork_by_clone3": {"ENOSYS"}, "read_stray_descriptor": {"EBADF"}}
OTHER_SUCCESSES: Final = {
    "see_environment": "ORT_DISABLE_TELEMETRY",
    "allocate_above_limit": "MemoryError",
    "run_above_limit": "refused",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as process:
        yield process


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    return lay_out(tmp_path_factory.mktemp("enclosed"))


def lay_out(root: Path) -> Order:
    """An empty folder for the process, another's beside it, and the files that appear later."""
    folder, sibling, cache = (root / name for name in ("own", "other", "cache"))
    for directory in (folder, sibling, cache):
        directory.mkdir()
    (sibling / "weights").write_bytes(b"somebody else's")
    (cache / "to-unlink").touch()
    (cache / "to-rename").touch()
    (cache / "way-out").symlink_to("/etc/passwd")
    graph = model(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "one"], ["y"])],
        [value("x", ["n", 256])],
        [value("y", ["n", 256])],
        [weight("w", np.full((256, 256), 1 / 256)), weight("one", np.ones(256))],
    )
    onnx.save(graph, cache / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    links = {path.name: str(path) for path in cache.iterdir()}
    return Order(str(folder), str(sibling / "weights"), os.getpid(), links=links)


@pytest.fixture(scope="module")
def enclosed(server: ForkServer, order: Order) -> Report:
    probes = (*WORKING, *DENIED)
    return server.probe(msgspec.structs.replace(order, probes=probes, memory_bytes_max=768 * MEBIBYTE))


@pytest.fixture(scope="module")
def outside(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The same probes where nothing is closed in."""
    order = lay_out(tmp_path_factory.mktemp("outside"))
    probes = tuple(name for name, probe in DENIED.items() if probe.control)
    return server.probe(msgspec.structs.replace(order, probes=probes, enclosed=False))


@pytest.fixture
def fresh(tmp_path: Path) -> Order:
    return lay_out(tmp_path)


@pytest.mark.parametrize("name", DENIED)
def test_it_is_denied(enclosed: Report, name: str) -> None:
    assert enclosed.outcomes[name] in OTHER_REFUSALS.get(name, REFUSALS)


@pytest.mark.parametrize("name", [name for name, probe in DENIED.items() if probe.control])
def test_what_is_denied_works_outside(outside: Report, name: str) -> None:
    assert outside.outcomes[name] == "ok"


@pytest.mark.parametrize("name", WORKING)
def test_it_still_works(enclosed: Report, name: str) -> None:
    assert enclosed.outcomes[name] == OTHER_SUCCESSES.get(name, "ok")


def test_everything_is_in_force_and_the_process_ends_well(enclosed: Report) -> None:
    assert enclosed.protection == sandbox.Protection(
        landlock_abi=sandbox.landlock_abi(), seccomp=True, missing=()
    )
    assert enclosed.status == 0


def test_nobody_can_read_secrets_from_its_environment(enclosed: Report) -> None:
    if enclosed.environment is None:
        pytest.skip("this user may not read another process's environment")
    assert enclosed.environment.strip("\0") == ""


def test_its_limits_are_low_and_hard(enclosed: Report) -> None:
    rows = {line[:25].strip(): line[25:].split()[:2] for line in enclosed.limits.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max file size"] == ["0", "0"]
    assert rows["Max locked memory"] == ["0", "0"]
    assert rows["Max open files"] == ["64", "64"]
    assert rows["Max address space"][0] == rows["Max address space"][1] != "unlimited"


@pytest.mark.parametrize(
    ("name", "killer"),
    [
        ("abort", signal.SIGABRT),
        ("segmentation_fault", signal.SIGSEGV),
        ("segmentation_fault_explained", signal.SIGSEGV),
    ],
)
def test_a_crash_kills_it_at_once_and_leaves_no_core(
    server: ForkServer, fresh: Order, name: str, killer: signal.Signals
) -> None:
    assert name in DEADLY
    report = server.probe(msgspec.structs.replace(fresh, probes=(name,)))
    assert os.WTERMSIG(report.status) == killer
    assert not os.WCOREDUMP(report.status)


def test_it_dies_with_its_parent(server: ForkServer, fresh: Order) -> None:
    report = server.probe(msgspec.structs.replace(fresh, orphaned=True))
    assert report.protection is not None
    assert report.outcomes == {"after": "gone"}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        pytest.param({"parent": 1}, "ParentGone: Process 1 is gone.", id="a parent that is gone"),
        pytest.param({"with_thread": True}, "RuntimeError: A process must be closed in", id="threads"),
        pytest.param({"with_io_uring": True}, "RuntimeError: A process that has an io_uring", id="io_uring"),
        pytest.param({"without": ("landlock",)}, "SandboxUnavailable: This machine", id="no Landlock"),
    ],
)
def test_it_refuses(server: ForkServer, fresh: Order, changes: dict[str, object], refusal: str) -> None:
    report = server.probe(msgspec.structs.replace(fresh, **changes))
    if report.refusal == NO_IO_URING:
        pytest.skip("this kernel or container offers no io_uring")
    assert report.refusal is not None
    assert report.refusal.startswith(refusal)


def test_without_landlock_it_says_so_where_isolation_is_not_required(
    server: ForkServer, fresh: Order
) -> None:
    probes = ("read_passwd", "socket_inet", "write_own", "load_and_run")
    order = msgspec.structs.replace(fresh, without=("landlock",), required=False, probes=probes)
    report = server.probe(order)
    assert report.protection is not None
    assert report.protection.landlock_abi is None
    assert report.protection.seccomp
    assert "Landlock" in report.protection.missing[0]
    assert report.outcomes == dict(zip(probes, ("ok", "EPERM", "EPERM", "ok"), strict=True))


def test_landlock_alone_holds_too(server: ForkServer, fresh: Order) -> None:
    denied = ("read_passwd", "create_own", "unlink_own", "link_out", "execute")
    probes = (*denied, "signal_parent", "load_and_run")
    order = msgspec.structs.replace(fresh, without=("seccomp",), required=False, probes=probes)
    report = server.probe(order)
    assert report.protection is not None
    assert not report.protection.seccomp
    signals = "EPERM" if (sandbox.landlock_abi() or 0) >= 6 else "ok"
    expected = {**dict.fromkeys(denied, "EACCES"), "signal_parent": signals, "load_and_run": "ok"}
    assert report.outcomes == expected


def test_the_refusal_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "landlock_abi", lambda: None)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "7.0", "", "riscv64")))
    with pytest.raises(SandboxUnavailable, match=r"lacks Landlock .* and seccomp filters") as caught:
        sandbox.enclose(Enclosure(readable=(), keep_open=frozenset()))
    assert caught.value.missing == sandbox.missing_protections()


# --- the filter itself, on machines that are not this one ---

PID: Final = 4242
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026
AUDIT: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NUMBERS: Final = {
    "x86_64": {"clone": 56, "openat": 257, "mmap": 9, "tgkill": 234, "prlimit64": 302, "sendto": 44,
               "execve": 59, "socket": 41, "read": 0, "clone3": 435, "ptrace": 101, "execveat": 322},
    "aarch64": {"clone": 220, "openat": 56, "mmap": 222, "tgkill": 131, "prlimit64": 261, "sendto": 206,
                "execve": 221, "socket": 198, "read": 63, "clone3": 435, "ptrace": 117, "execveat": 281},
}  # fmt: skip
O_DIRECTORY: Final = {"x86_64": 0o200000, "aarch64": 0o40000}


def verdict(program: tuple[Instruction, ...], number: int, *arguments: int, audit: int) -> int:
    """Runs the few kinds of instruction that the filter is made of."""
    given = struct.pack("<IIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, constant = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", given, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += jump_true if accumulator == constant else jump_false
            case 0x35:
                at += jump_true if accumulator >= constant else jump_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        pytest.param("read", (), ALLOW, id="read"),
        pytest.param("execve", (), EPERM, id="execve"),
        pytest.param("execveat", (), EPERM, id="execveat"),
        pytest.param("socket", (2, 1), EPERM, id="socket"),
        pytest.param("ptrace", (), EPERM, id="ptrace"),
        pytest.param("clone3", (), ENOSYS, id="clone3"),
        pytest.param("clone", (0x3D0F00,), ALLOW, id="a thread"),
        pytest.param("clone", (0x7D0F00,), ALLOW, id="a detached thread"),
        pytest.param("clone", (17,), EPERM, id="fork"),
        pytest.param("clone", (0x4111,), EPERM, id="vfork"),
        pytest.param("clone", (0x3D0F00 | 0x1000_0000,), EPERM, id="a thread in a new user namespace"),
        pytest.param("clone", (0x3D0F00 & ~0x10000,), EPERM, id="a process that shares memory"),
        pytest.param("openat", (0, 0, 0o2000000), ALLOW, id="open to read"),
        pytest.param("openat", (0, 0, 1), EPERM, id="open to write"),
        pytest.param("openat", (0, 0, 2), EPERM, id="open to read and write"),
        pytest.param("openat", (0, 0, 0o100), EPERM, id="open and create"),
        pytest.param("openat", (0, 0, 0o1000), EPERM, id="open and truncate"),
        pytest.param("openat", (0, 0, 0o10000000), EPERM, id="open a path"),
        pytest.param("openat", (0, 0, 0o20000000), EPERM, id="open unnamed"),
        pytest.param("mmap", (0, 4096, 3), ALLOW, id="map to write"),
        pytest.param("mmap", (0, 4096, 5), EPERM, id="map to execute"),
        pytest.param("tgkill", (PID, 1, 6), ALLOW, id="abort itself"),
        pytest.param("tgkill", (PID + 1, 1, 6), EPERM, id="kill another"),
        pytest.param("prlimit64", (0, 7, 0), ALLOW, id="read a limit"),
        pytest.param("prlimit64", (0, 7, 1 << 32), EPERM, id="set a limit from a high address"),
        pytest.param("prlimit64", (1, 7, 0), EPERM, id="read another's limit"),
        pytest.param("sendto", (3, 0, 1), ALLOW, id="send where it is connected"),
        pytest.param("sendto", (3, 0, 1, 0, 1 << 32), EPERM, id="send elsewhere"),
    ],
)
def test_the_filter_lets_through(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    program = seccomp_filter(machine=machine, pid=PID)
    assert verdict(program, NUMBERS[machine][name], *arguments, audit=AUDIT[machine]) == expected


@pytest.mark.parametrize("machine", AUDIT)
def test_a_folder_can_be_opened_on_every_machine(machine: str) -> None:
    program = seccomp_filter(machine=machine, pid=PID)
    flags = O_DIRECTORY[machine] | 0o2004000
    assert verdict(program, NUMBERS[machine]["openat"], 0, 0, flags, audit=AUDIT[machine]) == ALLOW


@pytest.mark.parametrize("machine", AUDIT)
def test_a_foreign_calling_convention_is_death(machine: str) -> None:
    program = seccomp_filter(machine=machine, pid=PID)
    assert verdict(program, 0, audit=0x4000_0003) == KILL
    assert verdict(program, 0x4000_0000, audit=AUDIT[machine]) == KILL


@pytest.mark.parametrize("machine", AUDIT)
def test_every_number_gets_an_answer_and_most_are_denied(machine: str) -> None:
    program = seccomp_filter(machine=machine, pid=PID)
    answers = [verdict(program, number, audit=AUDIT[machine]) for number in range(600)]
    assert answers.count(EPERM) > 500
    assert KILL not in answers


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        (1, (0x1FFF,)),
        (2, (0x3FFF,)),
        (3, (0x7FFF,)),
        (4, (0x7FFF, 3)),
        (5, (0xFFFF, 3)),
        (6, (0xFFFF, 3, 3)),
        (7, (0xFFFF, 3, 3)),
        (99, (0xFFFF, 3, 3)),
    ],
)
def test_every_right_that_landlock_knows_is_withheld(abi: int, expected: tuple[int, ...]) -> None:
    ruleset = sandbox._ruleset(abi)
    assert struct.unpack(f"={len(ruleset) // 8}Q", ruleset) == expected
