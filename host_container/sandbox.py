"""Closes the calling process in for good, so that a hostile model can compute, answer, and nothing else.

Called by a worker right after it was forked, and by a process that examines or
builds once it has its order, while it still has one thread and no model. What is
left to it: memory up to a limit, threads, the descriptors it was given, reading its
own files, and (where it builds something) writing into one folder. Every layer would
mostly do by itself: Landlock decides which files, seccomp which system calls, the
capabilities of root are dropped, limits bound the rest.

What this does not do: limit CPU time or the number of threads (the host's cgroup
does, and SIGKILL at the deadline), hide whether a file exists and how large it is
(`stat` needs no right that Landlock knows), or take back secrets that the fork
server holds in memory: it should never hold any.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

_ENVIRONMENT: Final = {"ORT_DISABLE_TELEMETRY": "1"}
_GPU_ENVIRONMENT: Final = {"CUDA_CACHE_DISABLE": "1"}
"""There is no folder where compiled kernels could be kept."""
_OWN_THREADS: Final = Path("/proc/self/task")
_SHARED_BYTES_MAX: Final = 64 * 2**20
"""Of each file in memory (memfd) that a GPU's driver shares with itself."""
_PAGE_BYTES: Final = resource.getpagesize()

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION: Final = 0x20080522
_DESCRIPTOR_MAX: Final = 2**32 - 1

_NR_CLOSE_RANGE: Final = 436
_NR_LANDLOCK_CREATE_RULESET: Final = 444
_NR_LANDLOCK_ADD_RULE: Final = 445
_NR_LANDLOCK_RESTRICT_SELF: Final = 446


