"""What an operator looks at first: what is wrong, what is asked, who answers, what all of it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch

from chalicelib.gauges import Gauge
from infra.aws.stacks.alarms import FIVE, MINUTE, functions, gauge, records, redis
from infra.aws.stacks.control_plane import ControlPlane
from infra.aws.stacks.data import Data

Row = list[cloudwatch.IWidget]
_WHOLE: Final = 24
"""The width of a row, in CloudWatch's columns."""
_HEIGHT: Final = 6


def add_dashboard(
    scope: Stack, *, control_plane: ControlPlane, data: Data, alarms: Sequence[cloudwatch.Alarm]
) -> None:
    """One. Names are the account's, whatever the region, so it has the region's."""
    cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=f"ModelRocket-{scope.region}",
        widgets=[
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=_WHOLE)],
            _row(*_asked(control_plane)),
            _row(*_fleet()),
            _row(*_functions(control_plane)),
            _row(*_stores(data)),
        ],
    )


def _asked(control_plane: ControlPlane) -> Iterator[dict[str, Any]]:
    stage = control_plane.rest_api.deployment_stage
    yield {
        "title": "Requests to models, a minute",
        "left": [_now(gauge) for gauge in (Gauge.REQUESTS, Gauge.ERRORS, Gauge.UNMET)],
    }
    yield {
        "title": "Calls of the API, a minute",
        "left": [
            stage.metric_count(period=MINUTE, statistic="Sum", label="calls"),
            stage.metric_client_error(period=MINUTE, statistic="Sum", label="4xx"),
            stage.metric_server_error(period=MINUTE, statistic="Sum", label="5xx"),
        ],
    }
    yield {
        "title": "How long they take, ms",
        "left": [
            gauge(Gauge.LATENCY_P99, "Maximum", MINUTE),
            stage.metric_latency(period=MINUTE, statistic="p50", label="API, median"),
            stage.metric_latency(period=MINUTE, statistic="p99", label="API, p99"),
        ],
    }


def _fleet() -> Iterator[dict[str, Any]]:
    hosts = (Gauge.HOSTS_WANTED, Gauge.HOSTS_RUNNING, Gauge.HOSTS_READY)
    yield {"title": "Hosts", "left": [gauge(name, "Maximum", MINUTE) for name in hosts]}
    yield {
        "title": "The coordinator, a minute",
        "left": [_now(Gauge.PASSES), _now(Gauge.FAILURES)],
    }
    yield {
        "title": "Versions",
        "left": [gauge(Gauge.QUARANTINED, "Maximum", MINUTE)],
        "right": [gauge(Gauge.PREPARING, "Maximum", MINUTE)],
    }


def _functions(control_plane: ControlPlane) -> Iterator[dict[str, Any]]:
    named = functions(control_plane).items()
    yield {
        "title": "Functions that end without an answer, or find no place",
        "left": [one.metric_errors(period=FIVE, label=f"{name}: errors") for name, one in named],
        "right": [one.metric_throttles(period=FIVE, label=f"{name}: throttled") for name, one in named],
    }
    yield {
        "title": "How long functions run, ms, p99",
        "left": [one.metric_duration(period=FIVE, statistic="p99", label=name) for name, one in named],
    }
    yield {
        "title": "Functions at work",
        "left": [
            one.metric("ConcurrentExecutions", period=FIVE, statistic="Maximum", label=name)
            for name, one in named
        ],
    }


def _stores(data: Data) -> Iterator[dict[str, Any]]:
    yield {
        "title": "Redis, percent",
        "left": [
            redis(node, name, "Maximum")
            for node in data.redis_nodes
            for name in ("DatabaseMemoryUsagePercentage", "EngineCPUUtilization")
        ],
    }
    if data.mongo_cluster is not None:
        yield {
            "title": "DocumentDB",
            "left": [records(data.mongo_cluster, "CPUUtilization", "Average")],
            "right": [records(data.mongo_cluster, "DatabaseConnectionsMax", "Maximum")],
        }


def _now(name: Gauge) -> cloudwatch.Metric:
    return gauge(name, "Sum", MINUTE)


def _row(*charts: dict[str, Any]) -> Row:
    width = _WHOLE // len(charts)
    return [cloudwatch.GraphWidget(width=width, height=_HEIGHT, **chart) for chart in charts]
