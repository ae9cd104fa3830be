"""What the same work costs without a server: onnxruntime in a process of its own, called in a loop.

Run as `python -m benchmarks.inprocess`. The first line of standard input is a
`Job`; each further line is a number of seconds to work for, answered with one
line of figures. Between lines it sleeps, so that it disturbs nobody's turn.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime
import orjson

from benchmarks.figures import median_and_p99

RUN, JSON = "run", "json"
_WARM_UP_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class Job:
    """`work` is RUN (session.run alone) or JSON (decode, run, encode). 0 threads: onnxruntime's choice."""

    model: str
    inputs: list[str]
    """JSON objects, each `{input name: nested lists}`."""
    work: str
    threads: int


def steps(job: Job) -> list[Callable[[], object]]:
    """One call per input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
    dtypes = {node.name: _dtype(node.type) for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]

    def arrays(body: str | bytes) -> dict[str, Any]:
        return {name: np.array(value, dtypes[name]) for name, value in orjson.loads(body).items()}

    def served(body: bytes) -> bytes:
        outputs = session.run(names, arrays(body))
        return orjson.dumps(dict(zip(names, outputs, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY)

    def step(body: str) -> Callable[[], object]:
        if job.work == JSON:
            encoded = body.encode()
            return lambda: served(encoded)
        feeds = arrays(body)
        return lambda: session.run(names, feeds)

    return [step(body) for body in job.inputs]


def work(calls: list[Callable[[], object]], seconds: float) -> dict[str, float]:
    """Figures of calling them in turn for that long."""
    clock, taken, count = time.perf_counter, [], 0
    cpu, started = time.process_time(), clock()
    before = started
    while before - started < seconds:
        calls[count % len(calls)]()
        now = clock()
        taken.append(now - before)
        before, count = now, count + 1
    cpu, elapsed = time.process_time() - cpu, clock() - started
    p50, p99 = median_and_p99(taken)
    return {
        "count": count,
        "seconds": elapsed,
        "cpu_seconds": cpu,
        "p50_ms": p50 * 1000,
        "p99_ms": p99 * 1000,
    }


def main() -> None:
    calls = steps(Job(**json.loads(sys.stdin.readline())))
    for number in range(_WARM_UP_RUNS):
        calls[number % len(calls)]()
    for line in sys.stdin:
        print(json.dumps(work(calls, float(line))), flush=True)


def _dtype(onnx_type: str) -> str:
    from modelrocket.tensors import ONNXRUNTIME_DTYPES

    return ONNXRUNTIME_DTYPES[onnx_type]


if __name__ == "__main__":
    main()