class SandboxUnavailable(RuntimeError):
    """This kernel cannot close a process in; `missing` says what it lacks."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(
            f"This machine cannot isolate models: it lacks {' and '.join(missing)}. Run the host on a "
            "Linux kernel that has them, or in local mode, where nobody else's models are."
        )
        self.missing = missing


class ParentGone(RuntimeError):
    """Whoever forked this process died before it was closed in: nobody waits for it, it should exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """What one process may still reach.

    `readable`: folders it may read below, beside the system's locales; files may come and go there later.
    The first one becomes its working directory, which matters: a model loaded
    from bytes finds its external data there.
    `readable_files`: single files it may read too, with nothing that lies beside them.
    `writable`: a folder in which it may also make and write plain files, none larger
    than `file_bytes_max`; None for no writing at all.
    `devices`: those of an NVIDIA GPU, which it may read, write and control. Its driver
    needs more: to name threads by files in /proc, files in memory, and more address space
    than there is memory, so that `memory_bytes_max` then limits what it may write to. Shared
    memory is not counted in that: the host's cgroup bounds it.
    `keep_open`: descriptors to keep. Connected stream sockets, pipes, epolls: from
    a datagram socket it could send anywhere. What Python objects own the others
    must not be collected later, or they close a number that is something else
    by then. 0 to 2 lead to /dev/null where not kept; a kept regular file can no
    longer be written beyond `file_bytes_max`.
    `memory_bytes_max`: address space beyond what is mapped now. Every thread
    takes 8 MiB of it for its stack and 64 to 128 MiB for an allocator arena.
    `parent`: the process this one must not outlive; None for no such tie.
    `required`: refuse where Landlock or seccomp is missing, rather than report it.
    """

    readable: tuple[Path, ...]
    keep_open: frozenset[int]
    readable_files: tuple[Path, ...] = ()
    writable: Path | None = None
    devices: tuple[Path, ...] = ()
    file_bytes_max: int = 0
    memory_bytes_max: int | None = None
    files_max: int = 64
    parent: int | None = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What is in force. `missing` is empty where everything is, and else worth a warning."""

    landlock_abi: int | None
    seccomp: bool
    missing: tuple[str, ...]


def enclose(enclosure: Enclosure) -> Protection:
    """Irreversible; a few milliseconds at most. Everything to be imported must be imported by now.

    Raises SandboxUnavailable, and RuntimeError where other threads or an io_uring
    would stay outside or a descriptor to keep is not open, before anything is done;
    ParentGone, and OSError when the kernel refuses a step: the process must exit
    then, it is closed in by half.
    """
    missing = missing_protections()
    if missing and enclosure.required:
        raise SandboxUnavailable(missing)
    if sys.platform != "linux":
        return Protection(landlock_abi=None, seccomp=False, missing=missing)
    _refuse_loopholes(enclosure.keep_open)
    if enclosure.parent is not None:
        _die_with(enclosure.parent)
    _forget_environment(_ENVIRONMENT | (_GPU_ENVIRONMENT if enclosure.devices else {}))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _close_all_but(enclosure.keep_open)
    os.chdir(enclosure.readable[0] if enclosure.readable else "/")
    os.umask(0o077)
    _limit(enclosure)
    _drop_capabilities()
    landlock = landlock_abi()
    if landlock is not None:
        _restrict_files(enclosure, abi=landlock)
    filtered = _seccomp_available()
    if filtered:
        _restrict_calls(enclosure)
    return Protection(landlock_abi=landlock, seccomp=filtered, missing=missing)


def missing_protections() -> tuple[str, ...]:
    """What this machine lacks, in words; a host asks at start, before there is any worker."""
    if sys.platform != "linux":
        return ("Linux",)
    missing = []
    if landlock_abi() is None:
        missing.append("Landlock (Linux 5.13 or newer with landlock in the kernel's lsm= list)")
    if not _seccomp_available():
        missing.append("seccomp filters for x86_64 or aarch64 (Linux 4.14 or newer)")
    return tuple(missing)


def landlock_abi() -> int | None:
    """The version of Landlock this kernel speaks."""
    version_wanted = 1
    try:
        return _syscall(_NR_LANDLOCK_CREATE_RULESET, 0, 0, version_wanted)
    except OSError:
        return None


def _refuse_loopholes(keep: Iterable[int]) -> None:
    """Other threads escape Landlock; an io_uring (uvloop makes one) does work no filter sees."""
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("A process must be closed in before it starts threads.")
    try:
        files = [Path("/proc/self/maps").read_text(), *(os.readlink(f"/proc/self/fd/{fd}") for fd in keep)]
    except FileNotFoundError as error:
        raise RuntimeError(f"Only open descriptors can be kept: {error.filename} is not there.") from error
    if any("[io_uring]" in name for name in files):
        raise RuntimeError("A process that has an io_uring cannot be closed in: use asyncio's own loop.")


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ParentGone(f"Process {parent} is gone.")


def _forget_environment(left: Mapping[str, str]) -> None:
    """Wipes the block the kernel laid out too: `environ` is pointers into it and /proc shows it.

    Must come before the process is made undumpable, which hides where the block is.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # proc(5): 50 and 51, counted from the state, which is 3
    os.environ.clear()  # noqa: TID251 - what is cleared is not read
    _libc().clearenv()
    ctypes.memset(start, 0, end - start)
    os.environ.update(left)  # noqa: TID251


