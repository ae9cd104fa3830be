"""A synthesized world as it is once it is deployed: every name and ARN that templates only refer to.

CloudFormation gives names of its own kind; the ones here are as good, and the same wherever a thing is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.aws.acknowledged import shown
from tests.aws.simulator import Statement, listed
from tests.aws.templates import Resource, World

ACCOUNT: Final = "123456789012"
_PREFIX: Final = "ModelRocket"
_OWN_HANDLERS: Final = ("app.", "chalicelib.")
_SUFFIX: Final = "AbCdEf"
"""Of a secret's ARN, after its name."""
_RESOURCES: Final = {
    "AWS::ECS::Cluster": "arn:aws:ecs:{region}:{account}:cluster/{name}",
    "AWS::ECS::Service": "arn:aws:ecs:{region}:{account}:service/{cluster}/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{{region}}:{{account}}:secret:{{name}}-{_SUFFIX}",
}
_ARN_FOR_REF: Final = frozenset({"AWS::ECS::Service", "AWS::SecretsManager::Secret"})
"""Whose `Ref` is their ARN."""


class Unresolved(Exception):
    """A template refers to something in a way that is not known here."""


@dataclass(frozen=True, slots=True)
class Role:
    """`statements`: all that it may and may not do. `managed`: ARNs of policies that are AWS's own."""

    statements: tuple[Statement, ...]
    managed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """`role`: its id without CDK's hash, in the same stack."""

    stack: str
    arn: str
    role: str
    environment: Mapping[str, str]


class Deployed:
    """Attributes:
    region: where everything is.
    """

    def __init__(self, world: World) -> None:
        self._templates = world.templates
        self.region = world.deployment.region
        self._exports = {
            output["Export"]["Name"]: (stack, output["Value"])
            for stack, template in world.templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def functions(self) -> dict[str, Function]:
        """Ours, by their ids without CDK's hash: those that AWS and CDK bring run code of their own."""
        return {
            id_[:-8]: Function(
                stack=stack,
                arn=self.arn(stack, id_),
                role=str(one["Properties"]["Role"]["Fn::GetAtt"][0])[:-8],
                environment=self.resolved(stack, one["Properties"]["Environment"]["Variables"]),
            )
            for stack, id_, one in self._of("AWS::Lambda::Function")
            if one["Properties"]["Handler"].startswith(_OWN_HANDLERS)
        }

    def roles(self) -> dict[tuple[str, str], Role]:
        """By the stack and the id without CDK's hash."""
        return {
            (stack, id_[:-8]): Role(
                statements=tuple(self._statements(stack, id_, one["Properties"])),
                managed=tuple(self.resolved(stack, one["Properties"].get("ManagedPolicyArns", []))),
            )
            for stack, id_, one in self._of("AWS::IAM::Role")
        }

    def named(self, kind: str, beginning: str) -> tuple[str, Mapping[str, Any]]:
        """The ARN and the properties of the only one of this type whose id begins so, but for CDK's hash."""
        ((stack, id_, one),) = [found for found in self._of(kind) if found[1][:-8] == beginning]
        return self.arn(stack, id_), self.resolved(stack, one["Properties"])

    def of(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The properties of all of this type, by their ARNs."""
        return {
            self.arn(stack, id_): self.resolved(stack, one["Properties"])
            for stack, id_, one in self._of(kind)
        }

    def policies_of(self, bucket_arn: str) -> Iterator[Statement]:
        """The statements of a bucket's own policy."""
        for stack, _, one in self._of("AWS::S3::BucketPolicy"):
            properties = one["Properties"]
            if f"arn:aws:s3:::{self.resolved(stack, properties['Bucket'])}" == bucket_arn:
                yield from self.resolved(stack, properties["PolicyDocument"]["Statement"])

    def arn(self, stack: str, id_: str) -> str:
        resource = self._resource(stack, id_)
        known = _RESOURCES.get(resource["Type"])
        if known is None:
            raise Unresolved(f"the ARN of a {resource['Type']}")
        cluster = resource["Properties"].get("Cluster", "") if "{cluster}" in known else ""
        return known.format(
            region=self.region,
            account=ACCOUNT,
            name=self._name(stack, id_),
            cluster=self.resolved(stack, cluster),
        )

    def resolved(self, stack: str, value: Any) -> Any:
        """A property with all that it refers to. Raises Unresolved."""
        if isinstance(value, list):
            return [self.resolved(stack, one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function in self._intrinsic:
                return self._intrinsic[function](self, stack, argument)
            if function.startswith("Fn::"):
                raise Unresolved(f"{function} in {shown(value)}")
        return {name: self.resolved(stack, one) for name, one in value.items()}

    def _statements(self, stack: str, role: str, properties: Mapping[str, Any]) -> Iterator[Statement]:
        for _, _, one in self._of("AWS::IAM::ManagedPolicy"):
            raise Unresolved(f"a managed policy of our own: {one}")
        for policy in properties.get("Policies", []):
            yield from self.resolved(stack, policy["PolicyDocument"]["Statement"])
        for where, _, one in self._of("AWS::IAM::Policy"):
            if where == stack and {"Ref": role} in one["Properties"]["Roles"]:
                yield from self.resolved(stack, listed(one["Properties"]["PolicyDocument"]["Statement"]))

    def _of(self, kind: str) -> list[tuple[str, str, Resource]]:
        return [
            (stack, id_, one)
            for stack, template in self._templates.items()
            for id_, one in template["Resources"].items()
            if one["Type"] == kind
        ]

    def _resource(self, stack: str, id_: str) -> Resource:
        found = self._templates[stack]["Resources"].get(id_)
        if found is None:
            raise Unresolved(f"{id_}, which {stack} does not have")
        return found  # type: ignore[no-any-return]  # a template is JSON

    def _name(self, stack: str, id_: str) -> str:
        """Lower-case, as buckets have to be, but for names that templates give."""
        properties = self._resource(stack, id_).get("Properties", {})
        given = properties.get("Name")
        return given if isinstance(given, str) else f"{_PREFIX}-{stack}-{id_}".lower()

    def _ref(self, stack: str, name: str) -> str:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackName": f"{_PREFIX}-{stack}",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self._templates[stack].get("Parameters", {}):
            return str(self._templates[stack]["Parameters"][name]["Default"])
        kind = self._resource(stack, name)["Type"]
        return self.arn(stack, name) if kind in _ARN_FOR_REF else self._name(stack, name)

    def _attribute(self, stack: str, of: list[str]) -> str:
        id_, attribute = of
        if attribute == "Arn":
            return self.arn(stack, id_)
        return self._name(stack, id_) if attribute == "Name" else f"{self._name(stack, id_)}.{attribute}"

    def _imported(self, stack: str, name: str) -> Any:
        del stack
        return self.resolved(*self._exports[name])

    def _joined(self, stack: str, argument: list[Any]) -> str:
        separator, parts = argument
        return str(separator).join(map(str, self.resolved(stack, parts)))

    def _substituted(self, stack: str, text: str) -> str:
        return re.sub(r"\$\{([^}!]+)\}", lambda found: self._ref(stack, found[1]), text)

    _intrinsic: Final[Mapping[str, Callable[[Deployed, str, Any], Any]]] = {
        "Ref": _ref,
        "Fn::GetAtt": _attribute,
        "Fn::ImportValue": _imported,
        "Fn::Join": _joined,
        "Fn::Sub": _substituted,
    }
