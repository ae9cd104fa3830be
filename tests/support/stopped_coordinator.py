"""A coordinator's process that stops itself in the middle of a tick, as one that is starved of its processor.

Run as `python -m tests.support.stopped_coordinator WHERE`: right after it has `planned`, or `recorded` that.
Prints whether the tick came to its end once it is continued.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from chalicelib import reconciler
from chalicelib.coordinator import planner
from chalicelib.decisions import Recorder
from chalicelib.wiring import build
from tests.support.coordinating import coordinator


def stopping_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def stopped(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGSTOP)
        return result

    return stopped


def main(where: str) -> None:
    if where == "planned":
        vars(reconciler)["plan"] = stopping_after(planner.plan)
    else:
        Recorder.record = stopping_after(Recorder.record)  # type: ignore[method-assign]
    decision = coordinator(build(os.environ), "stopped").tick()
    print("nothing" if decision is None else f"decision {decision.id}")


if __name__ == "__main__":
    main(sys.argv[1])
