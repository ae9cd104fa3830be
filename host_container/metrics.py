"""What `/metrics` shows, counted from the host's own events.

Prometheus's text format 0.0.4. No label names a tenant, a model or a version: one
page is for the operator of the host, who may be nobody's tenant. Counting a request
costs a few list accesses, since it happens for each one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SECONDS: Final = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 25.0)
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_MILLI: Final = 1e-3


class Histogram:
    """Counts by upper bounds, as Prometheus sums them up."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterable[str]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{_number(bound)}"}} {total}'
        yield f"{name}_sum {_number(self._sum)}"
        yield f"{name}_count {total}"


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that is read when it is asked for. `kind` is Prometheus's: gauge or counter."""

    name: str
    help: str
    read: Callable[[], float]
    kind: str = "gauge"


class Metrics:
    """Listens to the events of one host."""

    def __init__(self, gauges: Sequence[Gauge] = ()) -> None:
        self._gauges = gauges
        self._requests: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._total = Histogram(SECONDS)
        self._queue = Histogram(SECONDS)
        self._run = Histogram(SECONDS)
        self._load = Histogram(SECONDS)
        self._rows = Histogram(ROWS)

    def observe(self, event: str, fields: Mapping[str, Any]) -> None:
        """One event, as it was logged."""
        if event == "request":
            self._observe_request(fields)
        elif event == "loaded":
            self._events[event] += 1
            self._load.add(fields["ms"] * _MILLI)
        elif event == "worker_ended":
            self._endings["crashed" if fields["exit_code"] else "ended"] += 1
        elif event in _COUNTED:
            self._events[event] += 1

    def text(self) -> bytes:
        """The page."""
        lines = [*_counter("requests_total", "Answers by status and error code.", self._by_code())]
        lines += _histogram("request_seconds", "From the request to its answer.", self._total)
        lines += _histogram("queue_seconds", "Waiting in the worker for a run.", self._queue)
        lines += _histogram("run_seconds", "In onnxruntime, per run.", self._run)
        lines += _histogram("batch_rows", "Rows that shared a run.", self._rows)
        lines += _histogram("load_seconds", "Bringing a version into memory, download included.", self._load)
        for event, (name, text) in _COUNTED.items():
            lines += _counter(name, text, {"": self._events[event]})
        endings = {f'{{reason="{reason}"}}': count for reason, count in sorted(self._endings.items())}
        lines += _counter("worker_endings_total", "Worker processes that ended.", endings or {"": 0})
        for gauge in self._gauges:
            lines += _family(gauge.name, gauge.help, gauge.kind)
            lines.append(f"{_PREFIX}{gauge.name} {_number(gauge.read())}")
        return ("\n".join(lines) + "\n").encode()

    def _observe_request(self, fields: Mapping[str, Any]) -> None:
        self._requests[f'{{status="{fields["status"]}",code="{fields["code"]}"}}'] += 1
        self._total.add(fields["ms"] * _MILLI)
        rows = fields.get("rows")
        if rows:
            self._rows.add(rows)
            self._queue.add(fields["queue_ms"] * _MILLI)
            self._run.add(fields["run_ms"] * _MILLI)

    def _by_code(self) -> Mapping[str, int]:
        return dict(sorted(self._requests.items())) or {"": 0}


_PREFIX: Final = "modelrocket_host_"
_COUNTED: Final = {
    "loaded": ("loads_total", "Versions brought into memory."),
    "load_failed": ("load_failures_total", "Versions that could not be loaded."),
    "evicted": ("evictions_total", "Versions that made room for others."),
    "worker_killed": ("worker_kills_total", "Workers killed for a run past its deadline."),
    "blamed": ("blames_total", "Versions that were running when their worker ended."),
    "crash": ("internal_errors_total", "Requests that failed by a defect of the host."),
}


def _counter(name: str, text: str, values: Mapping[str, int]) -> list[str]:
    return [
        *_family(name, text, "counter"),
        *(f"{_PREFIX}{name}{labels} {value}" for labels, value in values.items()),
    ]


def _histogram(name: str, text: str, histogram: Histogram) -> list[str]:
    return [*_family(name, text, "histogram"), *histogram.lines(_PREFIX + name)]


def _family(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else format(value, ".12g")
