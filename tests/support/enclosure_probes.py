"""What a hostile model might try, and what a well-behaved one needs, one function each.

A probe returns None, or a word about what it saw, when it succeeds; it raises otherwise.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import fcntl
import gc
import mmap
import os
import resource
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import onnxruntime
import orjson

LIBC: Final = ctypes.CDLL(None, use_errno=True)
SECRET: Final = "MODELROCKET_DISPATCH_KEY"
MEBIBYTE: Final = 2**20
_X86: Final = os.uname().machine == "x86_64"


class World(msgspec.Struct, frozen=True):
    """Where the probing process lives. `stray` is a descriptor it inherited and was not meant to keep."""

    folder: str
    sibling: str
    parent: int
    stranger: int
    stray: int

    def own(self, name: str) -> str:
        return f"{self.folder}/{name}"


@dataclass(frozen=True)
class Probe:
    run: Callable[[World], str | None]
    control: bool
    """Whether it succeeds, harmlessly and for any user, where nothing is closed in."""


DENIED: Final[dict[str, Probe]] = {}
WORKING: Final[dict[str, Probe]] = {}
DEADLY: Final[dict[str, Probe]] = {}
GPU: Final[dict[str, Probe]] = {}
"""What a GPU's driver needs, and what it must not be let do."""
REPLACING: Final = {"execute"}
"""Those that do not come back when they succeed."""


def outcome(name: str, world: World) -> str:
    """`ok`, the probe's own word, or how it was refused: the name of an errno or of an exception."""
    probe = {**DENIED, **WORKING, **DEADLY, **GPU}[name]
    try:
        return probe.run(world) or "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "OSError")
    except Exception as error:  # whatever it is, the test wants to see its name
        return type(error).__name__


Run = Callable[[World], Any]


def denied(run: Run, *, control: bool = True) -> Run:
    DENIED[run.__name__] = Probe(run, control)
    return run


def privileged(run: Run) -> Run:
    """One that fails outside too, or does harm there, so that it shows nothing as a control."""
    return denied(run, control=False)


def working(run: Run) -> Run:
    WORKING[run.__name__] = Probe(run, True)
    return run


def gpu(run: Run) -> Run:
    GPU[run.__name__] = Probe(run, False)
    return run


def deadly(run: Run) -> Run:
    DEADLY[run.__name__] = Probe(run, False)
    return run


def call(result: int) -> None:
    """Of a function in C: -1 is an error."""
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def io_uring_descriptor() -> int:
    """Raises OSError where the kernel has none or a container's own filter denies it."""
    parameters = ctypes.create_string_buffer(120)
    descriptor: int = LIBC.syscall(425, 1, parameters)
    call(descriptor)
    return descriptor


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(16)


# --- network ---


@denied
def socket_inet(_: World) -> None:
    socket.socket(socket.AF_INET).close()


@denied
def socket_unix(_: World) -> None:
    socket.socket(socket.AF_UNIX).close()


@denied
def socket_netlink(_: World) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


@denied
def socket_pair(_: World) -> None:
    for end in socket.socketpair():
        end.close()


# --- reading ---


@denied
def read_passwd(_: World) -> None:
    read("/etc/passwd")


@denied
def read_passwd_by_path_descriptor(_: World) -> None:
    os.close(os.open("/etc/passwd", os.O_PATH))


@privileged
def read_environment_of_init(_: World) -> None:
    read("/proc/1/environ")


@privileged
def read_memory_of_parent(world: World) -> None:
    read(f"/proc/{world.parent}/mem")


@denied
def read_environment_of_parent(world: World) -> None:
    read(f"/proc/{world.parent}/environ")


@denied
def read_directory_of_parent(world: World) -> None:
    os.readlink(f"/proc/{world.parent}/cwd")


@denied
def read_own_environment(_: World) -> None:
    read("/proc/self/environ")


@denied
def list_root(_: World) -> None:
    os.listdir("/")


@denied
def list_siblings(world: World) -> None:
    os.listdir(os.path.dirname(world.folder))


@denied
def read_sibling(world: World) -> None:
    read(world.sibling)


@denied
def read_sibling_by_dots(world: World) -> None:
    os.chdir(world.folder)
    read(os.path.relpath(world.sibling, world.folder))


@denied
def read_sibling_by_dots_from_descriptor(world: World) -> None:
    folder = os.open(world.folder, os.O_RDONLY)
    try:
        os.close(os.open(os.path.relpath(world.sibling, world.folder), os.O_RDONLY, dir_fd=folder))
    finally:
        os.close(folder)


@denied
def follow_link_out(world: World) -> None:
    read(world.own("way-out"))


@denied
def read_stray_descriptor(world: World) -> None:
    os.pread(world.stray, 16, 0)


# --- writing ---


@denied
def write_own(world: World) -> None:
    open(world.own("model.onnx"), "r+b").close()


@denied
def truncate_own(world: World) -> None:
    os.truncate(world.own("model.onnx"), os.path.getsize(world.own("model.onnx")))


@denied
def create_own(world: World) -> None:
    open(world.own("created"), "wb").close()


