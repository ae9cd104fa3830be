"""What the coordinator tells of itself and the fleet: a line a run, which is one a minute.

It is in CloudWatch's embedded metric format, so that what reaches CloudWatch's logs becomes metrics there.
Each costs some $0.30 a month; so there are few, without dimensions. What they mean: docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.tally import Tally

NAMESPACE: Final = "ModelRocket"
_MILLI: Final = 1000


class Gauge(StrEnum):
    """One metric. See `Tally` for what is not said here."""

    PASSES = "Passes"
    FAILURES = "Failures"
    HOSTS_WANTED = "HostsWanted"
    HOSTS_RUNNING = "HostsRunning"
    HOSTS_READY = "HostsReady"
    UNMET = "Unmet"
    REQUESTS = "Requests"
    ERRORS = "Errors"
    LATENCY_P99 = "LatencyP99"
    QUARANTINED = "Quarantined"
    """Versions that no host may run now."""
    PREPARING = "Preparing"
    """For how long the oldest version has waited to be prepared."""


_UNITS: Final = {Gauge.LATENCY_P99: "Milliseconds", Gauge.PREPARING: "Seconds"}
"""Of those that are no counts."""
Value = tuple[Gauge, float | None]


class Gauges:
    """`write`: takes a line; None where nobody would read it. `clock`: Unix seconds."""

    def __init__(
        self, *, hot: HotState, clock: Callable[[], float], write: Callable[[str], None] | None
    ) -> None:
        self._hot = hot
        self._clock = clock
        self._write = write

    def tell(self, tally: Tally) -> None:
        """Of one run, and what is so after it. What is not known is left out."""
        if self._write is None:
            return
        known = {gauge: value for gauge, value in self._values(tally) if value is not None}
        self._write(msgspec.json.encode(_document(known, at=self._clock())).decode())

    def _values(self, tally: Tally) -> Iterator[Value]:
        yield Gauge.PASSES, tally.passes
        yield Gauge.FAILURES, tally.failures
        if tally.hosts is not None:
            yield Gauge.HOSTS_WANTED, tally.hosts.wanted
            yield Gauge.HOSTS_RUNNING, tally.hosts.running
            yield Gauge.HOSTS_READY, tally.hosts.ready
            yield Gauge.UNMET, tally.unmet
        yield Gauge.REQUESTS, tally.requests
        yield Gauge.ERRORS, tally.errors
        yield Gauge.LATENCY_P99, tally.latency_p99_ms
        yield Gauge.QUARANTINED, self._asked(lambda: len(self._hot.quarantines()))
        yield Gauge.PREPARING, self._asked(self._hot.oldest_job_seconds)

    def _asked(self, ask: Callable[[], float]) -> float | None:
        """None while the hot state is away."""
        try:
            return ask()
        except DependencyFailed:
            return None


def _document(values: dict[Gauge, float], *, at: float) -> dict[str, Any]:
    metrics = [{"Name": gauge.value, "Unit": _UNITS.get(gauge, "Count")} for gauge in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": metrics}
    about = {"Timestamp": int(at * _MILLI), "CloudWatchMetrics": [directive]}
    return {"_aws": about, **{gauge.value: value for gauge, value in values.items()}}
