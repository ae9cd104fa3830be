"""The ticker: invokes like Lambda, survives failures, stops quickly in the middle of an invocation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Rate

from chalicelib.threadsafe import ThreadSafeChalice
from infra.local.ticker import Stopped, scheduled_event, tick_forever
from tests.support.stack import REPOSITORY
from tests.support.waiting import DEADLINE_SECONDS, wait_for

_STUCK = """
import logging
import os
import time
def coordinate(event, context):
    logging.getLogger("passes").warning("pass failed", extra={"reason": "the truth is away", "at": time})
    print("begun", flush=True)
    try:
        time.sleep(600)
    finally:
        print("let go", flush=True)
        time.sleep(float(os.environ["LAST_WORDS_SECONDS"]))
"""


def test_chalice_accepts_the_event() -> None:
    app, seen = ThreadSafeChalice("toy"), []

    @app.schedule(Rate(1, unit=Rate.MINUTES))
    def coordinate(event: Any) -> None:
        seen.append((event.source, event.detail_type, event.time, event.context.function_name))

    ticks(coordinate, until=1)

    assert [each[:2] + each[3:] for each in seen] == [("aws.events", "Scheduled Event", "coordinate")]


def test_the_event_carries_the_time() -> None:
    assert scheduled_event(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))["time"] == "2026-01-02T03:04:05Z"


def test_a_failed_tick_is_logged_and_the_next_one_comes() -> None:
    calls = []

    def failing_first(event: dict[str, Any], context: Any) -> None:
        calls.append(event["id"])
        if len(calls) == 1:
            raise ValueError("no such thing")

    events = ticks(failing_first, until=2)

    assert [event["event"] for event in events] == ["ticker_started", "tick_failed", "tick"]
    assert "no such thing" in events[1]["error"] and "Traceback" in events[1]["traceback"]
    assert len(set(calls)) == 2


@pytest.fixture
def last_words_seconds() -> float:
    return 0.0


@pytest.fixture
def stuck(tmp_path: Path, last_words_seconds: float) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "stuck.py").write_text(_STUCK)
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.ticker", "stuck:coordinate"],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(tmp_path), "LAST_WORDS_SECONDS": str(last_words_seconds)},
        stdout=(tmp_path / "log").open("w"),
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("last_words_seconds", "says_so"),
    [pytest.param(0.0, True, id="which lets go"), pytest.param(600.0, False, id="which does not")],
)
def test_it_stops_in_the_middle_of_an_invocation(
    stuck: subprocess.Popen[str], tmp_path: Path, says_so: bool
) -> None:
    log = tmp_path / "log"
    wait_for(lambda: "begun" in log.read_text(), what="an invocation")

    stuck.send_signal(signal.SIGTERM)

    assert stuck.wait(DEADLINE_SECONDS) == 0
    assert "let go" in log.read_text()
    assert ("ticker_stopped" in log.read_text()) is says_so


def test_what_an_invocation_logs_is_one_line_with_all_its_fields(
    stuck: subprocess.Popen[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    wait_for(lambda: "begun" in log.read_text(), what="an invocation")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line["event"] == "log"]
    assert (line["level"], line["logger"], line["message"]) == ("warning", "passes", "pass failed")
    assert line["reason"] == "the truth is away"


def ticks(function: Any, *, until: int) -> list[dict[str, Any]]:
    """The events of this many invocations."""
    events: list[dict[str, Any]] = []

    def log(event: dict[str, Any]) -> None:
        events.append(event)
        if len(events) > until:
            raise Stopped

    with suppress(Stopped):
        tick_forever(function, pause_seconds=0.0, log=log)
    return events
