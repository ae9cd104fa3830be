"""What tests look up in templates. It loads nothing of CDK's, so that collecting tests starts no Node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.aws.deployment import Deployment

Template = Mapping[str, Any]
Resource = Mapping[str, Any]

DOMAIN: Final = "models.example.com"
EMAIL: Final = "ops@example.com"
FILES: Final = ("index.html", "favicon.svg", "assets/index-1a2b3c.js", "assets/fonts/text.woff2")
"""Of a web UI."""


@dataclass(frozen=True, slots=True)
class World:
    """`templates`: by the stack's name, without the app's."""

    deployment: Deployment
    folder: Path
    templates: Mapping[str, Template]

    def of(self, kind: str) -> dict[str, Resource]:
        """All resources of this type, by their ids."""
        return {
            name: resource
            for template in self.templates.values()
            for name, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def one(self, kind: str) -> Any:
        """The properties of the only one of this type."""
        (resource,) = self.of(kind).values()
        return resource["Properties"]

    def named(self, kind: str, beginning: str) -> Resource:
        """The only one of this type whose id begins so, by more than CDK's hash."""
        (resource,) = [found for name, found in self.of(kind).items() if name[:-8] == beginning]
        return resource


def statements(world: World) -> Iterator[Mapping[str, Any]]:
    """What roles may do; resources' own policies are not among it."""
    for policy in world.of("AWS::IAM::Policy").values():
        yield from policy["Properties"]["PolicyDocument"]["Statement"]
    for role in world.of("AWS::IAM::Role").values():
        for policy in role["Properties"].get("Policies", ()):
            yield from policy["PolicyDocument"]["Statement"]


def text(value: Any) -> str:
    """A property that CloudFormation puts together, with what it refers to in angle brackets."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
        case {"Ref": name} | {"Fn::ImportValue": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
    return str(value)
