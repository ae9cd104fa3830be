"""What is measured: a cell is one row of the table, and can be measured again and again.

A server's cell drives it with the load generator; an in-process cell asks its
child process to work. Both give the same `Measurement`.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from benchmarks import inprocess
from benchmarks.children import Child, child
from benchmarks.figures import Measurement, Place
from benchmarks.loadgen import Order
from benchmarks.models import Example
from benchmarks.process_tree import ProcessGone, ProcessTree
from benchmarks.wire import Body, Tensors, difference, inputs_body, split_answer

LOOPBACK: Final = "127.0.0.1"
UNLIMITED: Final = {
    "MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": "1000000",
    "MODELROCKET_ACCOUNT_CONCURRENCY": "1000000",
}
"""What is measured is what a host can do, not what an account may."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one turn."""

    warm_up: float
    measured: float


class Cell(Protocol):
    @property
    def place(self) -> Place: ...

    def measure(self, timing: Timing) -> Measurement: ...


@dataclass(frozen=True, slots=True)
class Lane:
    """One way to ask a running server.

    Attributes:
        protocol: as the table shows it: "json", "v2-json", "v2-binary".
        requests: makes whole HTTP requests, one per input, good for the next minute.
        read: the outputs in an answer.
    """

    protocol: str
    port: int
    requests: Callable[[], Sequence[bytes]]
    read: Callable[[Body], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is ready. `beside` are process trees that work for it without being part of it."""

    lanes: Sequence[Lane]
    tree: ProcessTree
    beside: Mapping[str, ProcessTree] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Protocols it does not speak, and how it said so."""


@dataclass(frozen=True, slots=True)
class ServerCell:
    """One lane of one server under so many connections."""

    place: Place
    serving: Serving
    lane: Lane
    expected: Sequence[Tensors]

    def measure(self, timing: Timing) -> Measurement:
        with child("benchmarks.loadgen", asdict(self._order(timing))) as generator:
            try:
                return self._measured(generator, timing)
            except ProcessGone as error:
                return Measurement(timing.measured, 0, 0.0, (math.nan, math.nan), problems={str(error): 1})

    def _order(self, timing: Timing) -> Order:
        return Order(
            host=LOOPBACK,
            port=self.lane.port,
            connections=self.place.connections,
            warm_up_seconds=timing.warm_up,
            requests=[base64.b64encode(request).decode() for request in self.lane.requests()],
        )

    def _measured(self, generator: Child, timing: Timing) -> Measurement:
        warm = generator.hear()
        start, before = self._cpu()
        time.sleep(timing.measured)
        end, after = self._cpu()
        report = generator.ask({"window": [start, end]})
        return Measurement(
            seconds=end - start,
            count=report["count"],
            cpu_seconds=after[""] - before[""],
            latencies_ms=(report["p50_ms"], report["p99_ms"]),
            memory_bytes=self.serving.tree.memory_bytes(),
            problems=self._problems(report),
            beside_cpu_seconds={name: after[name] - before[name] for name in self.serving.beside},
            generator_cpu_seconds=report["cpu_seconds"] - warm["cpu_seconds"],
        )

    def _cpu(self) -> tuple[float, dict[str, float]]:
        """When, and the CPU seconds of the tree ("") and of those beside it."""
        trees = {"": self.serving.tree, **self.serving.beside}
        return time.monotonic(), {name: tree.cpu_seconds() for name, tree in trees.items()}

    def _problems(self, report: Mapping[str, Any]) -> dict[str, int]:
        problems = dict(report["problems"])
        for number, answer in report["samples"]:
            fault = fault_of(base64.b64decode(answer), self.lane, self.expected[number])
            if fault:
                problems[fault] = problems.get(fault, 0) + 1
        return problems


def fault_of(answer: bytes, lane: Lane, expected: Tensors) -> str | None:
    """What is wrong with a whole answer of status 200, compared with raw onnxruntime's."""
    try:
        outputs = lane.read(split_answer(answer))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"an unreadable answer ({type(error).__name__})"
    return difference(outputs, expected)


@dataclass(frozen=True, slots=True)
class InProcessCell:
    """The same work in a loop, without a server."""

    place: Place
    process: Child

    def measure(self, timing: Timing) -> Measurement:
        figures = self.process.ask(timing.measured)
        return Measurement(
            seconds=figures["seconds"],
            count=figures["count"],
            cpu_seconds=figures["cpu_seconds"],
            latencies_ms=(figures["p50_ms"], figures["p99_ms"]),
            memory_bytes=ProcessTree([self.process.pid]).memory_bytes(),
        )


@contextmanager
def in_process(example: Example, *, target: str, work: str, threads: int) -> Iterator[InProcessCell]:
    bodies = [inputs_body(inputs).content.decode() for inputs in example.inputs]
    job = inprocess.Job(model=str(example.path), inputs=bodies, work=work, threads=threads)
    with child("benchmarks.inprocess", asdict(job)) as process:
        yield InProcessCell(Place(example.name, target, "-", 1), process)
