"""What functions may do in every stack that has one, as statements of their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from infra.aws import permissions
from infra.aws.acknowledged import acknowledge

_UNNAMED_YET: Final = "Lambda makes network interfaces for a function, which have no names before."


def network(role: iam.Role) -> None:
    """For Lambda itself. What a function's own code calls says so, and is refused."""
    functions = Stack.of(role).format_arn(
        service="lambda", resource="function", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
    actions = list(permissions.OF_NETWORK)
    role.add_to_policy(iam.PolicyStatement(actions=actions, resources=["*"]))
    role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=actions,
            resources=["*"],
            conditions={"ArnLike": {"lambda:SourceFunctionArn": functions}},
        )
    )
    acknowledge(role, {"IAM5[Resource::*]": _UNNAMED_YET})


def key(
    role: iam.IRole, arn: str, actions: Sequence[str], service: str, about: Mapping[str, str | Sequence[str]]
) -> None:
    """KMS's `arn`, through a service and for what it says to be about: the key's encryption context.

    CDK's own grants would name the role in the key's policy, whose stack was there before the role.
    """
    through = {"kms:ViaService": f"{service}.{Stack.of(role).region}.amazonaws.com"}
    context = {f"kms:EncryptionContext:{name}": value for name, value in about.items()}
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=list(actions), resources=[arn], conditions={"StringEquals": through | context}
        )
    )