@denied
def create_unnamed(world: World) -> None:
    os.close(os.open(world.folder, os.O_TMPFILE | os.O_WRONLY))


@denied
def create_in_tmp(_: World) -> None:
    path = f"/tmp/probe-{os.getpid()}"
    open(path, "wb").close()
    os.unlink(path)


@denied
def unlink_own(world: World) -> None:
    os.unlink(world.own("to-unlink"))


@denied
def rename_own(world: World) -> None:
    os.rename(world.own("to-rename"), world.own("renamed"))


@denied
def chmod_own(world: World) -> None:
    os.chmod(world.own("model.onnx"), 0o644)


@denied
def make_directory(world: World) -> None:
    os.mkdir(world.own("directory"))


@denied
def link_out(world: World) -> None:
    os.symlink("/etc/passwd", world.own("another-way-out"))


@denied
def link_sibling_in(world: World) -> None:
    os.link(world.sibling, world.own("stolen"))


# --- processes ---


@denied
def execute(_: World) -> None:
    os.execv("/bin/true", ["true"])


@denied
def fork(_: World) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@privileged
def vfork(_: World) -> None:
    vm_and_vfork = 0x4100
    call(LIBC.syscall(56 if _X86 else 220, vm_and_vfork | signal.SIGCHLD, 0, 0, 0, 0))


@privileged
def fork_by_clone3(_: World) -> None:
    attributes = ctypes.create_string_buffer(64)
    child = LIBC.syscall(435, attributes, 64)
    if child == 0:
        os._exit(0)
    call(child)


@denied
def spawn(_: World) -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@denied
def signal_parent(world: World) -> None:
    os.kill(world.parent, 0)


@denied
def signal_stranger(world: World) -> None:
    os.kill(world.stranger, 0)


@denied
def signal_group(_: World) -> None:
    os.kill(0, 0)


@denied
def signal_everybody(_: World) -> None:
    os.kill(-1, 0)


@denied
def signal_thread_of_parent(world: World) -> None:
    call(LIBC.syscall(234 if _X86 else 131, world.parent, world.parent, 0))


@denied
def hold_process(world: World) -> None:
    os.close(os.pidfd_open(world.parent))


@privileged
def trace_parent(world: World) -> None:
    seize = 0x4206
    call(LIBC.ptrace(seize, world.parent, None, None))


@privileged
def read_parent_across(world: World) -> None:
    call(LIBC.process_vm_readv(world.parent, None, 0, None, 0, 0))


@denied
def set_priority(_: World) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))


# --- privileges and the kernel ---


@denied
def set_limit(_: World) -> None:
    limits = (ctypes.c_ulong * 2)(*resource.getrlimit(resource.RLIMIT_NOFILE))
    call(LIBC.prlimit(0, resource.RLIMIT_NOFILE, limits, None))


@denied
def set_limit_of_parent(world: World) -> None:
    resource.prlimit(world.parent, resource.RLIMIT_NOFILE)


@denied
def become_dumpable(_: World) -> None:
    call(LIBC.prctl(4, 1, 0, 0, 0))


@denied
def set_user(_: World) -> None:
    os.setuid(os.getuid())


@denied
def memory_file(_: World) -> None:
    os.close(os.memfd_create("probe"))


@denied
def map_executable(_: World) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


@denied
def make_executable(_: World) -> None:
    page = ctypes.create_string_buffer(3 * 4096)
    start = (ctypes.addressof(page) + 4095) & ~4095
    call(LIBC.mprotect(ctypes.c_void_p(start), 4096, 7))


@denied
def personality(_: World) -> None:
    query = 0xFFFFFFFF
    call(LIBC.personality(ctypes.c_ulong(query)))


@privileged
def io_uring(_: World) -> None:
    os.close(io_uring_descriptor())


@privileged
def unshare(_: World) -> None:
    new_user_namespace = 0x10000000
    call(LIBC.unshare(new_user_namespace))


@privileged
def enter_namespace(_: World) -> None:
    call(LIBC.setns(-1, 0))


@privileged
def mount(world: World) -> None:
    call(LIBC.mount(b"none", world.folder.encode(), b"tmpfs", 0, None))


@privileged
def change_root(world: World) -> None:
    os.chroot(world.folder)


@privileged
def bpf(_: World) -> None:
    call(LIBC.syscall(321 if _X86 else 280, 0, None, 0))


@privileged
def keyring(_: World) -> None:
    call(LIBC.syscall(250 if _X86 else 219, 0, -1, 0))


@privileged
def userfaultfd(_: World) -> None:
    call(LIBC.syscall(323 if _X86 else 282, 1))


@privileged
def performance_events(_: World) -> None:
    call(LIBC.syscall(298 if _X86 else 241, None, 0, -1, -1, 0))


# --- what must work ---


def _session(world: World, **options: int) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 2
    for name, setting in options.items():
        setattr(settings, name, setting)
    return onnxruntime.InferenceSession(world.own("model.onnx"), settings, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, rows: int = 4) -> None:
    (y,) = session.run(None, {"x": np.ones((rows, 256), np.float32)})
    assert np.allclose(y, 2.0)


