"""What `/metrics` shows."""

from __future__ import annotations

from typing import Any

from host_container.metrics import Gauge, Metrics


def page(metrics: Metrics) -> dict[str, float]:
    """Name with labels → value."""
    lines = metrics.text().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def request(**changes: Any) -> dict[str, Any]:
    return {"status": 200, "code": "", "ms": 2.0, "rows": 3, "queue_ms": 0.2, "run_ms": 0.05} | changes


def test_requests_are_counted_by_status_and_code() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.observe("request", request())
    metrics.observe("request", {"status": 422, "code": "invalid_tensor", "ms": 0.3})
    shown = page(metrics)
    assert shown['modelrocket_host_requests_total{status="200",code=""}'] == 3
    assert shown['modelrocket_host_requests_total{status="422",code="invalid_tensor"}'] == 1
    assert shown["modelrocket_host_request_seconds_count"] == 4
    assert shown["modelrocket_host_run_seconds_count"] == 3


def test_buckets_add_up_and_end_in_infinity() -> None:
    metrics = Metrics()
    for milliseconds in (0.05, 0.1, 2.0, 60_000.0):
        metrics.observe("request", request(ms=milliseconds))
    shown = page(metrics)
    name = "modelrocket_host_request_seconds"
    assert shown[f'{name}_bucket{{le="0.0001"}}'] == 2
    assert shown[f'{name}_bucket{{le="0.0025"}}'] == 3
    assert shown[f'{name}_bucket{{le="25"}}'] == 3
    assert shown[f'{name}_bucket{{le="+Inf"}}'] == shown[f"{name}_count"] == 4
    assert abs(shown[f"{name}_sum"] - 60.00215) < 1e-9


def test_events_and_gauges_are_shown() -> None:
    metrics = Metrics([Gauge("memory_bytes_used", "In use.", lambda: 12.0)])
    for event, fields in (
        ("loaded", {"ms": 12.0}),
        ("evicted", {}),
        ("worker_ended", {"exit_code": -11}),
        ("worker_killed", {}),
        ("anything_else", {"tenant": "secret"}),
    ):
        metrics.observe(event, fields)
    shown = page(metrics)
    assert shown["modelrocket_host_loads_total"] == 1
    assert shown["modelrocket_host_evictions_total"] == 1
    assert shown['modelrocket_host_worker_endings_total{reason="crashed"}'] == 1
    assert shown["modelrocket_host_memory_bytes_used"] == 12
    assert b"secret" not in metrics.text()


def test_an_idle_host_shows_every_family() -> None:
    text = Metrics().text().decode()
    assert text.count("# TYPE") == text.count("# HELP") == 13
