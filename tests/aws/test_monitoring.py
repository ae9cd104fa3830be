"""What the monitoring promises: who is told of what, and that what is watched is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.contract.hotstate import CapacityStatus
from chalicelib.contract.latency import Took
from chalicelib.contract.metering import Outcome, UsageKey
from chalicelib.coordinator.planner import Policy
from chalicelib.gauges import NAMESPACE, Gauge, Gauges
from chalicelib.wiring import ControlPlane
from tests.aws.templates import EMAIL, World, text
from tests.support.coordinating import ONCE, coordinator
from tests.support.metering import make_past

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK: Final = ROOT / "docs" / "operations.md"
STACK: Final = "Monitoring"
TOLD: Final = ("What it means", "What users notice", "Look", "Do", "Do not")
"""What a section of the runbook says, in this order."""
KINDS: Final = {
    "FunctionName": "AWS::Lambda::Function",
    "RuleName": "AWS::Events::Rule",
    "CacheClusterId": "AWS::ElastiCache::ReplicationGroup",
    "DBClusterIdentifier": "AWS::DocDB::DBCluster",
    "Stage": "AWS::ApiGateway::Stage",
}
"""By the dimension, what its value is the name of."""
PUBLISHED: Final[Mapping[str, tuple[set[str], set[str]]]] = {
    "AWS/Lambda": ({"FunctionName"}, {"Errors", "Throttles", "Duration", "ConcurrentExecutions"}),
    "AWS/Events": ({"RuleName"}, {"FailedInvocations"}),
    "AWS/ApiGateway": ({"ApiName", "Stage"}, {"Count", "4XXError", "5XXError", "Latency"}),
    "AWS/ElastiCache": (
        {"CacheClusterId"},
        {"DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions"},
    ),
    "AWS/DocDB": (
        {"DBClusterIdentifier"},
        {"CPUUtilization", "DatabaseConnectionsMax", "DatabaseConnectionsLimit", "VolumeBytesUsed"},
    ),
}
"""What AWS documents: by the namespace, the dimensions that go together, and metrics that have them."""
AT_REST: Final = {
    "Errors": 0,
    "Throttles": 0,
    "Duration": 52_000,
    "DatabaseMemoryUsagePercentage": 4,
    "EngineCPUUtilization": 1,
    "Evictions": 0,
    "CPUUtilization": 6,
    "DatabaseConnectionsMax": 6,
    "DatabaseConnectionsLimit": 250,
    "VolumeBytesUsed": 2e8,
}
"""What AWS says where nobody asks anything and the coordinator alone works. There are no other metrics."""
OF_CALLS: Final = {"Errors", "Throttles", "Duration"}
"""Metrics of functions that are there only when these are called."""
BAD: Final[Mapping[str, Mapping[str, float]]] = {
    "CoordinatorSilent": {"Passes": 0},
    "CoordinatorFailing": {"Failures": 2},
    "UnmetDemand": {"Unmet": 1},
    "HostsMissing": {"HostsWanted": 2, "HostsReady": 1},
    "HostsAtMost": {"HostsWanted": 20},
    "PlatformErrors": {"Requests": 1_000, "Errors": 150},
    "VersionQuarantined": {"Quarantined": 1},
    "PreparationStuck": {"Preparing": 1_000},
    "ApiErrors": {"Count": 1_000, "5XXError": 150},
    "ApiSlow": {"Count": 1_000, "Latency": 16_000},
    "FunctionErrors": {"Errors": 25},
    "FunctionThrottles": {"Throttles": 25},
    "FunctionSlow": {"Duration": 85_000},
    "ScheduleDead": {"FailedInvocations": 1},
    "RedisMemory": {"DatabaseMemoryUsagePercentage": 85},
    "RedisBusy": {"EngineCPUUtilization": 95},
    "RedisEvicting": {"Evictions": 1},
    "RecordsBusy": {"CPUUtilization": 95},
    "RecordsConnections": {"DatabaseConnectionsMax": 240, "DatabaseConnectionsLimit": 250},
    "RecordsLarge": {"VolumeBytesUsed": 2e11},
}
"""By the kind of the alarm, values that it is for."""
FROM_ZERO: Final = msgspec.json.decode(b'{"scaling": {"hosts_min": 0}}', type=Policy)


@dataclass(frozen=True, slots=True)
class Metric:
    namespace: str
    name: str
    dimensions: Mapping[str, Any]


class Alarm:
    """One, by its name without the stack's."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.properties = properties
        self.name: str = properties["AlarmName"].removeprefix("ModelRocket-Monitoring-")
        self.missing = properties["TreatMissingData"]
        self.seconds = properties["EvaluationPeriods"] * _period(properties)
        assert properties["DatapointsToAlarm"] == properties["EvaluationPeriods"]

    @property
    def kind(self) -> str:
        """Without what there are several of."""
        named = re.sub(r"^(Inference|Management|Coordinator)(?=Errors|Throttles|Slow)", "Function", self.name)
        return re.sub(r"\d+$", "", named)

    @property
    def section(self) -> str:
        pointed = re.search(
            r" What to do: docs/operations\.md#([a-z-]+)$", self.properties["AlarmDescription"]
        )
        assert pointed is not None, self.name
        return pointed[1]

    @property
    def metrics(self) -> dict[str, Metric]:
        """By the name that an expression has for it."""
        if "MetricName" in self.properties:
            return {"": _metric(self.properties)}
        queries = [one for one in self.properties["Metrics"] if "MetricStat" in one]
        return {one["Id"]: _metric(one["MetricStat"]["Metric"]) for one in queries}

    def alarms(self, values: Mapping[str, float]) -> bool:
        """Where these are its metrics' values in every period, by their names. A missing one is missing."""
        value = self._value({id_: values.get(metric.name) for id_, metric in self.metrics.items()})
        if value is None:
            return bool(self.missing == "breaching")
        below = self.properties["ComparisonOperator"] == "LessThanThreshold"
        limit = self.properties["Threshold"]
        return bool(value < limit if below else value >= limit)

    def _value(self, values: Mapping[str, float | None]) -> float | None:
        expressions = [one["Expression"] for one in self.properties.get("Metrics", ()) if "Expression" in one]
        if None in values.values() or not expressions:
            (value,) = values.values() if len(values) == 1 else (None,)
            return value
        (expression,) = expressions
        try:
            return float(
                eval(expression, {"IF": lambda so, then, other: then if so else other}, dict(values))
            )
        except ZeroDivisionError:
            return None


