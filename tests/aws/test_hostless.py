"""Hosts and machines go, however their group is protected, before the stack that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.autoscaling.models import autoscaling_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from infra.aws.cloud import CannotGoOn, Clock, Cloud, StackState
from infra.aws.hostless import has_failed, let_go, let_go_of_failed

STACK: Final = "Hosts"
IDS: Final = {
    "AWS::ECS::Cluster": ["rocket"],
    "AWS::ECS::Service": ["hosts"],
    "AWS::AutoScaling::AutoScalingGroup": ["machines"],
}


@dataclass
class Hours:
    """Time that passes while one waits."""

    now: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


class Deployed(Cloud):
    """Whose resources are known without CloudFormation, and who is told the state of their stack."""

    status = "CREATE_COMPLETE"

    def stack(self, name: str) -> StackState | None:
        assert name == STACK
        return StackState(name, self.status, "", {}, datetime.now(UTC))

    def resources(self, stack: str, kind: str) -> list[str]:
        assert stack == STACK
        return IDS[kind]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """A service of two hosts, on two machines that nobody may end."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        cloud = Deployed(botocore.session.Session(), "us-east-1")
        subnet = cloud.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
        autoscaling, ecs = cloud.client("autoscaling"), cloud.client("ecs")
        autoscaling.create_launch_configuration(
            LaunchConfigurationName="machine", ImageId="ami-12c6146b", InstanceType="t2.micro"
        )
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="machines",
            MinSize=2,
            MaxSize=4,
            LaunchConfigurationName="machine",
            VPCZoneIdentifier=subnet,
            NewInstancesProtectedFromScaleIn=True,
        )
        ecs.create_cluster(clusterName="rocket")
        ecs.register_task_definition(
            family="host", containerDefinitions=[{"name": "host", "image": "host", "memory": 10}]
        )
        ecs.create_service(cluster="rocket", serviceName="hosts", taskDefinition="host", desiredCount=2)
        yield cloud


def machines(cloud: Cloud) -> list[str]:
    (group,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return [one["InstanceId"] for one in group["Instances"]]


def test_protected_machines_go_and_none_comes_after_them(cloud: Cloud) -> None:
    hours = Hours()
    assert len(machines(cloud)) == 2
    let_go(cloud, STACK, hours.clock)
    assert machines(cloud) == []
    (group,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["MinSize"], group["DesiredCapacity"]) == (0, 0)
    (service,) = cloud.client("ecs").describe_services(cluster="rocket", services=["hosts"])["services"]
    assert service["desiredCount"] == 0


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("ROLLBACK_IN_PROGRESS", True),
        ("ROLLBACK_FAILED", True),
        ("ROLLBACK_COMPLETE", False),
        ("UPDATE_ROLLBACK_FAILED", False),
        ("CREATE_COMPLETE", False),
    ],
)
def test_only_hosts_that_never_stood_have_failed(
    cloud: Deployed, monkeypatch: pytest.MonkeyPatch, status: str, failed: bool
) -> None:
    monkeypatch.setattr(cloud, "status", status)
    assert has_failed(cloud, STACK) is failed


def test_what_aws_takes_back_is_gone_before_it_is_made_anew(
    cloud: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS ends once machines have gone, and not before."""
    monkeypatch.setattr(cloud, "status", "ROLLBACK_IN_PROGRESS")
    hours = Hours()

    def sleep(seconds: float) -> None:
        hours.now += seconds
        if hours.now > 60 and machines(cloud) == []:
            monkeypatch.setattr(cloud, "status", "ROLLBACK_COMPLETE")

    let_go_of_failed(cloud, STACK, Clock(lambda: hours.now, sleep))
    assert machines(cloud) == []
    assert cloud.status == "ROLLBACK_COMPLETE"


def test_a_second_time_there_is_nothing_to_wait_for(cloud: Cloud) -> None:
    let_go(cloud, STACK, Hours().clock)
    hours = Hours()
    let_go(cloud, STACK, hours.clock)
    assert hours.now == 0


def test_a_machine_that_goes_already_is_let_go(cloud: Cloud) -> None:
    """AWS refuses to change the protection of one; moto knows none that takes its time."""
    group = autoscaling_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].autoscaling_groups["machines"]
    going = group.instance_states[0]
    going.lifecycle_state = "Terminating:Wait"

    def refuse(params: dict[str, Any], **_: Any) -> None:
        if going.instance.id in params["InstanceIds"]:
            said = f"The instance {going.instance.id} is not in InService or EnteringStandby or Standby."
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": said}}, "SetInstanceProtection"
            )

    events = cloud.client("autoscaling").meta.events
    events.register("provide-client-params.auto-scaling.SetInstanceProtection", refuse)
    let_go(cloud, STACK, Clock(lambda: 0.0, lambda _seconds: group.instance_states.clear()))
    assert machines(cloud) == []


def test_where_the_service_is_gone_its_machines_go(cloud: Cloud) -> None:
    ecs = cloud.client("ecs")
    ecs.delete_service(cluster="rocket", service="hosts", force=True)
    ecs.delete_cluster(cluster="rocket")
    let_go(cloud, STACK, Hours().clock)
    assert machines(cloud) == []


def test_whoever_waits_in_vain_is_told_what_for(cloud: Cloud) -> None:
    hours = Hours()
    with pytest.raises(CannotGoOn, match=r"30 minutes it is still there.*goes on from here"):
        hours.clock.wait_until(lambda: False, what="it is still there", seconds=1800, every=10)
    assert hours.now == pytest.approx(1800)


def test_what_was_never_made_is_not_among_a_stacks_resources(cloud: Cloud) -> None:
    """As CloudFormation lists them where a stack's creation has failed halfway."""
    listed = [
        {"ResourceType": "AWS::ECS::Service", "ResourceStatus": "CREATE_FAILED"},
        {"ResourceType": "AWS::ECS::Service", "ResourceStatus": "CREATE_FAILED", "PhysicalResourceId": ""},
        {
            "ResourceType": "AWS::ECS::Service",
            "ResourceStatus": "CREATE_COMPLETE",
            "PhysicalResourceId": "it",
        },
    ]
    cloudformation = cloud.client("cloudformation")

    def answer(**_: Any) -> Any:
        return AWSResponse("", 200, HTTPHeaders(), None), {"StackResourceSummaries": listed}

    cloudformation.meta.events.register("before-call.cloudformation.ListStackResources", answer)
    assert Cloud.resources(cloud, STACK, "AWS::ECS::Service") == ["it"]
