"""Findings of cdk-nag that stay, each with the reason why."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """`reasons`: by the rule's id without its pack, such as SMG4, or of one finding, such as IAM5[…]."""
    for rule, reason in reasons.items():
        Validations.of(scope).acknowledge(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))
