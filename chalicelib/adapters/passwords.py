"""Passwords as argon2id hashes, one at a time and with rests between.

A hash takes tens of milliseconds and megabytes on purpose. So one thread computes them all and rests for
`REST` times as long as it worked, few may wait for it, and more are turned away before a store is asked
anything: a flood of log-ins takes a tenth of one core. Lowering the thread's priority instead would make all
others wait for it, whenever it is put aside while it holds the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chalicelib.contract import limits
from chalicelib.contract.errors import Overloaded
from chalicelib.passwords import normalised
from chalicelib.settings import HashCost

Result = TypeVar("Result")
REST: Final = 9.0
_NOBODYS: Final = "the password of nobody"


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds; `wait` sleeps."""

    monotonic: Callable[[], float]
    wait: Callable[[float], None]


class Argon2Passwords:
    """Implements `ports.Passwords`. Safe to use from many threads."""

    def __init__(self, cost: HashCost, clock: Clock) -> None:
        self._clock = clock
        self._hasher = PasswordHasher(
            time_cost=cost.rounds, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._places = threading.BoundedSemaphore(limits.HASHES_WAITING_MAX)
        self._thread = ThreadPoolExecutor(1, "passwords")

    @contextmanager
    def place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many people log in at this moment. Try again shortly.")
        try:
            yield
        finally:
            self._places.release()

    def hash(self, password: str) -> str:
        return self._in_turn(lambda: self._hasher.hash(normalised(password)))

    def matches(self, password: str, password_hash: str | None) -> bool:
        return self._in_turn(lambda: self._matches(password, password_hash))

    def outdated(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password: str, password_hash: str | None) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobodys_hash, normalised(password))
        except (VerificationError, InvalidHashError):
            return False
        return bool(password_hash)

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        done: Future[Result] = Future()
        self._thread.submit(self._work_and_rest, work, done)
        return done.result()

    def _work_and_rest(self, work: Callable[[], Result], done: Future[Result]) -> None:
        began = self._clock.monotonic()
        try:
            done.set_result(work())
        except Exception as error:  # the caller's thread raises it
            done.set_exception(error)
        self._clock.wait(REST * (self._clock.monotonic() - began))

    @cached_property
    def _nobodys_hash(self) -> str:
        return self._hasher.hash(_NOBODYS)
