"""What somebody is told of, as data: each alarm, from when on, and which section of the runbook is about it.

Where nothing is asked nothing is said: a share of few requests means nothing, and metrics that only come with
requests are missing then, which is well. The coordinator's heartbeat alone may never be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from chalicelib.gauges import NAMESPACE, Gauge
from infra.aws.profiles import Profile, WatchSize
from infra.aws.stacks.control_plane import ControlPlane
from infra.aws.stacks.data import Data

RUNBOOK: Final = "docs/operations.md"
MINUTE: Final = Duration.minutes(1)
FIVE: Final = Duration.minutes(5)
_HOUR: Final = Duration.hours(1)
_NEAR_TIMEOUT: Final = 0.9
"""Of a function's time. Requests end well before by themselves, and so do the coordinator's passes."""
_LOOKS: Final = 3
"""So many periods one after the other have to be bad: what passes by itself wakes nobody."""
_LONG_LOOKS: Final = 6
_USED_PERCENT_MAX: Final = 80
_PREPARING_SECONDS_MAX: Final = 900
"""A host that has to come first included."""
_MILLI: Final = 1000
_GIB: Final = 2**30
_ABOVE: Final = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_BELOW: Final = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
_WELL: Final = cloudwatch.TreatMissingData.NOT_BREACHING
_BAD: Final = cloudwatch.TreatMissingData.BREACHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One. `section` of the runbook; `says`: what is so, as the e-mail begins. `limit` is reached, or with
    `comparison` passed otherwise, in each of the last `looks` periods."""

    id: str
    section: str
    says: str
    metric: cloudwatch.IMetric
    limit: float
    looks: int = _LOOKS
    comparison: cloudwatch.ComparisonOperator = _ABOVE
    missing: cloudwatch.TreatMissingData = _WELL

    @property
    def description(self) -> str:
        return f"{self.says} What to do: {RUNBOOK}#{self.section}"


def gauge(name: Gauge, statistic: str, period: Duration = FIVE) -> cloudwatch.Metric:
    """One of the coordinator's own."""
    return cloudwatch.Metric(
        namespace=NAMESPACE, metric_name=name.value, statistic=statistic, period=period, label=name.value
    )


def redis(node: str, name: str, statistic: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/ElastiCache",
        metric_name=name,
        dimensions_map={"CacheClusterId": node},
        statistic=statistic,
        period=FIVE,
    )


def records(cluster: str, name: str, statistic: str, period: Duration = FIVE) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/DocDB",
        metric_name=name,
        dimensions_map={"DBClusterIdentifier": cluster},
        statistic=statistic,
        period=period,
    )


def functions(control_plane: ControlPlane) -> Mapping[str, lambda_.Function]:
    """Those that run again and again, by what they are called here."""
    return {
        "Inference": control_plane.inference,
        "Management": control_plane.management,
        "Coordinator": control_plane.coordinator,
    }


def of_functions(control_plane: ControlPlane, watch: WatchSize) -> Iterator[Alarm]:
    for name, function in functions(control_plane).items():
        yield Alarm(
            id=f"{name}Errors",
            section="function-errors",
            says=f"The function {name} ends without an answer: it crashes, or runs out of time or memory.",
            metric=function.metric_errors(period=FIVE),
            limit=watch.function_failures,
            looks=1,
        )
        yield Alarm(
            id=f"{name}Throttles",
            section="function-throttles",
            says=f"More of the function {name} is asked for than may run at once.",
            metric=function.metric_throttles(period=FIVE),
            limit=watch.function_failures,
        )
        assert function.timeout is not None  # it is given to each
        yield Alarm(
            id=f"{name}Slow",
            section="function-slow",
            says=f"The function {name} takes nearly all the time that it has.",
            metric=function.metric_duration(period=FIVE, statistic="Maximum"),
            limit=_NEAR_TIMEOUT * function.timeout.to_milliseconds(),
        )


def of_schedule(control_plane: ControlPlane) -> Iterator[Alarm]:
    failed = cloudwatch.Metric(
        namespace="AWS/Events",
        metric_name="FailedInvocations",
        dimensions_map={"RuleName": control_plane.schedule.rule_name},
        statistic="Sum",
        period=FIVE,
    )
    yield Alarm(
        id="ScheduleDead",
        section="schedule-dead",
        says="The schedule cannot start the coordinator.",
        metric=failed,
        limit=1,
    )


def of_api(control_plane: ControlPlane, watch: WatchSize) -> Iterator[Alarm]:
    stage = control_plane.rest_api.deployment_stage
    requests = stage.metric_count(period=FIVE, statistic="Sum")
    yield Alarm(
        id="ApiErrors",
        section="api-errors",
        says="Many calls of the API are answered with 5xx.",
        metric=_where_asked(
            "100 * errors / requests",
            watch,
            errors=stage.metric_server_error(period=FIVE, statistic="Sum"),
            requests=requests,
        ),
        limit=watch.errors_percent,
    )
    yield Alarm(
        id="ApiSlow",
        section="api-slow",
        says="Calls of the API take long.",
        metric=_where_asked(
            "latency", watch, latency=stage.metric_latency(period=FIVE, statistic="p99"), requests=requests
        ),
        limit=watch.latency_seconds * _MILLI,
    )


def of_coordinator() -> Iterator[Alarm]:
    yield Alarm(
        id="CoordinatorSilent",
        section="coordinator-silent",
        says="The coordinator has not decided anything for five minutes.",
        metric=gauge(Gauge.PASSES, "Sum", MINUTE),
        limit=1,
        looks=5,
        comparison=_BELOW,
        missing=_BAD,
    )
    yield Alarm(
        id="CoordinatorFailing",
        section="coordinator-failing",
        says="Something of what the coordinator does fails again and again.",
        metric=gauge(Gauge.FAILURES, "Sum"),
        limit=1,
    )


