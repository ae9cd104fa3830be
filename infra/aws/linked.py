"""Roles in which AWS's own services act for an account: each makes its own when it is first asked.

In an account where nothing ever was, they take them up before IAM knows them everywhere, and what
CloudFormation asked for fails ("Unable to assume the service linked role"). So they are made before.
"""

from __future__ import annotations

from typing import Final

from infra.aws.cloud import Cloud

SERVICES: Final = ("ecs.amazonaws.com", "elasticache.amazonaws.com", "rds.amazonaws.com")
"""DocumentDB is one of RDS's."""


def make(cloud: Cloud) -> None:
    """Those that are not there. Safe to repeat. Raises AwsError."""
    iam = cloud.client("iam")
    for service in SERVICES:
        pages = iam.get_paginator("list_roles").paginate(PathPrefix=f"/aws-service-role/{service}/")
        if not any(page["Roles"] for page in pages):
            iam.create_service_linked_role(AWSServiceName=service)
