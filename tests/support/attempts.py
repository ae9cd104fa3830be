"""Attempts under an Idempotency-Key, kept in memory, for tests of what surrounds the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from chalicelib.records import Answered, AttemptRecord


class KeptAttempts:
    """Implements `ports.AttemptStore`; tests/contract says that the real one behaves so."""

    def __init__(self) -> None:
        self.kept: dict[str, AttemptRecord] = {}

    def begin_attempt(self, record: AttemptRecord) -> AttemptRecord | None:
        found = self.kept.get(record.id)
        self.kept.setdefault(record.id, record)
        return found

    def take_attempt(self, seen: AttemptRecord, record: AttemptRecord) -> bool:
        taken = self.kept.get(record.id) == seen
        if taken:
            self.kept[record.id] = record
        return taken

    def finish_attempt(self, record: AttemptRecord, answered: Answered | None) -> None:
        self.kept[record.id] = replace(record, answered=answered, repeatable=answered is None)

    def forget_attempt(self, record: AttemptRecord) -> None:
        if self.kept.get(record.id) == record:
            del self.kept[record.id]


def ticking(step_seconds: float) -> Callable[[], datetime]:
    """A clock that goes on by so much with each look at it."""
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def now() -> datetime:
        nonlocal at
        at += timedelta(seconds=step_seconds)
        return at

    return now
