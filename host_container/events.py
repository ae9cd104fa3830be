"""Log lines: one JSON object each, on standard output. Never secrets, never payloads."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Observer = Callable[[str, Mapping[str, Any]], None]


class EventLog:
    """Writes events. A line goes out in one write, so lines of threads do not mix."""

    def __init__(self, descriptor: int, *, clock: Callable[[], float]) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._noted: list[bytes] = []
        self._observe: Observer = lambda _event, _fields: None

    def observed_by(self, observe: Observer) -> None:
        """Let this see every event too."""
        self._observe = observe

    def note(self, event: str, **fields: Any) -> bool:
        """A line that may wait for `flush`. True if it is the first to wait."""
        self._noted.append(self._line(event, fields))
        return len(self._noted) == 1

    def flush(self) -> None:
        """Write what was noted, in one system call."""
        if self._noted:
            noted, self._noted = self._noted, []
            self._put(b"".join(noted))

    def write(self, event: str, **fields: Any) -> None:
        """One line: the event's name, Unix seconds and the fields."""
        self._put(self._line(event, fields))

    def _line(self, event: str, fields: dict[str, Any]) -> bytes:
        self._observe(event, fields)
        line = {"event": event, "time": round(self._clock(), 3), **fields}
        return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)

    def _put(self, lines: bytes) -> None:
        with contextlib.suppress(OSError):  # a log that nobody reads any more is no reason to stop answering
            os.write(self._descriptor, lines)


class LogHandler(logging.Handler):
    """What libraries log (warnings and worse) as events of ours."""

    def __init__(self, events: EventLog) -> None:
        super().__init__(level=logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._events.write("log", **fields)
