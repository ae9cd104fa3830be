"""Invokes the scheduled coordinator function the way EventBridge and Lambda do, again and again.

Run as `python -m infra.local.ticker [MODULE:FUNCTION]`. One invocation loops for
a while by itself; the next one starts when it returns. An invocation that fails
is logged, and the next one comes after a pause.

SIGTERM breaks off an invocation wherever it is, which a tick can take: it is safe to
run twice. On its way out it gives back the lease that its successor would wait for.
"""

from __future__ import annotations

import importlib
import logging.config
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from infra.local.jsonlog import logging_config, write_event

STARTED: Final = "ticker_started"
"""The event that says that the function was found and is being invoked."""
_FUNCTION_SECONDS: Final = 60
_PAUSE_SECONDS_DEFAULT: Final = 2.0
_STOP_SECONDS: Final = 1.0

Function = Callable[[dict[str, Any], Any], Any]


class Stopped(BaseException):
    """Somebody asked for the end. Raised wherever the main thread is."""


def tick_forever(
    function: Function, *, pause_seconds: float, log: Callable[[dict[str, Any]], None]
) -> NoReturn:
    """Invoke until stopped; never more often than every `pause_seconds`."""
    log({"event": STARTED})
    while True:
        started = time.monotonic()
        _invoke(function, log)
        time.sleep(max(0.0, pause_seconds - (time.monotonic() - started)))


def scheduled_event(now: datetime) -> dict[str, Any]:
    """What EventBridge sends for a schedule; Chalice reads every one of these fields."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "local",
        "resources": ["arn:aws:events:local:000000000000:rule/coordinate"],
        "detail": {},
    }


def main(arguments: list[str], environ: Mapping[str, str]) -> None:
    logging.config.dictConfig(logging_config())
    module_name, _, name = (arguments[0] if arguments else "app:coordinate").partition(":")
    function: Function = getattr(importlib.import_module(module_name), name)
    pause_seconds = float(environ.get("MODELROCKET_TICK_SECONDS", _PAUSE_SECONDS_DEFAULT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    try:
        tick_forever(function, pause_seconds=pause_seconds, log=write_event)
    except Stopped:
        write_event({"event": "ticker_stopped"})
        os._exit(0)  # whatever else still runs in this process


def _stop(*_: object) -> NoReturn:
    """What holds on to the main thread is not waited for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deadline = threading.Timer(_STOP_SECONDS, os._exit, (0,))
    deadline.daemon = True
    deadline.start()
    raise Stopped


def _invoke(function: Function, log: Callable[[dict[str, Any]], None]) -> None:
    """Boundary: one failed invocation must not be the last one."""
    from chalice.local import LambdaContext

    context = LambdaContext("coordinate", 256, max_runtime_ms=_FUNCTION_SECONDS * 1000)
    started = time.monotonic()
    try:
        function(scheduled_event(datetime.now(UTC)), context)  # noqa: TID251 - plays EventBridge's clock
    except Exception as error:
        log({"event": "tick_failed", "error": repr(error), "traceback": traceback.format_exc()})
        return
    log(
        {
            "event": "tick",
            "request_id": context.aws_request_id,
            "seconds": round(time.monotonic() - started, 2),
        }
    )


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)  # noqa: TID251 - an entry point