def _close_all_but(keep: frozenset[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in {0, 1, 2} - keep:
        os.dup2(null, standard)
    for low, high in pairwise([*sorted({0, 1, 2} | keep), _DESCRIPTOR_MAX + 1]):
        if high - low > 1:
            _syscall(_NR_CLOSE_RANGE, low + 1, high - 1, 0)


def _limit(enclosure: Enclosure) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: enclosure.file_bytes_max,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NOFILE: enclosure.files_max,
    }
    if enclosure.devices:
        limits[resource.RLIMIT_FSIZE] = max(enclosure.file_bytes_max, _SHARED_BYTES_MAX)
    if enclosure.memory_bytes_max is not None:
        sizes = Path("/proc/self/statm").read_text().split()
        kind, pages = (
            (resource.RLIMIT_DATA, sizes[5]) if enclosure.devices else (resource.RLIMIT_AS, sizes[0])
        )
        limits[kind] = int(pages) * _PAGE_BYTES + enclosure.memory_bytes_max
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def _drop_capabilities() -> None:
    """Root without capabilities is any other user who happens to own the system's files."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    none = ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0))
    _check(_libc().capset(header, none))


# --- Landlock -------------------------------------------------------------------------------------

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_MAKE_FILE: Final = 1 << 8
_TRUNCATE: Final = 1 << 14
_CONTROL_DEVICE: Final = 1 << 15
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files each version can withhold (linux/landlock.h, LANDLOCK_ACCESS_FS_*)."""
_TCP_ABI: Final = 4
_SCOPE_ABI: Final = 6
_BIND_AND_CONNECT: Final = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11
_RULE_PATH_BENEATH: Final = 1
_LOCALES: Final = Path("/usr/lib/locale")
"""Of the system, and no secret: onnxruntime lower-cases text by one."""


def _restrict_files(enclosure: Enclosure, *, abi: int) -> None:
    """Withholds every right the kernel's version knows, but those over its own files and folders."""
    attributes = ctypes.create_string_buffer(_ruleset(abi))
    ruleset = _syscall(_NR_LANDLOCK_CREATE_RULESET, ctypes.addressof(attributes), len(attributes.raw) - 1, 0)
    for folder in (*enclosure.readable, *filter(Path.is_dir, (_LOCALES,))):
        _leave(ruleset, folder, _READ_FILE | _READ_DIRECTORY)
    for file in enclosure.readable_files:
        _leave(ruleset, file, _READ_FILE)
    if enclosure.writable is not None:
        writing = _READ_FILE | _READ_DIRECTORY | _WRITE_FILE | _MAKE_FILE | _TRUNCATE
        _leave(ruleset, enclosure.writable, writing & _rights(abi))
    for device in enclosure.devices:
        _leave(ruleset, device, (_READ_FILE | _WRITE_FILE | _CONTROL_DEVICE) & _rights(abi))
    if enclosure.devices:
        _leave(ruleset, _OWN_THREADS, _READ_FILE | _READ_DIRECTORY | _WRITE_FILE)
    _syscall(_NR_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _leave(ruleset: int, path: Path, rights: int) -> None:
    """These rights over the file, or over what is below the folder."""
    below = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, below))
    _syscall(_NR_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.addressof(rule), 0)
    os.close(below)


def _rights(abi: int) -> int:
    """All over files that this version knows."""
    return (1 << _FILE_RIGHTS[min(abi, max(_FILE_RIGHTS))]) - 1


def _ruleset(abi: int) -> bytes:
    """`struct landlock_ruleset_attr`, as long as that version expects it."""
    attributes = struct.pack("=Q", _rights(abi))
    if abi >= _TCP_ABI:
        attributes += struct.pack("=Q", _BIND_AND_CONNECT)
    if abi >= _SCOPE_ABI:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    return attributes


# --- seccomp --------------------------------------------------------------------------------------

_SET_MODE_FILTER: Final = 1
_ACTION_AVAILABLE: Final = 2
_THREADS_TOO: Final = 1

_KILL: Final = 0x8000_0000
_ALLOW: Final = 0x7FFF_0000
_ERRNO: Final = 0x0005_0000
_DENY: Final = _ERRNO | errno.EPERM
_ABSENT: Final = _ERRNO | errno.ENOSYS
_PRETEND: Final = _ERRNO

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_AT_NUMBER: Final = 0
_AT_ARCHITECTURE: Final = 4
_AT_ARGUMENTS: Final = 16
_X32_BIT: Final = 0x4000_0000

Instruction = tuple[int, int, int, int]
"""`struct sock_filter`: code, jump if true, jump if false, constant."""


@dataclass(frozen=True, slots=True)
class _Machine:
    column: int
    audit: int
    seccomp: int


_MACHINES: Final = {
    "x86_64": _Machine(column=0, audit=0xC000_003E, seccomp=317),
    "aarch64": _Machine(column=1, audit=0xC000_00B7, seccomp=277),
}

