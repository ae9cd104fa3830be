"""The instances that hosts run on: they come with hosts that find no place, and go when they are empty.

Their agent is told that no task may have privileges or the instance's own credentials.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.aws.acknowledged import acknowledge, shown
from infra.aws.profiles import HostsSize
from infra.aws.stacks.network import Network

_HTTPS: Final = 443
_DISK: Final = "/dev/xvda"
_SYSTEM_MIB: Final = 512
"""What the agent and Docker keep of the memory for themselves."""
_WARM: Final = Duration.seconds(60)
_OF_CLUSTERS: Final = (
    "ecs:DeregisterContainerInstance",
    "ecs:RegisterContainerInstance",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
)
_OF_INSTANCES: Final = ("ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState")


class Machines(Construct):
    """Attributes:
    provider: the name of the capacity provider that starts and ends them.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        network: Network,
        cluster: ecs.Cluster,
        size: HostsSize,
        disk_gib: int,
    ) -> None:
        super().__init__(scope, id_)
        self._network = network
        self._cluster = cluster
        group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            vpc=network.vpc,
            vpc_subnets=network.private,
            launch_template=self._template(size, disk_gib),
            min_capacity=size.fewest,
            max_capacity=2 * size.most,  # a deployment starts each host's successor before it ends the host
            new_instances_protected_from_scale_in=True,
        )
        acknowledge(group, {"AS3": "How many there are follows how many hosts there are, which is recorded."})
        self.provider = self._provider(group, size)

    def _provider(self, group: autoscaling.AutoScalingGroup, size: HostsSize) -> str:
        """Nothing but the capacity provider ends an instance, and only one without a host."""
        provider = ecs.CfnCapacityProvider(
            self,
            "Provider",
            auto_scaling_group_provider=ecs.CfnCapacityProvider.AutoScalingGroupProviderProperty(
                auto_scaling_group_arn=group.auto_scaling_group_name,
                managed_scaling=ecs.CfnCapacityProvider.ManagedScalingProperty(
                    status="ENABLED",
                    target_capacity=100,
                    maximum_scaling_step_size=size.most,
                    instance_warmup_period=_WARM.to_seconds(),
                ),
                managed_termination_protection="ENABLED",
                managed_draining="ENABLED",
            ),
        )
        ecs.CfnClusterCapacityProviderAssociations(
            self,
            "Providers",
            cluster=self._cluster.cluster_name,
            capacity_providers=[provider.ref],
            default_capacity_provider_strategy=[],
        )
        return provider.ref

    def _template(self, size: HostsSize, disk_gib: int) -> ec2.LaunchTemplate:
        """The disk's key is EBS's own. Any other would have to trust whatever starts instances."""
        kind = ecs.AmiHardwareType.GPU if size.has_gpu else ecs.AmiHardwareType.STANDARD
        disk = ec2.BlockDeviceVolume.ebs(
            disk_gib, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3, delete_on_termination=True
        )
        return ec2.LaunchTemplate(
            self,
            "Template",
            instance_type=ec2.InstanceType(size.instance_type),
            machine_image=ecs.EcsOptimizedImage.amazon_linux2023(kind),
            block_devices=[ec2.BlockDevice(device_name=_DISK, volume=disk)],
            ebs_optimized=True,
            http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
            http_put_response_hop_limit=1,
            role=self._role(),
            security_group=self._security_group(),
            user_data=self._user_data(size),
        )

    def _user_data(self, size: HostsSize) -> ec2.UserData:
        told = {
            "ECS_CLUSTER": self._cluster.cluster_name,
            "ECS_AWSVPC_BLOCK_IMDS": "true",
            "ECS_DISABLE_PRIVILEGED": "true",
            "ECS_SELINUX_CAPABLE": "true",  # or ECS takes no security options, no-new-privileges among them
            "ECS_RESERVED_MEMORY": str(_SYSTEM_MIB),
            "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION": "10m",  # with a task goes its cache
            **({"ECS_ENABLE_GPU_SUPPORT": "true"} if size.has_gpu else {}),
        }
        script = ec2.UserData.for_linux()
        script.add_commands(*(f"echo {name}={value} >> /etc/ecs/ecs.config" for name, value in told.items()))
        return script

    def _security_group(self) -> ec2.SecurityGroup:
        """Of the instance, not of the host on it, which has an address and a group of its own."""
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=self._network.vpc,
            description="Instances: nobody reaches them",
            allow_all_outbound=False,
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_HTTPS), "Services of AWS")
        return group

    def _role(self) -> iam.Role:
        """For the agent. Images, secrets and logs are the execution role's, models the task's."""
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        stack = Stack.of(self)
        instances = stack.format_arn(
            service="ecs", resource="container-instance", resource_name=f"{self._cluster.cluster_name}/*"
        )
        for actions, resource in (
            (_OF_CLUSTERS, self._cluster.cluster_arn),
            (_OF_INSTANCES, instances),
            (("ecs:DiscoverPollEndpoint",), "*"),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=[resource]))
        acknowledge(
            role,
            {
                f"IAM5[Resource::{shown(stack.resolve(instances))}]": "Instances of this cluster, which get "
                "their ids when they join it.",
                "IAM5[Resource::*]": "Where to ask for work is asked of no resource.",
            },
        )
        return role
