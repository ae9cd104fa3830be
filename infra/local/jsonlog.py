"""Log lines as JSON objects, one per line, on standard output."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any, Final

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """Level, logger, message and what was given as `extra`; the traceback as one field; never the arguments
    by themselves."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


def write_event(event: dict[str, Any]) -> None:
    """Write one event; a line is written in one piece, so threads and processes do not mix theirs."""
    line = {"time": round(time.time(), 3), **event}  # noqa: TID251 - log lines carry the wall clock
    os.write(sys.stdout.fileno(), json.dumps(line, separators=(",", ":")).encode() + b"\n")


def logging_config() -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything through the root logger, as JSON."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.JsonFormatter"}},
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}
        },
        "root": {"level": "WARNING", "handlers": ["stdout"]},
        "loggers": {},
    }