def _metric(described: Mapping[str, Any]) -> Metric:
    dimensions = {one["Name"]: one["Value"] for one in described.get("Dimensions", ())}
    return Metric(described["Namespace"], described["MetricName"], dimensions)


def _period(properties: Mapping[str, Any]) -> int:
    if "Period" in properties:
        return int(properties["Period"])
    (period,) = {one["MetricStat"]["Period"] for one in properties["Metrics"] if "MetricStat" in one}
    return int(period)


def alarms(world: World) -> list[Alarm]:
    return [Alarm(one["Properties"]) for one in world.of("AWS::CloudWatch::Alarm").values()]


def dashboard(world: World) -> Any:
    return json.loads(text(world.one("AWS::CloudWatch::Dashboard")["DashboardBody"]))


def shown(world: World) -> Iterator[Metric]:
    """What the dashboard draws. A dot means the same as in the line before."""
    for widget in dashboard(world)["widgets"]:
        before: list[Any] = []
        for line in widget["properties"].get("metrics", ()):
            told = [one for one in line if not isinstance(one, dict)]
            before = [before[place] if one == "." else one for place, one in enumerate(told)]
            yield Metric(before[0], before[1], dict(zip(before[2::2], before[3::2], strict=True)))


def named(world: World, value: Any) -> tuple[str, str, str]:
    """The type and the id of the resource that a value of another stack's names, and what comes after it."""
    reference, after = re.fullmatch(r"<([^>]+)>(.*)", text(value)).groups()  # type: ignore[union-attr]
    for template in world.templates.values():
        for output in template.get("Outputs", {}).values():
            if output.get("Export", {}).get("Name") == reference:
                id_ = output["Value"]["Ref"]
                return template["Resources"][id_]["Type"], id_, after
    raise AssertionError(f"{reference} is no output of any stack")


