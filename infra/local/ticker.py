"""Invokes the scheduled coordinator function the way EventBridge and Lambda do, again and again.

Run as `python -m infra.local.ticker [MODULE:FUNCTION]`. One invocation loops for
a while by itself; the next one starts when it returns. An invocation that fails
is logged, and the next one comes after a pause.
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
from typing import Any, Final

from infra.local.jsonlog import logging_config, write_event

STARTED: Final = "ticker_started"
"""The event that says that the function was found and is being invoked."""
_FUNCTION_SECONDS: Final = 60
_PAUSE_SECONDS_DEFAULT: Final = 2.0
_STOP_SECONDS: Final = 1.0

Function = Callable[[dict[str, Any], Any], Any]


def tick_forever(
    function: Function,
    *,
    stopping: threading.Event,
    pause_seconds: float,
    log: Callable[[dict[str, Any]], None],
) -> None:
    """Invoke until told to stop; never more often than every `pause_seconds`."""
    log({"event": STARTED})
    while not stopping.is_set():
        started = time.monotonic()
        _invoke(function, log)
        stopping.wait(max(0.0, pause_seconds - (time.monotonic() - started)))


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
    stopping = threading.Event()
    ticking = threading.Thread(
        target=tick_forever,
        args=(function,),
        kwargs={
            "stopping": stopping,
            "pause_seconds": float(environ.get("MODELROCKET_TICK_SECONDS", _PAUSE_SECONDS_DEFAULT)),
            "log": write_event,
        },
        daemon=True,
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads inherit it; sigwait takes it
    ticking.start()
    signal.sigwait({signal.SIGTERM})
    stopping.set()
    ticking.join(_STOP_SECONDS)
    write_event({"event": "ticker_stopped", "in_the_middle": ticking.is_alive()})
    os._exit(0)  # an invocation in progress may be cut anywhere: a tick is safe to run twice


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
