"""In an account where nothing ever was, the services that CloudFormation asks have their roles before."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from moto import mock_aws

from infra.aws import linked
from infra.aws.cloud import Cloud


def paths(cloud: Cloud) -> list[str]:
    roles: list[Any] = cloud.client("iam").list_roles()["Roles"]
    return sorted(role["Path"] for role in roles)


def test_services_have_their_roles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        cloud = Cloud(botocore.session.Session(), "us-east-1")
        cloud.client("iam").create_service_linked_role(AWSServiceName=linked.SERVICES[0])
        for _ in range(2):  # what is there already AWS refuses to make
            linked.make(cloud)
            assert paths(cloud) == [f"/aws-service-role/{service}/" for service in sorted(linked.SERVICES)]
