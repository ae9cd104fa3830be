"""One child process: started in a session of its own, logged to a file, ended with all it started.

Start children from the main thread: the kernel ends them with the *thread* that
started them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

_LEASH: Final = Path(__file__).with_name("leash.py")
_GUARD: Final = Path(__file__).with_name("guard.py")
_LOGS_KEPT: Final = 3
_LOG_TAIL_BYTES: Final = 16_384
POLL_SECONDS: Final = 0.05


def _always() -> bool:
    return True


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run and how to know that it works.

    Attributes:
        environment: the whole environment of the child, not an addition to ours.
        log_file: where its output goes; None leaves it on ours.
        prepare: run before each start; does nothing that was already done.
        ready: asked again and again after a start until it says True.
        address: where it listens, for people; empty when nowhere.
        stop_seconds: from SIGTERM to SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log_file: Path | None = None
    working_directory: Path = Path()
    prepare: Callable[[], None] = _nothing
    ready: Callable[[], bool] = _always
    address: str = ""
    ready_seconds: float = 60.0
    stop_seconds: float = 10.0


class ChildFailed(Exception):
    """A child did not come up; the message carries the end of its log."""


class Guard:
    """The other end of the pipe to `guard.py`; knows every process group that is alive."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
            env={},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, group: int) -> None:
        self._write(f"+{group}\n")

    def discard(self, group: int) -> None:
        self._write(f"-{group}\n")

    def close(self) -> None:
        """Dismiss the guard; it kills what was not discarded."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a guard that was killed guards nothing; the stack goes on
            self._pipe.write(line)
            self._pipe.flush()


@dataclass(slots=True)
class Child:
    """The running form of a `ChildSpec`. Owns the process and its group."""

    spec: ChildSpec
    guard: Guard | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        self.spec.prepare()
        command = list(self.spec.command)
        leashed = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self.spec.log_file.open("ab")) if self.spec.log_file else None
            self._process = subprocess.Popen(
                leashed,
                env=dict(self.spec.environment),
                cwd=self.spec.working_directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
            )
        if self.guard is not None:
            self.guard.add(self._process.pid)

    def poll(self) -> int | None:
        """The exit code (negative: the signal) once it has ended; then nothing of its group is left."""
        if self._process is None:
            return None
        if self._process.returncode is None and self._process.poll() is not None:
            self._end_group()  # once: the number may belong to someone else later
        return self._process.returncode

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all it started, now; returns when it is gone."""
        if self._process is None or self._process.returncode is not None:
            return
        self._end_group()
        self._process.wait()

    def log_tail(self, lines: int) -> list[str]:
        return log_tail(self.spec.log_file, lines) if self.spec.log_file else []

    def _end_group(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self.guard is not None:
            self.guard.discard(self._process.pid)


def stop_children(children: list[Child], *, now_please: Callable[[], bool] = lambda: False) -> list[str]:
    """Stop these together: SIGTERM, SIGKILL at each one's deadline. Names of those that were killed.

    `now_please` is asked all the time; when it says True nobody is waited for any longer.
    """
    started = time.monotonic()
    waiting = [child for child in children if child.pid is not None and child.poll() is None]
    for child in waiting:
        child.terminate()
    killed = []
    while waiting:
        for child in list(waiting):
            late = time.monotonic() - started > child.spec.stop_seconds
            if child.poll() is None and (late or now_please()):
                child.kill()
                killed.append(child.name)
            if child.poll() is not None:
                waiting.remove(child)
        if waiting:
            time.sleep(POLL_SECONDS)
    return killed


@contextmanager
def running(specs: Sequence[ChildSpec]) -> Iterator[dict[str, Child]]:
    """Run these until the block ends, without restarts. Raises ChildFailed when one does not come up."""
    children = {spec.name: Child(spec) for spec in specs}
    try:
        for child in children.values():
            child.start()
        for child in children.values():
            wait_until_ready(child)
        yield children
    finally:
        stop_children(list(children.values()))


def wait_until_ready(child: Child) -> None:
    """Raises ChildFailed with the end of its log when it dies or is not ready in time."""
    deadline = time.monotonic() + child.spec.ready_seconds
    while child.poll() is None:
        if child.spec.ready():
            return
        if time.monotonic() > deadline:
            raise ChildFailed(_failure(child, f"is not ready after {child.spec.ready_seconds:.0f} s"))
        time.sleep(POLL_SECONDS)
    raise ChildFailed(_failure(child, f"ended with {describe_exit(child.poll() or 0)}"))


def describe_exit(code: int) -> str:
    """`exit code 3`, or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def rotate_log(path: Path) -> None:
    """Move x.log to x.log.1 and so on; keep a few."""
    for number in range(_LOGS_KEPT, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if newer.exists():
            newer.replace(older)


def log_tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log that may be large, missing or not text."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _failure(child: Child, what: str) -> str:
    tail = "\n".join(child.log_tail(15))
    return f"{child.name} {what}. The end of {child.spec.log_file}:\n{tail}"
