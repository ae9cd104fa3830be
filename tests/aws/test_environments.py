"""What code is told where it is deployed: every setting that it needs, and nothing that it does not read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from chalicelib import settings as functions
from chalicelib.coordinator.planner import Policy
from host_container import settings as hosts
from infra.aws.profiles import PROFILES
from tests.aws.deployed import Deployed
from tests.aws.templates import World, text

ROOT: Final = Path(__file__).resolve().parents[2]
HELD: Final = {
    "MODELROCKET_DISPATCH_KEY": "5a" * 32,
    "MODELROCKET_EDGE_KEY": "k" * 64,
    "MODELROCKET_MONGO_URL": "mongodb://127.0.0.1:1/",
    "MODELROCKET_PUBLIC_URL": "https://d111111abcdef8.cloudfront.net",
    "MODELROCKET_REDIS_URL": "rediss://127.0.0.1:2/0",
}
"""What secrets could hold, by the variable that names one."""
FOUND: Final = {"MODELROCKET_HOST_ID": "158d1c80", "MODELROCKET_HOST_ADDRESS": "10.60.17.4"}
"""What a host finds out when it starts."""
PLATFORMS: Final = frozenset({"AWS_DEFAULT_REGION", "AWS_REGION"})
"""What AWS's libraries read; CDK itself tells the second."""

Reads = Callable[[Mapping[str, str]], Any]
FUNCTION: Final[Reads] = functions.Settings.from_env
SETUP: Final[Reads] = functions.RecordSettings.from_env
HOST: Final[Reads] = hosts.Settings.from_env


class Asked(dict[str, str]):
    """An environment that remembers which variables were looked up."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


def test_functions_are_told_every_setting_that_they_need_and_nothing_else(world: World) -> None:
    for name, one in Deployed(world).functions().items():
        told = Asked({variable: _held(variable, value) for variable, value in one.environment.items()})
        assert refused(SETUP if name == "Setup" else FUNCTION, told) == set(), name
        assert told.keys() <= told.names, name


def test_hosts_are_told_every_setting_that_they_need_and_nothing_else(world: World) -> None:
    (task,) = world.of("AWS::ECS::TaskDefinition").values()
    (container,) = task["Properties"]["ContainerDefinitions"]
    secrets = {one["Name"]: HELD[one["Name"]] for one in container["Secrets"]}
    told = Asked({one["Name"]: text(one["Value"]) for one in container["Environment"]} | secrets)
    assert refused(HOST, told) == FOUND.keys()
    assert told.keys() <= told.names | PLATFORMS
    assert refused(HOST, told | FOUND) == set()


def test_only_the_coordinator_starts_and_ends_hosts(world: World) -> None:
    for name, one in Deployed(world).functions().items():
        if name != "Setup":
            read = FUNCTION({variable: _held(variable, value) for variable, value in one.environment.items()})
            assert (read.capacity is functions.CapacityKind.ECS) is (name == "Coordinator")
            assert (read.policy == Policy()) is (name != "Coordinator")


def test_the_coordinators_policy_stays_within_the_group_of_machines(world: World) -> None:
    environment = Deployed(world).functions()["Coordinator"].environment
    policy = FUNCTION({name: _held(name, value) for name, value in environment.items()}).policy
    group = world.one("AWS::AutoScaling::AutoScalingGroup")
    deployments = 2  # for a while there is each host and its successor
    assert policy.scaling.hosts_min == int(group["MinSize"])
    assert deployments * policy.scaling.hosts_max == int(group["MaxSize"])
    assert policy.scaling.boot_seconds == world.deployment.profile.hosts.boot_seconds


@pytest.mark.parametrize("name", PROFILES)
def test_a_host_that_comes_from_nowhere_is_not_taken_for_a_process(name: str) -> None:
    """It counts on the trend while it waits for one, and gives none away sooner than it could be back."""
    scaling = functions._policy(json.dumps(PROFILES[name].hosts.policy)).scaling
    assert scaling.boot_seconds >= scaling.forecast_boot_seconds_min
    assert scaling.down_delay_seconds >= scaling.boot_seconds


def test_functions_are_not_traced_whichever_way_they_are_deployed(world: World) -> None:
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    policy = json.loads((ROOT / ".chalice" / "function-policy.json").read_text())
    stages = [config, *config["stages"].values(), *config["lambda_functions"].values()]
    assert not any(one.get("xray") for one in stages)
    assert "xray" not in json.dumps(policy)
    assert not any("TracingConfig" in one["Properties"] for one in world.of("AWS::Lambda::Function").values())
    assert not world.one("AWS::ApiGateway::Stage").get("TracingEnabled")


def refused(reads: Reads, environ: Mapping[str, str]) -> set[str]:
    """The variables that are missing or wrong."""
    try:
        reads(environ)
    except (functions.InvalidSettings, hosts.InvalidSettings) as error:
        return set(re.findall(r"MODELROCKET_[A-Z0-9_]+", str(error)))
    return set()


def _held(variable: str, value: str) -> str:
    return HELD[variable] if value.startswith("arn:aws:secretsmanager:") else value