@working
def read_own(world: World) -> None:
    read(world.own("model.onnx"))
    assert "weights" in os.listdir(world.folder)


@working
def load_and_run(world: World) -> None:
    session = _session(world, intra_op_num_threads=1)
    _run(session)
    del session
    gc.collect()
    LIBC.malloc_trim(0)


@working
def run_on_several_threads(world: World) -> None:
    _run(_session(world, intra_op_num_threads=2), rows=4096)


@working
def run_with_pinned_threads(world: World) -> None:
    _run(_session(world), rows=4096)


@working
def run_from_several_threads(world: World) -> None:
    session, done = _session(world, intra_op_num_threads=1), []

    def run() -> None:
        _run(session)
        done.append(True)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(threads)


@working
def refuse_bad_model(world: World) -> str:
    try:
        onnxruntime.InferenceSession(b"not a model", providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's errors share no class but Exception
        return "ok" if "Error" in traceback.format_exc() else "no traceback"
    return "taken"


@working
def everyday_python(_: World) -> None:
    orjson.dumps({"y": np.ones(10)}, option=orjson.OPT_SERIALIZE_NUMPY)
    time.sleep(0.001)
    assert time.monotonic() > 0
    os.urandom(8)
    threading.Event().wait(0.001)
    resource.getrusage(resource.RUSAGE_SELF)
    mmap.mmap(-1, 4096).close()
    os.kill(os.getpid(), 0)


@working
def see_environment(_: World) -> str:
    library = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_char_p)(("getenv", LIBC))
    return "secret" if SECRET in os.environ or library(SECRET.encode()) else " ".join(os.environ)


@working
def allocate_below_limit(_: World) -> None:
    assert np.ones(100 * MEBIBYTE, np.uint8).all()


@working
def allocate_above_limit(_: World) -> None:
    bytearray(2048 * MEBIBYTE)


@working
def run_above_limit(world: World) -> str:
    session = _session(world, intra_op_num_threads=1)
    try:
        session.run(None, {"x": np.zeros((1, 256), np.float32).repeat(600_000, axis=0)})
    except Exception:  # MemoryError for the input, onnxruntime's for the output
        _run(session)
        return "refused"
    return "ok"


@deadly
def abort(_: World) -> None:
    os.abort()


@deadly
def segmentation_fault(_: World) -> None:
    ctypes.string_at(0)


@deadly
def segmentation_fault_explained(_: World) -> None:
    faulthandler.enable()
    ctypes.string_at(0)


# --- a GPU; /dev/full and /dev/zero stand in for its devices ---

_FRONTEND_COMMAND: Final = 0xC010_4629
_UNIFIED_MEMORY_COMMAND: Final = 0x25
_INSERT_INPUT: Final = 0x5412
_NOT_RESERVED: Final = 0x4000
LISTED: Final = "/dev/full"
UNLISTED: Final = "/dev/zero"


def control(path: str, command: int, flags: int = os.O_RDWR) -> None:
    """The devices that stand in know no command: ENOTTY is their own answer."""
    descriptor = os.open(path, flags)
    try:
        fcntl.ioctl(descriptor, command)
    finally:
        os.close(descriptor)


@gpu
def open_listed_device(_: World) -> None:
    os.close(os.open(LISTED, os.O_RDWR | os.O_CLOEXEC))


@gpu
def command_listed_device(_: World) -> None:
    control(LISTED, _FRONTEND_COMMAND)


@gpu
def command_unified_memory(_: World) -> None:
    control(LISTED, _UNIFIED_MEMORY_COMMAND)


@gpu
def command_foreign_to_gpus(_: World) -> None:
    control(LISTED, _INSERT_INPUT)


@gpu
def open_unlisted_device(_: World) -> None:
    control(UNLISTED, _FRONTEND_COMMAND)


@gpu
def command_device_it_may_read(_: World) -> None:
    control("/dev/urandom", _FRONTEND_COMMAND, os.O_RDONLY)


@gpu
def open_own_file_to_write(world: World) -> None:
    os.close(os.open(world.own("model.onnx"), os.O_RDWR))


@gpu
def name_another_thread(_: World) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        descriptor = os.open(f"/proc/self/task/{thread.native_id}/comm", os.O_RDWR)
        os.write(descriptor, b"cuda-events")
        os.close(descriptor)
    finally:
        done.set()
        thread.join()


@gpu
def share_memory_file(_: World) -> None:
    descriptor = os.memfd_create("probe")
    os.ftruncate(descriptor, MEBIBYTE)
    mmap.mmap(descriptor, MEBIBYTE).close()
    os.close(descriptor)


@gpu
def share_large_memory_file(_: World) -> None:
    descriptor = os.memfd_create("probe")
    try:
        os.ftruncate(descriptor, 65 * MEBIBYTE)
    finally:
        os.close(descriptor)


@gpu
def reserve_address_space(_: World) -> None:
    """Far more than there is memory, as unified addressing does; not to be written to."""
    LIBC.mmap.restype = ctypes.c_long
    LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NOT_RESERVED
    call(LIBC.mmap(None, 2**40, 0, flags, -1, 0))