def of_fleet(profile: Profile) -> Iterator[Alarm]:
    yield Alarm(
        id="UnmetDemand",
        section="unmet-demand",
        says="Requests find no host, for longer than one takes to start.",
        metric=gauge(Gauge.UNMET, "Sum"),
        limit=1,
    )
    yield Alarm(
        id="HostsMissing",
        section="hosts-missing",
        says="There are fewer hosts than are wanted, for longer than they take to start.",
        metric=cloudwatch.MathExpression(
            expression="wanted - ready",
            using_metrics={
                "wanted": gauge(Gauge.HOSTS_WANTED, "Minimum"),
                "ready": gauge(Gauge.HOSTS_READY, "Maximum"),
            },
            period=FIVE,
        ),
        limit=1,
        looks=_LOOKS + 1,
    )
    yield Alarm(
        id="HostsAtMost",
        section="hosts-at-most",
        says="As many hosts are wanted as there may be: more may be needed.",
        metric=gauge(Gauge.HOSTS_WANTED, "Minimum"),
        limit=profile.hosts.most,
        looks=_LONG_LOOKS,
    )


def of_requests(watch: WatchSize) -> Iterator[Alarm]:
    yield Alarm(
        id="PlatformErrors",
        section="platform-errors",
        says="Many requests to models fail for the platform's own fault, at whichever door.",
        metric=_where_asked(
            "100 * errors / requests",
            watch,
            errors=gauge(Gauge.ERRORS, "Sum"),
            requests=gauge(Gauge.REQUESTS, "Sum"),
        ),
        limit=watch.errors_percent,
    )
    yield Alarm(
        id="VersionQuarantined",
        section="version-quarantined",
        says="A version has ended its process twice, and no host runs it now.",
        metric=gauge(Gauge.QUARANTINED, "Maximum"),
        limit=1,
        looks=1,
    )
    yield Alarm(
        id="PreparationStuck",
        section="preparation-stuck",
        says="A version has been waiting to be prepared for a quarter of an hour.",
        metric=gauge(Gauge.PREPARING, "Maximum"),
        limit=_PREPARING_SECONDS_MAX,
        looks=1,
    )


def of_redis(data: Data) -> Iterator[Alarm]:
    for number, node in enumerate(data.redis_nodes, start=1):
        yield Alarm(
            id=f"RedisMemory{number}",
            section="redis-memory",
            says="Redis is nearly full. When it is, it refuses what is to be written.",
            metric=redis(node, "DatabaseMemoryUsagePercentage", "Maximum"),
            limit=_USED_PERCENT_MAX,
        )
        yield Alarm(
            id=f"RedisBusy{number}",
            section="redis-busy",
            says="Redis has hardly any time left: it does one thing at a time.",
            metric=redis(node, "EngineCPUUtilization", "Average"),
            limit=_USED_PERCENT_MAX,
        )
        yield Alarm(
            id=f"RedisEvicting{number}",
            section="redis-evicting",
            says="Redis forgets what it was told to keep.",
            metric=redis(node, "Evictions", "Sum"),
            limit=1,
            looks=1,
        )


def of_records(data: Data, watch: WatchSize) -> Iterator[Alarm]:
    """Where there is a DocumentDB: another MongoDB is watched by whoever runs it."""
    cluster = data.mongo_cluster
    if cluster is None:
        return
    yield Alarm(
        id="RecordsBusy",
        section="records-busy",
        says="DocumentDB has hardly any processor time left.",
        metric=records(cluster, "CPUUtilization", "Average"),
        limit=_USED_PERCENT_MAX,
    )
    yield Alarm(
        id="RecordsConnections",
        section="records-connections",
        says="DocumentDB takes hardly any more connections.",
        metric=cloudwatch.MathExpression(
            expression="100 * open / allowed",
            using_metrics={
                "open": records(cluster, "DatabaseConnectionsMax", "Maximum"),
                "allowed": records(cluster, "DatabaseConnectionsLimit", "Minimum"),
            },
            period=FIVE,
        ),
        limit=_USED_PERCENT_MAX,
    )
    yield Alarm(
        id="RecordsLarge",
        section="records-large",
        says="DocumentDB holds more than it should have to.",
        metric=records(cluster, "VolumeBytesUsed", "Maximum", _HOUR),
        limit=watch.records_gib * _GIB,
        looks=1,
    )


def all_of(control_plane: ControlPlane, data: Data, profile: Profile) -> tuple[Alarm, ...]:
    watch = profile.watch
    return (
        *of_coordinator(),
        *of_fleet(profile),
        *of_requests(watch),
        *of_api(control_plane, watch),
        *of_functions(control_plane, watch),
        *of_schedule(control_plane),
        *of_redis(data),
        *of_records(data, watch),
    )


def made(scope: Stack, alarm: Alarm) -> cloudwatch.Alarm:
    return cloudwatch.Alarm(
        scope,
        alarm.id,
        alarm_name=f"{scope.stack_name}-{alarm.id}",
        alarm_description=alarm.description,
        metric=alarm.metric,
        threshold=alarm.limit,
        evaluation_periods=alarm.looks,
        datapoints_to_alarm=alarm.looks,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
    )


def _where_asked(
    expression: str, watch: WatchSize, **metrics: cloudwatch.IMetric
) -> cloudwatch.MathExpression:
    """Of five minutes with fewer `requests` than say something, 0."""
    return cloudwatch.MathExpression(
        expression=f"IF(requests >= {watch.requests_min}, {expression}, 0)",
        using_metrics=metrics,
        period=FIVE,
    )
