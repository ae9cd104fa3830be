"""What CDK has synthesized, as the emulator takes it: without what it does not know, in words that it does.

Every difference from what AWS gets is in this file. What the emulator does not know and is not named here,
it refuses.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NOT_EMULATED: Final[Mapping[str, str]] = {
    "AWS::Budgets::Budget": "nothing costs anything",
    "AWS::EC2::EIP": "the network carries nothing",
    "AWS::EC2::FlowLog": "the network carries nothing",
    "AWS::EC2::Instance": "there are no machines",
    "AWS::EC2::NatGateway": "the network carries nothing",
    "AWS::EC2::SecurityGroupEgress": "the network carries nothing",
    "AWS::EC2::SecurityGroupIngress": "the network carries nothing",
    "AWS::ECS::CapacityProvider": "there are no machines",
    "AWS::ECS::ClusterCapacityProviderAssociations": "there are no machines",
    "Custom::CDKBucketDeployment": "its function runs the AWS command line, which is not here",
}
"""Types of resources that are left out, and why."""
MACHINE_IMAGE: Final = "/emulated/machine-image"
"""A parameter that stands for those of Amazon's, which nobody else may write."""
_AMAZONS: Final = "/aws/service/"
_HASH_LENGTH: Final = 8
"""Of what CDK puts behind a construct's id."""
_NOBODY: Final = "left-out"
_DEFINED_BINARY: Final = "x-amazon-apigateway-binary-media-types"
_DEFINED_RESPONSES: Final = "x-amazon-apigateway-gateway-responses"

Template = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Here:
    """What is elsewhere than it would be on AWS.

    variables: what functions are told, in the place of what the template says or besides.
    secrets: values, by the id of the construct; those that were generated join them, and stay.
    """

    variables: Mapping[str, str]
    secrets: dict[str, str]


def adapt(assembly: Path, here: Here) -> None:
    """Changes the folder."""
    for path in assembly.glob("*.template.json"):
        template = json.loads(path.read_text())
        _tell(template, here)
        for change in (
            _with_rights_in_ecs,
            _without_unknown,
            _without_tls,
            _with_arns,
            _with_definitions,
            _with_our_image,
            _with_names,
        ):
            change(template)
        path.write_text(json.dumps(template))
    _without_images(assembly)


def _tell(template: Template, here: Here) -> None:
    for function in _all_of(template, "AWS::Lambda::Function").values():
        told = function["Properties"].get("Environment", {}).get("Variables")
        if told is not None:
            told.update(here.variables)
    for name, secret in _all_of(template, "AWS::SecretsManager::Secret").items():
        properties = secret["Properties"]
        asked = properties.get("GenerateSecretString", {})
        if asked and "SecretStringTemplate" not in asked:
            here.secrets.setdefault(name[:-_HASH_LENGTH], _generated(asked))
        if value := here.secrets.get(name[:-_HASH_LENGTH]):
            properties.pop("GenerateSecretString", None)
            properties["SecretString"] = value


def _generated(asked: Mapping[str, Any]) -> str:
    """As Secrets Manager does it. The emulator leaves out half of what is asked of it."""
    letters = string.ascii_lowercase + ("" if asked.get("ExcludeUppercase") else string.ascii_uppercase)
    marks = "" if asked.get("ExcludePunctuation") else string.punctuation
    alphabet = set(letters + string.digits + marks) - set(asked.get("ExcludeCharacters", ""))
    return "".join(secrets.choice(sorted(alphabet)) for _ in range(asked.get("PasswordLength", 32)))


def _without_unknown(template: Template) -> None:
    resources = template["Resources"]
    gone = {name for name, one in resources.items() if one["Type"] in NOT_EMULATED or _calculates(one)}
    template["Resources"] = {name: one for name, one in resources.items() if name not in gone}
    for resource in template["Resources"].values():
        after = resource.get("DependsOn", [])
        after = [after] if isinstance(after, str) else after
        resource["DependsOn"] = [name for name in after if name not in gone]
    _replace(template, lambda name, _: _NOBODY if name in gone else None)


