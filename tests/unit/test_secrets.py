"""Settings that name a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib.adapters.secrets import revealed
from chalicelib.contract.errors import DependencyFailed

REGION = "eu-west-1"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name=REGION)


def test_the_arn_of_a_secret_stands_for_what_is_in_it(secrets: Any) -> None:
    arn = secrets.create_secret(Name="rocket/redis", SecretString="rediss://gateway:word@redis:6379/0")["ARN"]
    environ = {"REDIS_URL": arn, "S3_BUCKET": "models", "ROLE": "arn:aws:iam::123456789012:role/secret"}
    assert revealed(environ) == {**environ, "REDIS_URL": "rediss://gateway:word@redis:6379/0"}


def test_a_secret_is_found_by_its_name_alone(secrets: Any) -> None:
    arn = secrets.create_secret(Name="rocket/url", SecretString="https://d111.cloudfront.net")["ARN"]
    assert revealed({"URL": arn[: -len("-AbCdEf")]}) == {"URL": "https://d111.cloudfront.net"}


def test_a_secret_that_cannot_be_read_is_not_told_about(secrets: Any) -> None:
    del secrets
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:nothing-AbCdEf"
    with pytest.raises(DependencyFailed) as failed:
        revealed({"REDIS_URL": arn})
    assert "secretsmanager" not in failed.value.message


def test_where_nothing_names_a_secret_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session", None)
    assert revealed({"REDIS_URL": "redis://127.0.0.1/0"}) == {"REDIS_URL": "redis://127.0.0.1/0"}
