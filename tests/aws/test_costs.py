"""What a deployment is said to cost: of as many things as its templates have, and as the guide says it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.gauges import Gauge
from chalicelib.prices import Prices
from infra.aws import costs
from infra.aws.costs import Choices, Line, Part, lines
from infra.aws.prices import PRICES, UNVERIFIED, Per, Price
from infra.aws.profiles import PROFILES
from tests.aws.templates import World

# What there is


def test_as_many_are_counted_as_there_are_in_the_templates(world: World) -> None:
    deployment = world.deployment
    chosen = Choices(
        mongo_is_outside=deployment.mongo_uri_secret is not None,
        has_domain=deployment.domain is not None,
        has_door=deployment.door_certificate is not None,
    )
    counted: Counter[str] = Counter()
    for line in lines(deployment.profile, chosen):
        counted[line.what] += int(line.count) if float(line.count).is_integer() else line.count  # type: ignore[assignment]
    assert counted == _standing(world)


def _standing(world: World) -> Counter[str]:
    """By the name of its price, what costs by being there."""
    found: Counter[Any] = Counter(
        {
            "secret": len(world.of("AWS::SecretsManager::Secret")),
            "KMS key": len(world.of("AWS::KMS::Key")),
            "alarm on a metric": sum(map(_metrics, _properties(world, "AWS::CloudWatch::Alarm"))),
            "dashboard": len(world.of("AWS::CloudWatch::Dashboard")),
            "budget": len(world.of("AWS::Budgets::Budget")),
            "load balancer": len(world.of("AWS::ElasticLoadBalancingV2::LoadBalancer")),
            "NAT gateway": len(world.of("AWS::EC2::NatGateway")),
            "metric of our own": len(Gauge),
            "public IPv4 address": len(world.of("AWS::EC2::EIP")),
        }
    )
    for endpoint in _properties(world, "AWS::EC2::VPCEndpoint"):
        if endpoint["VpcEndpointType"] == "Interface":
            found["endpoint in a zone"] += len(endpoint["SubnetIds"])
    for instance in _properties(world, "AWS::EC2::Instance"):
        found[instance["InstanceType"]] += 1
        found["public IPv4 address"] += sum(
            one.get("AssociatePublicIpAddress", False) for one in instance["NetworkInterfaces"]
        )
        found["gp3 disk"] += 8  # the image's, which no template says
    redis = world.one("AWS::ElastiCache::ReplicationGroup")
    found[redis["CacheNodeType"]] += redis["NumCacheClusters"]
    return +(found + _records(world) + _hosts(world))


def _records(world: World) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for cluster in _properties(world, "AWS::DocDB::DBCluster"):
        least = cluster.get("ServerlessV2ScalingConfiguration", {}).get("MinCapacity")
        for instance in _properties(world, "AWS::DocDB::DBInstance"):
            serverless = instance["DBInstanceClass"] == "db.serverless"
            found["DocumentDB unit" if serverless else instance["DBInstanceClass"]] += (
                least if serverless else 1
            )
    return found


def _hosts(world: World) -> Counter[Any]:
    group = world.one("AWS::AutoScaling::AutoScalingGroup")
    template = next(
        one["LaunchTemplateData"]
        for one in _properties(world, "AWS::EC2::LaunchTemplate")
        if "BlockDeviceMappings" in one["LaunchTemplateData"]
    )
    (disk,) = template["BlockDeviceMappings"]
    fewest = int(group["MinSize"])
    assert disk["Ebs"]["VolumeType"] == "gp3"
    assert disk["Ebs"]["VolumeSize"] == costs._DISK_GIB
    return Counter({template["InstanceType"]: fewest, "gp3 disk": fewest * disk["Ebs"]["VolumeSize"]})


def _properties(world: World, kind: str) -> list[Mapping[str, Any]]:
    return [resource["Properties"] for resource in world.of(kind).values()]


def _metrics(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in one for one in alarm["Metrics"]) if "Metrics" in alarm else 1


# What that is


def test_the_guide_says_what_is_computed() -> None:
    page = costs.PAGE.read_text()
    assert page == costs.written(page), "`make costs` writes it anew"


def test_a_page_without_a_place_for_the_tables_is_left_alone() -> None:
    with pytest.raises(ValueError, match="costs"):
        costs.written("# Deploying")


def test_every_profile_is_the_sum_of_its_lines() -> None:
    for profile in PROFILES.values():
        found = lines(profile)
        by_part = {part: costs.month_usd(line for line in found if line.part is part) for part in Part}
        assert sum(by_part.values()) == pytest.approx(costs.month_usd(found))
        assert by_part[Part.REDIS] == pytest.approx(
            profile.redis.nodes * 730 * PRICES[profile.redis.node_type].usd
        )


def test_what_is_used_up_has_no_price_a_month() -> None:
    assert Line(Part.REDIS, "cache.m7g.large", 2).month_usd == pytest.approx(184.544)
    assert Line(Part.DISKS, "gp3 disk", 100).month_usd == pytest.approx(8)
    with pytest.raises(ValueError, match="million"):
        Price(1, Per.MILLION, "a page").month_usd  # noqa: B018 - reading it is what is refused


def test_a_price_that_nobody_looked_up_says_so_in_the_guide() -> None:
    unverified = [what for what, price in PRICES.items() if price.source == UNVERIFIED]
    assert unverified
    assert all(price.source for price in PRICES.values())
    rows = costs.document().splitlines()
    for what in unverified:
        assert any(row.startswith(f"| {what} |") and UNVERIFIED in row for row in rows)


def test_users_estimates_are_of_the_same_prices() -> None:
    """Decision 24: they are defaults of a setting, which nobody has set here."""
    used, config = Prices(), json.loads(costs._CONFIG.read_text())
    memory_mib = config["lambda_functions"]["api_handler"]["lambda_memory_size"]
    assert used.function_gib * 1024 == memory_mib
    assert used.host_gib == PROFILES["standard"].hosts.memory_gib
    assert used.host_hour == PRICES[PROFILES["standard"].hosts.instance_type].usd


# What requests cost


def test_calls_cost_less_from_tier_to_tier() -> None:
    assert costs.api_usd(0) == 0
    assert costs.api_usd(333e6) == pytest.approx(333 * 3.50)
    assert costs.api_usd(1e9) == pytest.approx(333 * 3.50 + 667 * 2.80)
    assert costs.api_usd(21e9) == pytest.approx(333 * 3.50 + 667 * 2.80 + 19_000 * 2.38 + 1_000 * 1.51)


def test_a_function_is_paid_for_as_long_as_the_model_runs() -> None:
    assert costs.function_ms(0) == 2, "its own work and two round trips, rounded up"
    assert costs.function_ms(50) == 52
    paid, longer = (costs.requests_usd(1e6, run_ms=run_ms) for run_ms in (0, 50))
    assert longer["Lambda, time"] - paid["Lambda, time"] == pytest.approx(50e3 * 0.0000166667)
    assert {what: usd for what, usd in longer.items() if usd != paid[what]}.keys() == {"Lambda, time"}