def _calculates(resource: Mapping[str, Any]) -> bool:
    """An alarm on more than one metric, which the emulator cannot work out."""
    return resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]


def _without_tls(template: Template) -> None:
    """It speaks none here, so what a bucket's policy refuses without it would be everything."""
    for policy in _all_of(template, "AWS::S3::BucketPolicy").values():
        document = policy["Properties"]["PolicyDocument"]
        document["Statement"] = [one for one in document["Statement"] if not _is_about_tls(one)]


def _is_about_tls(statement: Mapping[str, Any]) -> bool:
    tested = {key for test in statement.get("Condition", {}).values() for key in test}
    return bool(tested) and tested <= {"aws:SecureTransport", "s3:TlsVersion"}


def _with_arns(template: Template) -> None:
    """A reference to a secret is its ARN; to the emulator it is the secret's name."""
    secrets = _all_of(template, "AWS::SecretsManager::Secret")

    def arn(name: str, attribute: str | None) -> Any:
        return {"Fn::GetAtt": [name, "Id"]} if name in secrets and attribute is None else None

    _replace(template, arn)


def _with_rights_in_ecs(template: Template) -> None:
    """All of ECS's calls are on a cluster to the emulator, so it is only said which may be made."""
    policies = [one["Properties"]["PolicyDocument"] for one in _all_of(template, "AWS::IAM::Policy").values()]
    for statement in (one for policy in policies for one in policy["Statement"]):
        actions = statement["Action"]
        if all(action.startswith("ecs:") for action in ([actions] if isinstance(actions, str) else actions)):
            statement["Resource"] = "*"
            statement.pop("Condition", None)


def _with_definitions(template: Template) -> None:
    """What the API's definition says besides paths, as properties and resources."""
    for name, api in _all_of(template, "AWS::ApiGateway::RestApi").items():
        definition = api["Properties"]["Body"]
        api["Properties"]["BinaryMediaTypes"] = definition[_DEFINED_BINARY]
        told = {
            f"{name}{kind.title().replace('_', '')}": _response(name, kind, response)
            for kind, response in definition.get(_DEFINED_RESPONSES, {}).items()
        }
        for deployment in _all_of(template, "AWS::ApiGateway::Deployment").values():
            deployment["DependsOn"] += told
        template["Resources"] |= told


def _response(api: str, kind: str, response: Mapping[str, Any]) -> Template:
    named = {key[0].upper() + key[1:]: value for key, value in response.items()}
    return {
        "Type": "AWS::ApiGateway::GatewayResponse",
        "Properties": {"RestApiId": {"Ref": api}, "ResponseType": kind, **named},
    }


def _with_our_image(template: Template) -> None:
    for parameter in template.get("Parameters", {}).values():
        if parameter.get("Default", "").startswith(_AMAZONS):
            parameter["Default"] = MACHINE_IMAGE


def _with_names(template: Template) -> None:
    """Containers' secrets it gives on as the template spells them, which no client understands."""
    for task in _all_of(template, "AWS::ECS::TaskDefinition").values():
        for one in task["Properties"]["ContainerDefinitions"]:
            one["Secrets"] = [
                {"name": secret["Name"], "valueFrom": secret["ValueFrom"]} for secret in one["Secrets"]
            ]


def _without_images(assembly: Path) -> None:
    """Nothing here builds them, and nothing runs them."""
    for path in assembly.glob("*.assets.json"):
        assets = json.loads(path.read_text())
        assets["dockerImages"] = {}
        path.write_text(json.dumps(assets))


def _all_of(template: Template, kind: str) -> dict[str, Any]:
    return {name: one for name, one in template["Resources"].items() if one["Type"] == kind}


def _replace(value: Any, instead: Callable[[str, str | None], Any]) -> Any:
    """References below this, in place: `instead` of a resource's name and attribute; None leaves it."""
    match value:
        case {"Ref": str(name)}:
            found = instead(name, None)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            found = instead(name, attribute)
        case dict():
            value.update({key: _replace(one, instead) for key, one in value.items()})
            return value
        case list():
            value[:] = [_replace(one, instead) for one in value]
            return value
        case _:
            return value
    return value if found is None else found
