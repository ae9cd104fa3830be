"""Findings of cdk-nag that stay, each with the reason why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """`reasons`: by the rule's id without its pack, such as SMG4, or of one finding, such as IAM5[…]."""
    for rule, reason in reasons.items():
        Validations.of(scope).acknowledge(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))


def shown(resolved: Any) -> str:
    """A value that CloudFormation puts together, as cdk-nag names it in findings."""
    match resolved:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(shown, parts))
        case {"Fn::ImportValue": name}:
            return str(name)
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Sub": str(pattern)}:
            return re.sub(r"\$\{([^}]+)\}", r"<\1>", pattern)
    return str(resolved)
