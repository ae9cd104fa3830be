"""The private network: two zones, S3 by a way of its own, and one way out where something needs it."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import Aspects, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.aws.acknowledged import acknowledge
from infra.aws.profiles import Profile

CIDR: Final = "10.60.0.0/16"
"""Where hosts are: the gateway forwards requests nowhere else."""
_HTTPS: Final = 443
_ZONES: Final = 2
_PRIVATE: Final = "private"
_FUNCTIONS: Final = "functions"
_SWAP: Final = (
    "dd if=/dev/zero of=/swap bs=1M count=1024",
    "chmod 600 /swap",
    "mkswap /swap",
    "swapon /swap",
)


class Network(Stack):
    """Attributes:
    vpc: for functions, hosts and stores.
    private: its subnets for hosts and stores, which nobody reaches from outside.
    functions: those for functions, which are others where MongoDB is outside: with the larger sizes only
        functions may get out then, and another size that is chosen later finds them where they are.
    """

    def __init__(
        self, scope: Construct, id_: str, *, profile: Profile, mongo_is_outside: bool, **kwargs: Any
    ) -> None:
        """`mongo_is_outside`: functions ask a MongoDB that is not in this network."""
        super().__init__(scope, id_, **kwargs)
        has_way_out = mongo_is_outside or not profile.endpoints
        nat = None if profile.endpoints else _nat_instance()
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(CIDR),
            max_azs=_ZONES,
            nat_gateways=1 if has_way_out else 0,
            nat_gateway_provider=nat,
            subnet_configuration=_subnets(profile, mongo_is_outside=mongo_is_outside),
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
        )
        if nat is not None:
            self._harden(nat)
        self.private = ec2.SubnetSelection(subnet_group_name=_PRIVATE)
        self.functions = ec2.SubnetSelection(subnet_group_name=_FUNCTIONS if mongo_is_outside else _PRIVATE)
        if profile.endpoints:
            self._add_endpoints(profile.endpoints)
        self._log_refusals()

    def _harden(self, nat: ec2.NatInstanceProviderV2) -> None:
        nat.security_group.add_ingress_rule(
            ec2.Peer.ipv4(CIDR), ec2.Port.all_traffic(), "What the private subnets send out"
        )
        Aspects.of(self.vpc).add(ec2.InstanceRequireImdsv2Aspect())
        acknowledge(
            self.vpc,
            {
                "EC26": "The NAT instance routes packets and keeps nothing.",
                "EC28": "Its traffic is what is watched; a minute's resolution costs as much as itself.",
                "EC29": "Whoever ends it ends the way out for minutes, and nothing else.",
            },
        )

    def _add_endpoints(self, names: tuple[str, ...]) -> None:
        group = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=self.vpc,
            description="AWS services inside the network",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(CIDR), ec2.Port.tcp(_HTTPS), "Everything in the network")
        for name in names:
            self.vpc.add_interface_endpoint(
                f"Endpoint-{name}",
                service=ec2.InterfaceVpcEndpointAwsService(name),
                subnets=self.private,
                security_groups=[group],
                open=False,
            )

    def _log_refusals(self) -> None:
        """What was let through is in the logs of what answered it."""
        kept = logs.LogGroup(
            self, "Refused", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        self.vpc.add_flow_log(
            "Refusals",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(kept),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )


def _nat_instance() -> ec2.NatInstanceProviderV2:
    """It installs what it routes with when it first starts: with swap, since half a GiB is less than dnf may
    take, and until it succeeds, since the system's own first look at its packages may be in the way."""
    install, *others = ec2.NatInstanceProviderV2.DEFAULT_USER_DATA_COMMANDS
    script = ec2.UserData.for_linux()
    script.add_commands(*_SWAP, f"until {install}; do sleep 5; done", *others)
    return ec2.NatProvider.instance_v2(
        instance_type=ec2.InstanceType("t4g.nano"),
        machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
        associate_public_ip_address=True,
        default_allowed_traffic=ec2.NatTrafficDirection.OUTBOUND_ONLY,
        user_data=script,
    )


def _subnets(profile: Profile, *, mongo_is_outside: bool) -> list[ec2.SubnetConfiguration]:
    """With endpoints hosts need no way out, and get none: they run what strangers have uploaded."""
    egress, isolated = ec2.SubnetType.PRIVATE_WITH_EGRESS, ec2.SubnetType.PRIVATE_ISOLATED
    private = [_subnet(_PRIVATE, isolated if profile.endpoints else egress)]
    if mongo_is_outside:
        private.append(_subnet(_FUNCTIONS, egress))
    elif profile.endpoints:
        return private
    way_out = ec2.SubnetConfiguration(
        name="way-out", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
    )
    return [*private, way_out]


def _subnet(name: str, kind: ec2.SubnetType) -> ec2.SubnetConfiguration:
    """4,091 addresses: a host takes two, its machine's and its own. Functions share a few interfaces."""
    return ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=20)
