"""Every case of a family in a process of its own, forked, two at a time, killed when its time is up."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.matrix.case import Case
from tests.matrix.results import Outcome, Result
from tests.matrix.trial import tried

SECONDS_MAX = 60.0
AT_A_TIME = 2
_SHOWN_MAX = 300


def results(
    cases: Sequence[Case], *, seconds_max: float = SECONDS_MAX, show: Callable[[str], None] = lambda _: None
) -> Iterator[Result]:
    """As they come; `show` is told what is running."""
    waiting, running = list(cases), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < AT_A_TIME:
                running.append(_started(waiting.pop(0), seconds_max))
            show(", ".join(one.case.name for one in running))
            for one in _ended(running):
                running.remove(one)
                yield one.result()
    finally:
        for one in running:
            one.kill()


@dataclass(frozen=True)
class _Running:
    case: Case
    process: Any
    answer: Connection
    log: Path
    started: float
    deadline: float

    def result(self) -> Result:
        """Its own, or what became of it; nothing of it runs afterwards."""
        seconds = round(time.monotonic() - self.started, 1)
        found: Result | None = None
        if self.answer.poll():
            with suppress(EOFError):
                found = self.answer.recv()
        late = found is None and self.process.is_alive() and time.monotonic() >= self.deadline
        self.kill()
        if found is None:
            outcome = Outcome.HANG if late else Outcome.BROKEN
            reason = f"killed after {seconds:.0f} s" if late else f"it died: {self._last_words()}"
            found = Result(self.case.name, self.case.kind, outcome, reason)
        self.log.unlink(missing_ok=True)
        return replace(found, seconds=seconds)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.answer.close()

    def _last_words(self) -> str:
        said = self.log.read_text(errors="replace").strip()[-_SHOWN_MAX:]
        return f"exit code {self.process.exitcode}; {said}"


def _started(case: Case, seconds_max: float) -> _Running:
    context = get_context("fork")
    here, there = context.Pipe(duplex=False)
    handle, log = tempfile.mkstemp(prefix="matrix-")
    process = context.Process(target=_child, args=(case, there, handle))
    process.start()
    there.close()
    os.close(handle)
    now = time.monotonic()
    return _Running(case, process, here, Path(log), now, now + seconds_max)


def _child(case: Case, answer: Connection, log: int) -> None:
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    answer.send(tried(case))


def _ended(running: Iterable[_Running]) -> list[_Running]:
    """Those that answered or died, or whose time is up; waits for the first."""
    by_answer = {one.answer: one for one in running}
    patience = max(0.0, min(one.deadline for one in by_answer.values()) - time.monotonic())
    ready = connection.wait(list(by_answer), timeout=patience)
    return [one for key, one in by_answer.items() if key in ready or time.monotonic() >= one.deadline]
