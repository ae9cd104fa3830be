"""The function that a deployment is set up with: indexes, and how whoever deploys gets in.

It is a stack before the control plane's, so that it has run when other functions change: see decision 29.
Nothing calls it but who may invoke functions of the account. Of the platform it knows the records alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.aws import grants, names
from infra.aws.acknowledged import acknowledge
from infra.aws.stacks.data import Data
from infra.aws.stacks.network import Network
from infra.aws.stacks.storage import Storage

SECONDS: Final = 60
_MEMORY_MIB: Final = 512
_HTTPS: Final = 443
_MONGO: Final = 27017


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`package`: the zip of `infra.package`. `given`: the parameters of the deployment, for the next one."""

    package: Path
    reserved: bool
    given: Mapping[str, str]


class Setup(Stack):
    """Attributes:
    function: it.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        network: Network,
        storage: Storage,
        data: Data,
        program: Program,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id_, **kwargs)
        log = logs.LogGroup(
            self, "Log", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="What the function Setup calls",
        )
        log.grant_write(role)
        grants.network(role)
        self._allow_secret(role, data, storage.key.key_arn)
        self.function = lambda_.Function(
            self,
            "Setup",
            code=lambda_.Code.from_asset(str(program.package)),
            handler="chalicelib.bootstrap.handler",
            runtime=lambda_.Runtime(f"python{sys.version_info.major}.{sys.version_info.minor}"),
            architecture=lambda_.Architecture.X86_64,
            memory_size=_MEMORY_MIB,
            timeout=Duration.seconds(SECONDS),
            reserved_concurrent_executions=1 if program.reserved else None,
            role=role,
            log_group=log,
            vpc=network.vpc,
            vpc_subnets=network.functions,
            security_groups=self._groups(network, data),
            environment={"MODELROCKET_MONGO_URL": data.mongo_uri.secret_arn},
        )
        acknowledge(self.function, {"L1": "The package is for the Python that it is made and tested with."})
        CfnOutput(self, names.SETUP_FUNCTION, value=self.function.function_name)
        CfnOutput(self, names.GIVEN, value=json.dumps(program.given, sort_keys=True))

    def _allow_secret(self, role: iam.Role, data: Data, key: str) -> None:
        """Ours is encrypted with our key; whose MongoDB runs elsewhere has brought a secret of their own."""
        arn = data.mongo_uri.secret_arn
        role.add_to_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn]))
        if data.mongo_clients is None:
            return
        grants.key(role, key, ("kms:Decrypt",), "secretsmanager", {"SecretARN": arn})

    def _groups(self, network: Network, data: Data) -> list[ec2.ISecurityGroup]:
        out = ec2.SecurityGroup(
            self,
            "Out",
            vpc=network.vpc,
            description="What Setup reaches beside DocumentDB",
            allow_all_outbound=False,
        )
        out.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_HTTPS), "AWS services")
        if data.mongo_clients is not None:
            return [out, data.mongo_clients]
        out.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_MONGO), "MongoDB that runs elsewhere")
        return [out]