def check_is_there(world: World, metric: Metric) -> None:
    if metric.namespace == NAMESPACE:
        assert metric.name in set(Gauge) and not metric.dimensions
        return
    dimensions, names = PUBLISHED[metric.namespace]
    assert (set(metric.dimensions), metric.name in names) == (dimensions, True), metric
    for dimension, value in metric.dimensions.items():
        if dimension == "ApiName":
            api = world.one("AWS::ApiGateway::RestApi")
            assert value == api["Name"] == api["Body"]["info"]["title"]
            continue
        kind, id_, after = named(world, value)
        assert kind == KINDS[dimension], metric
        if dimension == "CacheClusterId":
            nodes = world.one("AWS::ElastiCache::ReplicationGroup")["NumCacheClusters"]
            assert after in {f"-{number:03}" for number in range(1, nodes + 1)}
        else:
            assert after == "", (metric, id_)


def sections() -> dict[str, str]:
    """Of the runbook, those of alarms: by how they are linked to."""
    _, _, rest = RUNBOOK.read_text().partition("\n## Alarms\n")
    chapter = re.split(r"^## ", rest, flags=re.MULTILINE)[0]
    found = re.split(r"^### (.+)\n", chapter, flags=re.MULTILINE)[1:]
    return {name.lower().replace(" ", "-"): body for name, body in zip(found[::2], found[1::2], strict=True)}


# Who is told


def test_nothing_is_watched_that_is_not_yet_whole(world: World) -> None:
    """Functions find the site's name in its stack, so the coordinator decides nothing before."""
    stacks = json.loads((world.folder / "manifest.json").read_text())["artifacts"]
    assert {"ModelRocket-ControlPlane", "ModelRocket-Site"} <= set(
        stacks["ModelRocket-Monitoring"]["dependencies"]
    )


def test_every_alarm_tells_when_it_begins_and_when_it_is_over(world: World) -> None:
    (topic,) = world.of("AWS::SNS::Topic")
    assert len(alarms(world)) > 20
    for alarm in alarms(world):
        told = [{"Ref": topic}]
        assert alarm.properties["AlarmActions"] == alarm.properties["OKActions"] == told, alarm.name
        assert alarm.properties.get("ActionsEnabled", True), alarm.name


