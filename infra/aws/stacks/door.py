"""The hosts' own door: a load balancer inside the network, for callers who outgrow the API's gateway."""

from __future__ import annotations

from typing import Final

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from chalicelib.contract import limits
from infra.aws.acknowledged import acknowledge
from infra.aws.stacks.network import CIDR, Network

PORT: Final = 8080
"""Of each host."""
_HTTPS: Final = 443
_IDLE_MARGIN_SECONDS: Final = 15
"""It gives connections up before hosts do: on one that a host closes it would lose a request."""


class Door(Construct):
    """Its certificate is for a name that leads to its address, which is an output of the stack."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        network: Network,
        certificate: str,
        service: ecs.Ec2Service,
    ) -> None:
        super().__init__(scope, id_)
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            description="What callers in the network reach hosts by",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(CIDR), ec2.Port.tcp(_HTTPS), "Callers inside the network")
        balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            vpc_subnets=network.private,
            internet_facing=False,
            security_group=group,
            drop_invalid_header_fields=True,
            idle_timeout=Duration.seconds(int(limits.IDLE_SECONDS_MAX) - _IDLE_MARGIN_SECONDS),
        )
        acknowledge(balancer, {"ELB2": "Hosts count and time what they answer, by account and by model."})
        listener = balancer.add_listener(
            "Tls",
            port=_HTTPS,
            protocol=elb.ApplicationProtocol.HTTPS,
            certificates=[acm.Certificate.from_certificate_arn(self, "Certificate", certificate)],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            open=False,
        )
        listener.add_targets(
            "Hosts",
            port=PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            targets=[service],
            deregistration_delay=Duration.seconds(int(limits.DRAIN_SECONDS_MAX)),
            load_balancing_algorithm_type=elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
            health_check=elb.HealthCheck(
                path="/readyz",
                interval=Duration.seconds(5),
                timeout=Duration.seconds(2),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )
        CfnOutput(self, "Address", value=balancer.load_balancer_dns_name)
