"""Hosts and their machines go before their stack does: see decision 28.

Instances are protected from everything but their capacity provider, and a deletion of the stack would wait
for them in vain. The coordinator must be gone: it would have hosts started again.
"""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import ClientError

from infra.aws.cloud import Clock, Cloud

_HOSTS_SECONDS: Final = 900.0
_MACHINES_SECONDS: Final = 1200.0
_ROLLBACK_SECONDS: Final = 1200.0
_EVERY_SECONDS: Final = 10.0
_AT_ONCE: Final = 19
"""As many instances as one call may name: AWS's reference says 19 and 50."""
_FAILED: Final = ("ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED")
"""Of a stack that has never stood."""
_GONE: Final = ("ClusterNotFoundException", "ServiceNotFoundException", "ServiceNotActiveException")


def has_failed(cloud: Cloud, stack: str) -> bool:
    """Its first deployment: AWS takes back what it had made, and waits for machines that it may not end."""
    found = cloud.stack(stack)
    return found is not None and found.status in _FAILED


def let_go_of_failed(cloud: Cloud, stack: str, clock: Clock) -> None:
    """The stack is one that CDK makes anew. Safe to repeat. Raises CannotGoOn, AwsError."""
    let_go(cloud, stack, clock)

    def ended() -> bool:
        found = cloud.stack(stack)
        return found is None or not found.status.endswith("_IN_PROGRESS")

    clock.wait_until(
        ended, what=f"{stack} is still being taken back", seconds=_ROLLBACK_SECONDS, every=_EVERY_SECONDS
    )


def let_go(cloud: Cloud, stack: str, clock: Clock) -> None:
    """Safe to repeat. Raises CannotGoOn where they have not gone in time."""
    for cluster in cloud.resources(stack, "AWS::ECS::Cluster"):
        for service in cloud.resources(stack, "AWS::ECS::Service"):
            _end_tasks(cloud.client("ecs"), cluster, service, clock)
    for group in cloud.resources(stack, "AWS::AutoScaling::AutoScalingGroup"):
        _end_instances(cloud.client("autoscaling"), group, clock)


def _end_tasks(ecs: Any, cluster: str, service: str, clock: Clock) -> None:
    try:
        ecs.update_service(cluster=cluster, service=service, desiredCount=0)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return

    def gone() -> bool:
        found = ecs.describe_services(cluster=cluster, services=[service])["services"]
        return all(one["runningCount"] + one["pendingCount"] == 0 for one in found)

    clock.wait_until(gone, what="hosts are still there", seconds=_HOSTS_SECONDS, every=_EVERY_SECONDS)


def _end_instances(autoscaling: Any, group: str, clock: Clock) -> None:
    def gone() -> bool:
        """One may have started since: what is protected is asked each time, and all are asked to go."""
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        here = [one for each in found for one in each["Instances"]]
        protected = [one["InstanceId"] for one in here if _is_protected(one)]
        for start in range(0, len(protected), _AT_ONCE):
            some = protected[start : start + _AT_ONCE]
            autoscaling.set_instance_protection(
                AutoScalingGroupName=group, InstanceIds=some, ProtectedFromScaleIn=False
            )
        if found:
            autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=group,
                MinSize=0,
                DesiredCapacity=0,
                NewInstancesProtectedFromScaleIn=False,
            )
        return not here

    clock.wait_until(gone, what="machines are still there", seconds=_MACHINES_SECONDS, every=_EVERY_SECONDS)


def _is_protected(instance: Any) -> bool:
    """Of one that comes or goes already, AWS refuses to change it."""
    return instance["LifecycleState"] == "InService" and bool(instance["ProtectedFromScaleIn"])
