"""What the template of the hosts promises: what they may do, who reaches them, how they come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.uploads import MODELS
from host_container.settings import Isolation, Settings
from infra.aws.profiles import PROFILES
from tests.aws.templates import World, text

ROOT = Path(__file__).resolve().parents[2]
OWN = {"MODELROCKET_HOST_ID": "158d1c80", "MODELROCKET_HOST_ADDRESS": "10.60.17.4"}
"""What a host finds out when it starts."""
GIB = 2**30
LEAVING_SECONDS = 5
"""After what was in flight has been answered."""


def resources(world: World, kind: str) -> dict[str, Any]:
    """The properties of what the stack has of this type, by id without CDK's hash."""
    found = world.templates["Hosts"]["Resources"]
    return {name[:-8]: one["Properties"] for name, one in found.items() if one["Type"] == kind}


def the(world: World, kind: str) -> Any:
    (one,) = resources(world, kind).values()
    return one


def container(world: World) -> Any:
    (one,) = the(world, "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return one


def variables(world: World) -> dict[str, str]:
    return {one["Name"]: text(one["Value"]) for one in container(world)["Environment"]}


def settings(world: World) -> Settings:
    """As the host will read them."""
    secrets = {
        "MODELROCKET_REDIS_URL": "rediss://host:secret@redis.example.com:6379/0",
        "MODELROCKET_DISPATCH_KEY": "0f" * 32,
    }
    assert {one["Name"] for one in container(world)["Secrets"]} == set(secrets)
    return Settings.from_env(variables(world) | secrets | OWN)


def allowed(world: World, role: str) -> Iterator[tuple[set[str], set[str]]]:
    """Of each statement the actions and the resources."""
    for name, policy in resources(world, "AWS::IAM::Policy").items():
        if name.startswith(role):
            for one in policy["PolicyDocument"]["Statement"]:
                assert one["Effect"] == "Allow"
                yield set(_listed(one["Action"])), set(map(text, _listed(one["Resource"])))


# What a host is


def test_a_host_is_where_it_says_and_closes_models_in(world: World) -> None:
    assert settings(world).port == container(world)["PortMappings"][0]["ContainerPort"]
    assert str(settings(world).neighbours) == "10.60.0.0/16"
    assert settings(world).sandbox_required


def test_no_secret_is_in_the_environment_but_by_its_name(world: World) -> None:
    secrets = {one["Name"]: text(one["ValueFrom"]) for one in container(world)["Secrets"]}
    assert ":ExportsOutputRefRedisUrlhost" in secrets["MODELROCKET_REDIS_URL"]
    assert ":ExportsOutputRefDispatchKey" in secrets["MODELROCKET_DISPATCH_KEY"]
    assert not any("resolve" in value for value in variables(world).values())


def test_what_it_keeps_fits_the_machine(world: World) -> None:
    size = world.deployment.profile.hosts
    memory_bytes = container(world)["Memory"] * 2**20
    template = the(world, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    (disk,) = template["BlockDeviceMappings"]
    assert settings(world).memory_bytes_max < memory_bytes < (size.memory_gib - 1) * GIB
    assert settings(world).disk_bytes_max < (disk["Ebs"]["VolumeSize"] - 30) * GIB
    assert disk["Ebs"]["Encrypted"] is True
    assert template["InstanceType"] == size.instance_type


def test_it_can_change_nothing_but_its_cache(world: World) -> None:
    one = container(world)
    assert one["ReadonlyRootFilesystem"] is True
    assert one["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert one["DockerSecurityOptions"] == ["no-new-privileges"]
    assert "Privileged" not in one and "User" not in one  # the image's own user
    (mount,) = one["MountPoints"]
    (volume,) = the(world, "AWS::ECS::TaskDefinition")["Volumes"]
    assert (mount["ContainerPath"], mount["SourceVolume"]) == (str(settings(world).cache_dir), volume["Name"])
    assert volume["Host"] == {}
    bounds = {limit["Name"]: limit["HardLimit"] for limit in one["Ulimits"]}
    assert bounds.keys() == {"nofile", "nproc", "core"}
    assert bounds["core"] == 0


def test_a_gpu_is_asked_for_only_where_there_is_one(world: World) -> None:
    size = world.deployment.profile.hosts
    assert ("ResourceRequirements" in container(world)) is size.has_gpu
    image = the(world, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["ImageId"]["Ref"]
    parameter = world.templates["Hosts"]["Parameters"][image]["Default"]
    assert parameter.startswith("/aws/service/ecs/optimized-ami/amazon-linux-2023/")
    assert ("/gpu/" in parameter) is size.has_gpu


def test_all_models_on_a_gpu_share_a_worker_that_leaves_some_of_its_memory(world: World) -> None:
    """One worker, one CUDA context, one limit: how many tenants' there would be else nobody knows."""
    size, host = world.deployment.profile.hosts, settings(world)
    assert (host.isolation is Isolation.HOST) is size.has_gpu
    assert (host.gpu_memory_bytes_max is not None) is size.has_gpu
    if host.gpu_memory_bytes_max is not None:
        assert host.memory_bytes_max <= host.gpu_memory_bytes_max <= (size.gpu_memory_gib - 3) * GIB


def test_its_image_is_built_of_what_it_runs_and_of_nothing_else(world: World) -> None:
    manifest = json.loads((world.folder / "ModelRocket-Hosts.assets.json").read_text())
    (image,) = manifest["dockerImages"].values()
    source = image["source"]
    assert source["dockerFile"] == "host_container/Dockerfile"
    assert source["dockerBuildArgs"] == {
        "PROVIDER": "cuda" if world.deployment.profile.hosts.has_gpu else "cpu"
    }
    folder = world.folder / source["directory"]
    sent = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - {
        Path(".dockerignore")
    }
    parts = {path.parts[:2] for path in sent if path.parts[0] != "host_container"}
    assert parts == {
        ("requirements", "host.txt"),
        ("requirements", "host-gpu.txt"),
        ("chalicelib", "__init__.py"),
        ("chalicelib", "contract"),
        ("client", "modelrocket"),
    }
    assert Path("host_container/__main__.py") in sent
    assert not any(path.suffix == ".pyc" for path in sent)


# What it may do


def test_a_host_reads_models_and_may_do_nothing_else(world: World) -> None:
    reading, decrypting = allowed(world, "TaskTaskRole")
    assert reading[0] == {"s3:GetObject"}
    (models,) = reading[1]
    assert models.endswith(f"/{MODELS}*") and ":ExportsOutputFnGetAttModels" in models
    assert decrypting[0] == {"kms:Decrypt"}
    conditions = [
        one["Condition"]["StringEquals"]
        for name, policy in resources(world, "AWS::IAM::Policy").items()
        if name.startswith("TaskTaskRole")
        for one in policy["PolicyDocument"]["Statement"]
        if "Condition" in one
    ]
    assert [one["kms:ViaService"] for one in conditions] == ["s3.us-east-1.amazonaws.com"]


def test_what_starts_a_host_reads_its_secrets_and_no_others(world: World) -> None:
    secrets = {text(one["ValueFrom"]) for one in container(world)["Secrets"]}
    read = [
        what
        for actions, what in allowed(world, "TaskExecutionRole")
        if "secretsmanager:GetSecretValue" in actions
    ]
    assert read == [secrets]


def test_a_machine_does_nothing_but_its_clusters_work(world: World) -> None:
    (role,) = [one for name, one in resources(world, "AWS::IAM::Role").items() if name == "MachinesRole"]
    assert "ManagedPolicyArns" not in role
    services = {action.split(":")[0] for actions, _ in allowed(world, "MachinesRole") for action in actions}
    assert services == {"ecs"}


def test_a_host_cannot_become_its_machine(world: World) -> None:
    """The machine's credentials are asked for over the network: its answers go no further than the machine
    itself, and a task with a network of its own is told nothing at all."""
    template = the(world, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert template["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    script = text(template["UserData"]["Fn::Base64"])
    assert "ECS_AWSVPC_BLOCK_IMDS=true" in script
    assert "ECS_DISABLE_PRIVILEGED=true" in script
    assert the(world, "AWS::ECS::TaskDefinition")["NetworkMode"] == "awsvpc"
    assert "KeyName" not in template


# Who reaches it


def test_hosts_are_reached_by_functions_by_each_other_and_by_their_door(world: World) -> None:
    door = {"DoorSecurityGroup"} if world.deployment.door_certificate else set()
    reached = {
        (_group(rule["GroupId"]), _group(rule["SourceSecurityGroupId"]), rule["FromPort"], rule["ToPort"])
        for rule in resources(world, "AWS::EC2::SecurityGroupIngress").values()
    }
    port = settings(world).port
    assert reached == {("Hosts", source, port, port) for source in {"Clients", "Hosts"} | door}
    assert "SecurityGroupIngress" not in resources(world, "AWS::EC2::SecurityGroup")["Hosts"]


def test_nobody_reaches_a_machine(world: World) -> None:
    machine = resources(world, "AWS::EC2::SecurityGroup")["MachinesSecurityGroup"]
    assert "SecurityGroupIngress" not in machine
    assert [(rule["FromPort"], rule["ToPort"]) for rule in machine["SecurityGroupEgress"]] == [(443, 443)]


def test_a_host_reaches_redis_as_its_client_and_has_no_public_address(world: World) -> None:
    network = the(world, "AWS::ECS::Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
    own, redis = map(text, network["SecurityGroups"])
    assert own.startswith("<Hosts") and ":ExportsOutputFnGetAttRedisClients" in redis
    assert network["AssignPublicIp"] == "DISABLED"


def test_the_door_speaks_tls_inside_the_network_only(worlds: Mapping[str, World]) -> None:
    door = worlds["standard"]
    balancer = the(door, "AWS::ElasticLoadBalancingV2::LoadBalancer")
    assert balancer["Scheme"] == "internal"
    attributes = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
    assert int(attributes["idle_timeout.timeout_seconds"]) < limits.IDLE_SECONDS_MAX
    listener = the(door, "AWS::ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert listener["Certificates"] == [{"CertificateArn": door.deployment.door_certificate}]
    assert "TLS13" in listener["SslPolicy"]
    target = the(door, "AWS::ElasticLoadBalancingV2::TargetGroup")
    assert (target["TargetType"], target["HealthCheckPath"]) == ("ip", "/readyz")


@pytest.mark.parametrize("name", ["small", "gpu"])
def test_without_a_certificate_there_is_no_door(worlds: Mapping[str, World], name: str) -> None:
    assert resources(worlds[name], "AWS::ElasticLoadBalancingV2::LoadBalancer") == {}


# How they come and go


def test_the_coordinator_says_how_many_there_are(world: World) -> None:
    service = the(world, "AWS::ECS::Service")
    assert "DesiredCount" not in service
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert world.of("AWS::ApplicationAutoScaling::ScalableTarget") == {}


def test_a_deployment_replaces_hosts_before_it_ends_them_and_goes_back_where_it_fails(world: World) -> None:
    how = the(world, "AWS::ECS::Service")["DeploymentConfiguration"]
    assert (how["MinimumHealthyPercent"], how["MaximumPercent"]) == (100, 200)
    assert how["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    group = the(world, "AWS::AutoScaling::AutoScalingGroup")
    size = world.deployment.profile.hosts
    assert (int(group["MinSize"]), int(group["MaxSize"])) == (size.fewest, 2 * size.most)
    assert "DesiredCapacity" not in group


def test_a_machine_is_one_hosts_and_goes_only_without_it(world: World) -> None:
    service, provider = the(world, "AWS::ECS::Service"), the(world, "AWS::ECS::CapacityProvider")
    assert service["PlacementConstraints"] == [{"Type": "distinctInstance"}]
    assert "LaunchType" not in service and len(service["CapacityProviderStrategy"]) == 1
    managed = provider["AutoScalingGroupProvider"]
    assert managed["ManagedTerminationProtection"] == managed["ManagedDraining"] == "ENABLED"
    assert managed["ManagedScaling"]["Status"] == "ENABLED"
    assert the(world, "AWS::AutoScaling::AutoScalingGroup")["NewInstancesProtectedFromScaleIn"] is True


def test_a_host_that_is_told_to_stop_has_time_to_answer_what_it_has_taken(world: World) -> None:
    needed = limits.DRAIN_PROPAGATION_SECONDS + limits.DRAIN_SECONDS_MAX + LEAVING_SECONDS
    assert container(world)["StopTimeout"] >= needed
    assert container(world)["LinuxParameters"]["InitProcessEnabled"] is True


def test_what_hosts_write_is_kept_for_a_while_and_never_waited_for(world: World) -> None:
    options = container(world)["LogConfiguration"]["Options"]
    assert options["mode"] == "non-blocking"
    assert the(world, "AWS::Logs::LogGroup")["RetentionInDays"] == 30


def test_only_sizes_with_hosts_at_all_times_pay_for_them() -> None:
    assert {name: profile.hosts.fewest for name, profile in PROFILES.items()} == {
        "small": 0,
        "standard": 2,
        "gpu": 1,
    }


def _group(reference: Any) -> str:
    """A security group of the stack, by its id without CDK's hash."""
    return str(reference["Fn::GetAtt"][0])[:-8]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