def test_the_topic_is_encrypted_with_a_key_that_lets_alarms_and_the_budget_publish(world: World) -> None:
    """AWS's own key for topics would let neither, and they would say so to nobody."""
    (policy,) = world.of("AWS::SNS::TopicPolicy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    refused = [one for one in statements if one["Effect"] == "Deny"]
    assert [one["Condition"] for one in refused] == [{"Bool": {"aws:SecureTransport": "false"}}]
    key = world.one("AWS::SNS::Topic")["KmsMasterKeyId"]["Fn::GetAtt"][0]
    of_key = world.of("AWS::KMS::Key")[key]["Properties"]["KeyPolicy"]["Statement"]
    publish = [one for one in statements if one["Effect"] == "Allow"]
    encrypt = [one for one in of_key if "Service" in one["Principal"]]
    for one in (*publish, *encrypt):
        assert set(one["Principal"]["Service"]) == {"budgets.amazonaws.com", "cloudwatch.amazonaws.com"}
        assert one["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert [one["Action"] for one in publish] == ["sns:Publish"]
    assert [set(one["Action"]) for one in encrypt] == [{"kms:Decrypt", "kms:GenerateDataKey*"}]


def test_an_e_mail_goes_to_whoever_was_named(worlds: Mapping[str, World]) -> None:
    found = {
        name: [one["Properties"] for one in world.of("AWS::SNS::Subscription").values()]
        for name, world in worlds.items()
    }
    (subscribed,) = found.pop("standard")
    assert (subscribed["Protocol"], subscribed["Endpoint"]) == ("email", EMAIL)
    assert list(found.values()) == [[], []]


def test_the_budget_is_the_profiles_or_the_one_chosen_and_tells_before_it_is_spent(
    worlds: Mapping[str, World],
) -> None:
    budgets = {name: world.one("AWS::Budgets::Budget") for name, world in worlds.items()}
    limits = {name: one["Budget"]["BudgetLimit"] for name, one in budgets.items()}
    assert {one["Unit"] for one in limits.values()} == {"USD"}
    assert {name: one["Amount"] for name, one in limits.items()} == {
        name: world.deployment.budget_usd for name, world in worlds.items()
    }
    assert limits["standard"]["Amount"] == 1000
    for name, budget in budgets.items():
        told = budget["NotificationsWithSubscribers"]
        assert [
            (one["Notification"]["NotificationType"], one["Notification"]["Threshold"]) for one in told
        ] == [("FORECASTED", 80), ("ACTUAL", 100)]
        (topic,) = worlds[name].of("AWS::SNS::Topic")
        assert [one["Subscribers"] for one in told] == [
            [{"SubscriptionType": "SNS", "Address": {"Ref": topic}}]
        ] * 2


# Of what


def test_what_an_alarm_watches_is_there(world: World) -> None:
    for alarm in alarms(world):
        assert alarm.metrics, alarm.name
        for metric in alarm.metrics.values():
            check_is_there(world, metric)


def test_what_the_dashboard_shows_is_there_and_all_alarms_are_on_it(world: World) -> None:
    drawn = list(shown(world))
    assert len(drawn) > 20
    for metric in drawn:
        check_is_there(world, metric)
    (listed,) = [one["properties"] for one in dashboard(world)["widgets"] if one["type"] == "alarm"]
    ids = set(world.of("AWS::CloudWatch::Alarm"))
    assert {one.strip("<>").removesuffix(".Arn") for one in listed["alarms"]} == ids


def test_what_the_coordinator_tells_is_what_is_watched_and_each_of_it_is_shown(
    world: World, plane: ControlPlane, raw_redis: Any
) -> None:
    """Each is paid for."""
    answered = Outcome(key=UsageKey("alice", "key", "model", 1), status=200, took=Took(total=40_000))
    plane.hot.tell_usage("a", 1, sums={}, outcomes=[answered])
    make_past(raw_redis, raw_redis.time()[0] // 60 - 1)
    told = set(lines(plane))
    used = {one.name for alarm in alarms(world) for one in alarm.metrics.values() if not one.dimensions}
    assert used < told == {one.name for one in shown(world) if one.namespace == NAMESPACE}
    environments = {
        name[:-8]: one["Properties"]["Environment"]["Variables"].get("MODELROCKET_GAUGES")
        for name, one in world.templates["ControlPlane"]["Resources"].items()
        if one["Type"] == "AWS::Lambda::Function"
    }
    assert environments.pop("Coordinator") == "cloudwatch"
    assert set(environments.values()) == {None}


def test_every_function_that_serves_is_watched_in_three_ways(world: World) -> None:
    watched: dict[str, set[str]] = {}
    for alarm in alarms(world):
        for metric in alarm.metrics.values():
            if metric.namespace == "AWS/Lambda":
                _, id_, _ = named(world, metric.dimensions["FunctionName"])
                watched.setdefault(id_, set()).add(metric.name)
    serving = {
        name
        for name, one in world.templates["ControlPlane"]["Resources"].items()
        if one["Type"] == "AWS::Lambda::Function"
    }
    assert watched == {name: {"Errors", "Throttles", "Duration"} for name in serving}


def test_documentdb_is_watched_where_it_is_ours(worlds: Mapping[str, World]) -> None:
    for name, world in worlds.items():
        found = [alarm.name for alarm in alarms(world) if alarm.name.startswith("Records")]
        assert len(found) == (0 if name == "standard" else 3), name
        assert ("AWS/DocDB" in {one.namespace for one in shown(world)}) is (name != "standard")


# When


def test_only_the_heartbeat_may_not_be_missing(world: World) -> None:
    treated = {alarm.name: alarm.missing for alarm in alarms(world)}
    assert treated.pop("CoordinatorSilent") == "breaching"
    assert set(treated.values()) == {"notBreaching"}
    (heartbeat,) = [alarm for alarm in alarms(world) if alarm.name == "CoordinatorSilent"]
    assert heartbeat.seconds == 300
    assert heartbeat.alarms({})


def test_where_nothing_is_asked_nothing_is_said(world: World, plane: ControlPlane) -> None:
    """With what a coordinator tells that has no host, wants none, and was asked nothing."""
    told = lines(plane)
    assert (told["HostsWanted"], told["HostsReady"], told["Requests"]) == (0, 0, 0)
    called = told | AT_REST
    others = {name: value for name, value in called.items() if name not in OF_CALLS}
    at_rest = {
        alarm.name: others if alarm.name.startswith(("Inference", "Management")) else called
        for alarm in alarms(world)
    }
    assert [alarm.name for alarm in alarms(world) if alarm.alarms(at_rest[alarm.name])] == []


@pytest.mark.parametrize(("kind", "values"), BAD.items())
def test_an_alarm_says_what_it_is_for(
    worlds: Mapping[str, World], kind: str, values: Mapping[str, float]
) -> None:
    meant = [alarm for world in worlds.values() for alarm in alarms(world) if alarm.kind == kind]
    assert meant
    assert [alarm.name for alarm in meant if not alarm.alarms(values)] == []


def test_there_are_bad_values_for_every_alarm(world: World) -> None:
    assert {alarm.kind for alarm in alarms(world)} <= set(BAD)


@pytest.mark.parametrize("name", ["ApiErrors", "PlatformErrors"])
def test_a_few_requests_that_fail_wake_nobody(world: World, name: str) -> None:
    (alarm,) = [one for one in alarms(world) if one.name == name]
    for few in (0, 3, world.deployment.profile.watch.requests_min - 1):
        assert not alarm.alarms({"Count": few, "5XXError": few, "Requests": few, "Errors": few})
    enough = world.deployment.profile.watch.requests_min
    assert alarm.alarms({"Count": enough, "5XXError": enough, "Requests": enough, "Errors": enough})


def test_a_host_that_is_on_its_way_wakes_nobody(world: World) -> None:
    boot_seconds = world.deployment.profile.hosts.boot_seconds
    late = {alarm.name: alarm.seconds for alarm in alarms(world)}
    assert late["UnmetDemand"] >= 2 * boot_seconds
    assert late["HostsMissing"] >= 3 * boot_seconds


def test_functions_that_end_in_time_are_not_slow(world: World) -> None:
    resources = world.templates["ControlPlane"]["Resources"]
    for alarm in alarms(world):
        if alarm.kind == "FunctionSlow":
            _, id_, _ = named(world, alarm.metrics[""].dimensions["FunctionName"])
            timeout_ms = 1000 * resources[id_]["Properties"]["Timeout"]
            assert 0.85 * timeout_ms < alarm.properties["Threshold"] < timeout_ms


# What to do


def test_every_alarm_has_its_section_and_every_section_an_alarm(worlds: Mapping[str, World]) -> None:
    pointed = {alarm.section for world in worlds.values() for alarm in alarms(world)}
    assert pointed == set(sections())


@pytest.mark.parametrize("name", sections())
def test_a_section_says_what_it_means_and_what_to_do_and_which_alarms_it_is_about(
    worlds: Mapping[str, World], name: str
) -> None:
    body = sections()[name]
    assert tuple(re.findall(r"^\*\*(.+?)\.\*\*", body, flags=re.MULTILINE)) == TOLD
    about = {
        re.sub(r"\d+$", "", alarm.name)
        for world in worlds.values()
        for alarm in alarms(world)
        if alarm.section == name
    }
    first = body.strip().splitlines()[0]
    assert set(re.findall(r"`(\w+?)N?`", first)) == about


def lines(plane: ControlPlane) -> dict[str, float]:
    """What one run of the coordinator tells, where hosts come only when somebody asks."""
    plane.hot.put_capacity_status(CapacityStatus())
    one = coordinator(plane, "idle", capacity=LocalCapacity(plane.hot), policy=FROM_ZERO, loop=ONCE)
    one.run()
    told: list[str] = []
    Gauges(hot=plane.hot, clock=lambda: 1.0, write=told.append).tell(one.tally)
    values = json.loads(told[0])
    del values["_aws"]
    return dict(values)
