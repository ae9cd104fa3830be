"""What templates refer to, and what calls take, in a deployment of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.aws.deployment import Deployment
from tests.aws.deployed import ACCOUNT, Deployed, Unresolved
from tests.aws.recorder import Call, Permissions, Unknown, recording
from tests.aws.templates import World

KEPT = {
    "Resources": {
        "Models12345678": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {
                            "BucketKeyEnabled": True,
                            "ServerSideEncryptionByDefault": {
                                "KMSMasterKeyID": {"Fn::GetAtt": ["Key12345678", "Arn"]}
                            },
                        }
                    ]
                }
            },
        },
        "Key12345678": {"Type": "AWS::KMS::Key", "Properties": {}},
        "Url12345678": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": "Rocket/Url"}},
    },
    "Outputs": {
        "Out": {"Value": {"Fn::GetAtt": ["Models12345678", "Arn"]}, "Export": {"Name": "Storage:Models"}}
    },
}
RUNS = {
    "Parameters": {"Image": {"Default": "/aws/image"}},
    "Resources": {
        "Cluster12345678": {"Type": "AWS::ECS::Cluster"},
        "Service12345678": {
            "Type": "AWS::ECS::Service",
            "Properties": {"Cluster": {"Ref": "Cluster12345678"}},
        },
    },
}
BUCKET = "modelrocket-storage-models12345678"
MODELS = f"arn:aws:s3:::{BUCKET}"
CLUSTER = "modelrocket-hosts-cluster12345678"


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    return Deployed(
        World(Deployment.from_context(lambda _: None), tmp_path, {"Storage": KEPT, "Hosts": RUNS})
    )


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        pytest.param("as it is", "as it is", id="nothing"),
        pytest.param({"Ref": "AWS::AccountId"}, ACCOUNT, id="the account"),
        pytest.param({"Ref": "Image"}, "/aws/image", id="a parameter"),
        pytest.param({"Ref": "Cluster12345678"}, CLUSTER, id="a name"),
        pytest.param(
            {"Ref": "Service12345678"},
            f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/{CLUSTER}/modelrocket-hosts-service12345678",
            id="an arn by its reference",
        ),
        pytest.param(
            {"Fn::GetAtt": ["Service12345678", "Name"]},
            "modelrocket-hosts-service12345678",
            id="a name by its name",
        ),
        pytest.param({"Fn::ImportValue": "Storage:Models"}, MODELS, id="another stack's"),
        pytest.param(
            {"Fn::Join": ["", [{"Fn::ImportValue": "Storage:Models"}, "/models/*"]]},
            f"{MODELS}/models/*",
            id="put together",
        ),
        pytest.param({"Fn::Sub": "assets-${AWS::AccountId}"}, f"assets-{ACCOUNT}", id="filled in"),
        pytest.param([{"a": {"Ref": "Image"}}], [{"a": "/aws/image"}], id="inside of something"),
    ],
)
def test_what_a_template_refers_to_has_one_name(deployed: Deployed, value: Any, resolved: Any) -> None:
    assert deployed.resolved("Hosts", value) == resolved


@pytest.mark.parametrize(
    "value", [{"Fn::Select": [0, ["a"]]}, {"Fn::GetAtt": ["Image", "Arn"]}, {"Ref": "Nothing"}]
)
def test_what_is_not_known_is_not_guessed(deployed: Deployed, value: Any) -> None:
    with pytest.raises(Unresolved):
        deployed.resolved("Hosts", value)


def test_a_copy_takes_what_reading_and_writing_take(deployed: Deployed) -> None:
    source = {"Bucket": BUCKET, "Key": "staging/a"}
    call = Call("s3", "CopyObject", {"Bucket": BUCKET, "Key": "models/a", "CopySource": source}, 200)
    asked = Permissions(deployed).needed(call)
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/modelrocket-storage-key12345678"
    assert {(one.action, one.resource) for one in asked} == {
        ("s3:GetObject", f"{MODELS}/staging/a"),
        ("s3:PutObject", f"{MODELS}/models/a"),
        ("kms:Decrypt", key),
        ("kms:GenerateDataKey", key),
    }
    assert {one.context.get("kms:EncryptionContext:aws:s3:arn") for one in asked} == {None, MODELS}


@pytest.mark.parametrize(("status", "is_asked"), [(200, False), (404, True), (None, True)])
def test_who_looks_for_what_is_missing_has_to_be_told(
    deployed: Deployed, status: int | None, is_asked: bool
) -> None:
    """A URL may be used for what is not there."""
    call = Call("s3", "GetObject", {"Bucket": BUCKET, "Key": "models/a"}, status)
    told = Permissions(deployed).to_be_told(call)
    assert [(one.action, one.resource) for one in told] == ([("s3:ListBucket", MODELS)] if is_asked else [])


def test_a_secret_that_is_named_in_part_is_found_with_what_follows(deployed: Deployed) -> None:
    named = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:Rocket/Url"
    (asked,) = Permissions(deployed).needed(
        Call("secretsmanager", "GetSecretValue", {"SecretId": named}, 200)
    )
    assert asked.resource == f"{named}-AbCdEf"


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("s3", "PutBucketPolicy", {"Bucket": BUCKET}),
        ("ecs", "RunTask", {"cluster": "c"}),
        ("ecs", "ListTasks", {"cluster": "c", "containerInstance": "i"}),
        ("secretsmanager", "PutSecretValue", {"SecretId": "s"}),
        ("sts", "AssumeRole", {}),
    ],
)
def test_a_call_of_which_nobody_knows_what_it_takes_is_an_error(
    deployed: Deployed, service: str, operation: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(Unknown):
        Permissions(deployed).needed(Call(service, operation, parameters))


def test_calls_are_noted_and_those_that_are_signed_for_others_are_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    calls: list[Call] = []
    session: Any = botocore.session.Session()
    with recording(calls):
        client = session.create_client("s3", region_name="us-east-1")
    unnoted = session.create_client("s3", region_name="us-east-1")
    for one in (client, unnoted):
        one.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a"})
    assert calls == [Call("s3", "GetObject", {"Bucket": BUCKET, "Key": "a"}, None)]