_NUMBERS: Final = """
    read 0 63            write 1 64           readv 19 65          writev 20 66         pread64 17 67
    lseek 8 62           close 3 57           dup 32 23            getcwd 79 17         getdents64 217 61
    fstat 5 80           newfstatat 262 79    stat 4 -             lstat 6 -            readlink 89 -
    readlinkat 267 78    recvfrom 45 207      recvmsg 47 212       sendmsg 46 211       shutdown 48 210
    getsockname 51 204   getpeername 52 205   getsockopt 55 209    poll 7 -             ppoll 271 73
    select 23 -          pselect6 270 72      epoll_create1 291 20 epoll_ctl 233 21     epoll_wait 232 -
    epoll_pwait 281 22   eventfd2 290 19      pipe2 293 59         futex 202 98         sched_yield 24 124
    nanosleep 35 101     clock_nanosleep 230 115                   clock_gettime 228 113
    clock_getres 229 114 gettimeofday 96 169  time 201 -           times 100 153        getrandom 318 278
    brk 12 214           munmap 11 215        mremap 25 216        rt_sigaction 13 134  rt_sigreturn 15 139
    rt_sigprocmask 14 135                     sigaltstack 131 132  restart_syscall 219 128
    exit 60 93           exit_group 231 94    getpid 39 172        gettid 186 178       getppid 110 173
    getuid 102 174       geteuid 107 175      getgid 104 176       getegid 108 177      getrusage 98 165
    uname 63 160         sysinfo 99 179       getrlimit 97 163     getcpu 309 168       rseq 334 293
    set_robust_list 273 99                    sched_getaffinity 204 123
    sendto 44 206        openat 257 56        mmap 9 222           mprotect 10 226      madvise 28 233
    fcntl 72 25          ioctl 16 29          clone 56 220         tgkill 234 131       kill 62 129
    prctl 157 167        prlimit64 302 261    sched_setaffinity 203 122                 clone3 435 435
"""
"""Calls with their numbers on x86_64 and aarch64: what onnxruntime, numpy, glibc and CPython 3.11 to
3.13 were seen to use when they load and run models, and what a loop over a socket needs. No call
that is missing here is let through."""

_GPU_NUMBERS: Final = """
    memfd_create 319 279 ftruncate 77 46
"""
"""CUDA was seen to give up where it may not make a file in memory."""


@dataclass(frozen=True, slots=True)
class _Check:
    """The lower word of an argument, masked, must be one of `values`; the upper one 0 if `wide`.

    Where it is not, what `otherwise` asks for will do.

    The kernel ignores the upper word of what it takes as an int.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFF_FFFF
    wide: bool = False
    otherwise: _Check | None = None

    def instructions(self) -> list[Instruction]:
        """Falls through when it holds, returns from the filter when not."""
        low = _AT_ARGUMENTS + 8 * self.argument
        upper = [(_LOAD, 0, 0, low + 4), (_JUMP_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _DENY)] if self.wide else []
        load = [(_LOAD, 0, 0, low), (_AND, 0, 0, self.mask)]
        refusal = self.otherwise.instructions() if self.otherwise else [(_RETURN, 0, 0, _DENY)]
        last = len(self.values) - 1
        beyond = (last - place + len(refusal) for place in range(len(self.values)))
        compare = [(_JUMP_EQUAL, skip, 0, value) for skip, value in zip(beyond, self.values, strict=True)]
        return [*upper, *load, *compare, *refusal]


_THREAD: Final = 0x003D_0F00
"""The flags with which C libraries start a thread, and only a thread (pthread_create; clone(2))."""
_DETACHED: Final = 0x0040_0000
_EXECUTABLE: Final = 0b100
_READ_ONLY_OPEN: Final = 0o2_744_400
"""CLOEXEC, NONBLOCK, NOCTTY, and four that differ by machine: DIRECTORY, NOFOLLOW, LARGEFILE, DIRECT."""
_WRITING_OPEN: Final = 0o1303
"""WRONLY, RDWR, CREAT, EXCL and TRUNC: which files, Landlock decides."""
_DEVICE_OPEN: Final = 0o2
"""RDWR."""
_ADVICE: Final = (0, 1, 2, 3, 4, 8, 14, 15)
"""Everything about one's own pages but sharing them with other processes' (MADV_MERGEABLE)."""
_DESCRIPTOR_COMMANDS: Final = (0, 1, 2, 3, 4, 1030)
"""Duplicate, and the two sets of flags: not the owner, who gets signals."""
_DEVICE_COMMANDS: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
"""isatty, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_COMMANDS: Final = _Check(1, _DEVICE_COMMANDS)
_GPU_COMMANDS: Final = _Check(
    1,
    (*_DEVICE_COMMANDS, 0x3000_0001, 0x3000_0002),
    otherwise=_Check(1, (0xC000_4600,), mask=0xC000_FF00, otherwise=_Check(1, (0,), mask=0xFFFF_FF80)),
)
"""Besides those: what NVIDIA's driver takes. Its own commands read and write, and are of the type F; those of
its unified memory are bare numbers, and two more to begin and end (open-gpu-kernel-modules, nv-ioctl.h and
uvm_ioctl.h). To which devices, Landlock decides."""


