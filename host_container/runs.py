"""The threads that run models, so that the event loop never does.

Each entry is a call with a deadline. One that nobody waits for any more, or
whose deadline has passed, is not started. A call that has started cannot be
stopped: its thread is busy until it returns, and `seconds_late` tells.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from chalicelib.contract.errors import DeadlineExceeded

Result = TypeVar("Result")
_NEVER: Final = float("inf")


def too_late() -> DeadlineExceeded:
    return DeadlineExceeded("The model did not answer in time. Send fewer rows, or allow more time.")


@dataclass(frozen=True, slots=True)
class Run(Generic[Result]):
    """Work for a thread.

    Attributes:
        work: called in the thread.
        deadline: on the threads' clock, in seconds.
        released: called in the event loop once no thread touches this work (again).
    """

    work: Callable[[], Result]
    deadline: float
    released: Callable[[], None]


class RunThreads:
    """A fixed number of threads behind one queue. The caller bounds how much it submits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, threads: int, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._queue: SimpleQueue[tuple[Run[Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._deadlines = [_NEVER] * threads
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"run-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, run: Run[Result]) -> asyncio.Future[Result]:
        """Cancel the future to drop work that has not started."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put((run, future))
        return future

    def seconds_late(self) -> float:
        """How long ago the first call that still runs should have returned; negative before that."""
        return self._clock() - min(self._deadlines)

    def close(self) -> None:
        """Wait until everything submitted has been worked off, and end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, number: int) -> None:
        while (entry := self._queue.get()) is not None:
            run, future = entry
            self._deadlines[number] = run.deadline
            outcome = self._outcome(run, future)
            self._deadlines[number] = _NEVER
            try:
                self._loop.call_soon_threadsafe(_settle, run, future, outcome)
            except RuntimeError:  # the loop is closed: the process is ending
                return
            del entry, run, future, outcome  # a waiting thread must not keep the last answer alive

    def _outcome(self, run: Run[Result], future: asyncio.Future[Result]) -> Result | BaseException | None:
        if future.cancelled():
            return None
        if self._clock() >= run.deadline:
            return too_late()
        try:
            return run.work()
        except BaseException as error:  # the boundary of the thread: whoever waits gets it
            return error


def _settle(run: Run[Result], future: asyncio.Future[Result], outcome: Any) -> None:
    run.released()
    if future.cancelled():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
