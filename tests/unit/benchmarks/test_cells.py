"""The real load generator against a small server that may misbehave."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import numpy as np
import orjson
import pytest

from benchmarks import wire
from benchmarks.cells import Lane, ServerCell, Serving, Timing
from benchmarks.figures import Measurement, Place
from benchmarks.process_tree import ProcessTree

INPUTS = [{"x": np.array([float(number)])} for number in range(3)]
TIMING = Timing(warm_up=0.1, measured=0.3)


@contextmanager
def doubling_server(*, refuse_every: int = 0, lie_to: float | None = None) -> Iterator[int]:
    """Answers `{"outputs": {"y": 2 x}}`; refuses now and then, or always lies to one input."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            (x,) = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]["x"]
            refused = refuse_every and next(numbers) % refuse_every == 0
            content = orjson.dumps({"outputs": {"y": [0.5 if x == lie_to else 2 * x]}})
            self.send_response(503 if refused else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def measured(port: int) -> Measurement:
    requests = [wire.post("/", wire.wrapped_body(one)) for one in INPUTS]
    lane = Lane("json", port, lambda: requests, wire.read_wrapped)
    cell = ServerCell(
        place=Place("double", "test", "json", 4),
        serving=Serving([lane], ProcessTree([os.getpid()])),
        lane=lane,
        expected=[{"y": 2 * one["x"]} for one in INPUTS],
    )
    return cell.measure(TIMING)


def test_good_answers_are_counted_and_timed() -> None:
    with doubling_server() as port:
        seen = measured(port)
    assert seen.problems == {}
    assert seen.count > 0
    assert 0 < seen.latencies_ms[0] <= seen.latencies_ms[1]
    assert seen.cpu_seconds > 0
    assert seen.memory_bytes > 1_000_000


@pytest.mark.parametrize(
    ("misbehaviour", "problem"),
    [
        pytest.param({"refuse_every": 10}, "status 503", id="refusals"),
        pytest.param({"lie_to": 0.0}, "another value in y", id="a wrong answer to one input"),
    ],
)
def test_what_is_wrong_is_told(misbehaviour: dict[str, float], problem: str) -> None:
    with doubling_server(**misbehaviour) as port:  # type: ignore[arg-type]
        assert problem in measured(port).problems


def test_a_server_that_is_not_there_is_told() -> None:
    with doubling_server() as port:
        pass
    seen = measured(port)
    assert seen.count == 0
    assert any(problem.startswith("cannot connect") for problem in seen.problems)