def _checks(pid: int, open_flags: int, commands: _Check) -> dict[str, tuple[_Check, ...]]:
    """For the calls that are let through with some arguments only."""
    not_executable = _Check(2, (0,), mask=_EXECUTABLE)
    itself = _Check(0, (pid,))
    return {
        "sendto": (_Check(4, (0,), wide=True),),
        "openat": (_Check(2, (0,), mask=0xFFFF_FFFF ^ open_flags),),
        "mmap": (not_executable,),
        "mprotect": (not_executable,),
        "madvise": (_Check(2, _ADVICE),),
        "fcntl": (_Check(1, _DESCRIPTOR_COMMANDS),),
        "ioctl": (commands,),
        "clone": (_Check(0, (_THREAD,), mask=0xFFFF_FFFF ^ _DETACHED),),
        "tgkill": (itself,),
        "kill": (itself,),
        "prctl": (_Check(0, (_PR_SET_NAME,)),),
        "prlimit64": (_Check(0, (0, pid)), _Check(2, (0,), wide=True)),
    }


_ANSWERS: Final = {
    "clone3": _ABSENT,  # its flags lie in memory, out of a filter's sight; the C library uses clone then
    "sched_setaffinity": _PRETEND,  # onnxruntime pins its threads; other processes could be pinned too
}


def seccomp_filter(
    *, machine: str, pid: int, open_flags: int = _READ_ONLY_OPEN, devices: Sequence[Path] = ()
) -> tuple[Instruction, ...]:
    """What `pid` may ask of the kernel on such a machine, as a classic BPF program.

    `open_flags`: those with which it may open files. `devices`: those of a GPU, if it has one.
    """
    kind = _MACHINES[machine]
    if devices:
        checks = _checks(pid, open_flags | _DEVICE_OPEN, _GPU_COMMANDS)
        numbers = _numbers(_GPU_NUMBERS + _NUMBERS, kind.column)
    else:
        checks = _checks(pid, open_flags, _COMMANDS)
        numbers = _numbers(_NUMBERS, kind.column)
    program: list[Instruction] = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, kind.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in numbers:
        body = [instruction for check in checks.get(name, ()) for instruction in check.instructions()]
        body.append((_RETURN, 0, 0, _ANSWERS.get(name, _ALLOW)))
        program += [(_JUMP_EQUAL, 0, len(body), number), *body]
    return (*program, (_RETURN, 0, 0, _DENY))


def _numbers(table: str, column: int) -> list[tuple[str, int]]:
    """Those with conditions first: the kernel remembers by number which others it may always let through."""
    words = table.split()
    rows = zip(words[::3], words[1 + column :: 3], strict=True)
    return [(name, int(number)) for name, number in reversed(list(rows)) if number != "-"]


def _restrict_calls(enclosure: Enclosure) -> None:
    machine = os.uname().machine
    open_flags = _READ_ONLY_OPEN if enclosure.writable is None else _READ_ONLY_OPEN | _WRITING_OPEN
    program = seccomp_filter(
        machine=machine, pid=os.getpid(), open_flags=open_flags, devices=enclosure.devices
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    thread = _syscall(_MACHINES[machine].seccomp, _SET_MODE_FILTER, _THREADS_TOO, ctypes.addressof(header))
    if thread:
        raise OSError(errno.EBUSY, "A thread has a seccomp filter of its own.")


def _seccomp_available() -> bool:
    kind = _MACHINES.get(os.uname().machine)
    if kind is None:
        return False
    action = ctypes.c_uint32(_KILL)
    try:
        _syscall(kind.seccomp, _ACTION_AVAILABLE, 0, ctypes.addressof(action))
    except OSError:
        return False
    return True


# --- the C library --------------------------------------------------------------------------------


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.argtypes = [ctypes.c_long] * 5
    libc.syscall.restype = ctypes.c_long
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return libc


def _prctl(option: int, value: int) -> None:
    _check(_libc().prctl(option, value, 0, 0, 0))


def _syscall(number: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc().syscall(number, *padded))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
