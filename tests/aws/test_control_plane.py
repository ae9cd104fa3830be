"""What the functions and the API before them promise: who answers what, knows what, and may do what."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from moto import mock_aws

import app as application
from chalicelib.adapters.s3 import S3Objects
from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.transfers import PREFIX as PAYLOADS
from chalicelib.payloads import Origin, Payloads
from chalicelib.settings import CapacityKind, InvalidSettings, Settings
from chalicelib.uploads import MODELS, STAGING
from infra.aws.profiles import PROFILES
from tests.aws.templates import DOMAIN, World, text

ROOT = Path(__file__).resolve().parents[2]
STACK: Final = "ControlPlane"
FUNCTIONS: Final = ("Management", "Inference", "Coordinator")
PATHS = sorted(json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"])
ABOUT_MODELS = frozenset({"/inference", "/v1/payloads", "/v1/answers/{answer_id}"})
SECRETS: Final = {
    "MODELROCKET_MONGO_URL": "mongodb://127.0.0.1:1/",
    "MODELROCKET_REDIS_URL": "rediss://127.0.0.1:2/0",
    "MODELROCKET_DISPATCH_KEY": "5a" * 32,
}
"""By the variable that names one, something that it could be."""
STAGED: Final = f"{STAGING}tenant/version"
KEPT: Final = f"{MODELS}tenant/model/version/sha.onnx"
PAYLOAD: Final = f"{PAYLOADS}tenant/1"
ACTIONS: Final = {
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "UploadPart": "s3:PutObject",
}
"""What S3 wants to be allowed for a call that is named otherwise."""
ACCOUNT_CONCURRENCY: Final = 1000
UNRESERVED: Final = 100
API_SECONDS_MAX: Final = 29
"""How long API Gateway waits for a function."""


def function(world: World, name: str) -> Any:
    """Its properties. CDK's own functions of other stacks are not among them."""
    (found,) = [
        one
        for id_, one in world.templates[STACK]["Resources"].items()
        if one["Type"] == "AWS::Lambda::Function" and id_[:-8] == name
    ]
    return found["Properties"]


def environment(world: World, name: str) -> dict[str, str]:
    variables = function(world, name)["Environment"]["Variables"]
    return {variable: text(value) for variable, value in variables.items()}


def definition(world: World) -> Any:
    return world.one("AWS::ApiGateway::RestApi")["Body"]


# Who answers


def test_the_api_has_the_paths_that_are_described(world: World) -> None:
    assert sorted(definition(world)["paths"]) == PATHS


@pytest.mark.parametrize("path", PATHS)
def test_requests_to_models_have_a_function_of_their_own(worlds: Mapping[str, World], path: str) -> None:
    of_models = path in ABOUT_MODELS or path.startswith("/v2")
    wanted = "Inference" if of_models else "Management"
    for method in definition(worlds["small"])["paths"][path].values():
        integration = method["x-amazon-apigateway-integration"]
        assert f"functions/<{wanted}" in text(integration["uri"])
        assert integration["type"] == "aws_proxy"


def test_each_function_has_a_share_of_its_own_and_leaves_some(world: World) -> None:
    reserved = {name: function(world, name)["ReservedConcurrentExecutions"] for name in FUNCTIONS}
    assert all(count >= 1 for count in reserved.values())
    assert reserved["Coordinator"] == 1
    assert sum(reserved.values()) <= ACCOUNT_CONCURRENCY - UNRESERVED


@pytest.mark.parametrize("name", FUNCTIONS)
def test_handlers_are_there(worlds: Mapping[str, World], name: str) -> None:
    module, attribute = function(worlds["small"], name)["Handler"].split(".")
    assert module == "app"
    assert callable(getattr(application, attribute))


def test_functions_outlast_who_waits_for_them(world: World) -> None:
    for name in ("Management", "Inference"):
        assert function(world, name)["Timeout"] >= API_SECONDS_MAX > limits.DEADLINE_SECONDS_DEFAULT
    settings = Settings.from_env(environment(world, "Coordinator") | SECRETS)
    assert function(world, "Coordinator")["Timeout"] > settings.loop_seconds + settings.tick_seconds


def test_the_coordinator_is_started_every_minute_and_never_late(world: World) -> None:
    (rule,) = [
        one["Properties"]
        for one in world.templates[STACK]["Resources"].values()
        if one["Type"] == "AWS::Events::Rule"
    ]
    (target,) = rule["Targets"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    assert text(target["Arn"]).startswith("<Coordinator")
    late = world.one("AWS::Lambda::EventInvokeConfig")
    assert (late["MaximumEventAgeInSeconds"], late["MaximumRetryAttempts"]) == (60, 0)


@pytest.mark.usefixtures("node")
def test_what_has_not_been_built_is_not_deployed(tmp_path: Path) -> None:
    from infra.aws.app import Built

    package, site = tmp_path / "modelrocket.zip", tmp_path / "dist"
    assert "make package" in (Built(package, site).missing() or "")
    package.touch()
    assert "make site" in (Built(package, site).missing() or "")
    site.mkdir()
    (site / "index.html").touch()
    assert Built(package, site).missing() is None


# What they know


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_told_every_setting_that_they_need_and_nothing_else(world: World, name: str) -> None:
    told = environment(world, name)
    assert _required() <= set(told) <= _read()
    settings = Settings.from_env(told | SECRETS)
    kind = CapacityKind.ECS if name == "Coordinator" else CapacityKind.NONE
    assert settings.capacity is kind


@pytest.mark.parametrize("name", FUNCTIONS)
def test_secrets_are_named_and_not_told(world: World, name: str) -> None:
    told = environment(world, name)
    role = "coordinator" if name == "Coordinator" else "gateway"
    assert f"RedisUrl{role}" in told["MODELROCKET_REDIS_URL"]
    assert "DispatchKey" in told["MODELROCKET_DISPATCH_KEY"]
    assert world.deployment.mongo_uri_secret in (None, told["MODELROCKET_MONGO_URL"])
    readable = _resources(world, name, "secretsmanager:GetSecretValue")
    assert {told[variable] for variable in SECRETS} <= readable
    assert len(readable) == len(SECRETS) + (0 if world.deployment.domain else 1)
    assert "resolve:" not in json.dumps(world.templates[STACK])


def test_functions_learn_where_people_find_them(worlds: Mapping[str, World]) -> None:
    told = {
        name: environment(world, "Management")["MODELROCKET_PUBLIC_URL"] for name, world in worlds.items()
    }
    assert told.pop("standard") == f"https://{DOMAIN}"
    for name, arn in told.items():
        secret = worlds[name].named("AWS::SecretsManager::Secret", "ToldUrl")["Properties"]
        assert arn.endswith(f":secret:{secret['Name']}")
        assert text(secret["SecretString"]).startswith("https://<Distribution")
        assert f"{arn}-??????" in _resources(worlds[name], "Management", "secretsmanager:GetSecretValue")


# What they may do


@pytest.mark.parametrize(
    ("name", "action", "key"),
    [
        ("Inference", "s3:GetObject", "models/tenant/model/version/sha.onnx"),
        ("Inference", "s3:PutObject", "models/tenant/model/version/sha.onnx"),
        ("Inference", "s3:GetObject", "staging/tenant/version"),
        ("Inference", "s3:DeleteObject", "payloads/tenant/1"),
        ("Management", "s3:GetObject", "payloads/tenant/1"),
        ("Management", "s3:PutObject", "payloads/tenant/1"),
        ("Coordinator", "s3:GetObject", "models/tenant/model/version/sha.onnx"),
        ("Coordinator", "s3:PutObject", "models/tenant/model/version/sha.onnx"),
        ("Coordinator", "s3:GetObject", "payloads/tenant/1"),
    ],
)
def test_functions_may_not_do_what_others_do(
    worlds: Mapping[str, World], name: str, action: str, key: str
) -> None:
    assert not _may(worlds["small"], name, action, key)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_functions_ask_of_s3_is_what_they_may(
    worlds: Mapping[str, World], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the adapter itself, whose calls are noted: also those that it signs for others to make."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        others, objects = (S3Objects("models", endpoint_url=None) for _ in range(2))
        others._client.create_bucket(Bucket="models")
        others.put(KEPT, b"model")
        others.begin_parts(KEPT)
        others.put(PAYLOAD, b"{}")
        noted = _noted_by(objects)
        ASKED[name](objects)
    assert len(noted) > 1
    refused = [(action, key) for action, key in noted if not _may(worlds["small"], name, action, key)]
    assert refused == []


def test_nobody_reads_old_versions_or_changes_the_bucket(world: World) -> None:
    actions = {action for name in FUNCTIONS for action in _actions(world, name)}
    assert not {action for action in actions if "Version" in action or "Bucket" in action} - {
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
    }


def test_only_the_coordinator_changes_how_many_hosts_there_are(world: World) -> None:
    ecs = {name: {one for one in _actions(world, name) if one.startswith("ecs:")} for name in FUNCTIONS}
    assert ecs.pop("Coordinator") == {
        "ecs:DescribeServices",
        "ecs:ListTasks",
        "ecs:StopTask",
        "ecs:UpdateService",
        "ecs:UpdateTaskProtection",
    }
    assert set(map(len, ecs.values())) == {0}
    (service,) = _resources(world, "Coordinator", "ecs:UpdateService")
    assert "Hosts:" in service and "Service" in service and "*" not in service


def test_keys_are_used_only_through_what_they_encrypt(world: World) -> None:
    for name in FUNCTIONS:
        of_keys = [one for one in _allowed(world, name) if any("kms:" in a for a in _listed(one["Action"]))]
        assert of_keys
        for statement in of_keys:
            (through,) = _listed(statement["Condition"]["StringEquals"]["kms:ViaService"])
            assert through in {"s3.us-east-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com"}


def test_only_this_api_and_the_schedule_call_functions(world: World) -> None:
    callers = [
        (one["Properties"]["Principal"], text(one["Properties"]["SourceArn"]))
        for one in world.templates[STACK]["Resources"].values()
        if one["Type"] == "AWS::Lambda::Permission"
    ]
    assert sorted(caller for caller, _ in callers) == [
        "apigateway.amazonaws.com",
        "apigateway.amazonaws.com",
        "events.amazonaws.com",
    ]
    assert all("<Api" in source for caller, source in callers if caller.startswith("apigateway"))


def test_functions_send_nothing_but_tls_out_of_the_network(world: World) -> None:
    groups = world.templates[STACK]["Resources"].values()
    (group,) = [one["Properties"] for one in groups if one["Type"] == "AWS::EC2::SecurityGroup"]
    ports = {rule["FromPort"] for rule in group["SecurityGroupEgress"]}
    assert ports == ({443, 27017} if world.deployment.mongo_uri_secret else {443})
    assert "SecurityGroupIngress" not in group
    for name in FUNCTIONS:
        place = function(world, name)["VpcConfig"]
        assert len(place["SubnetIds"]) == 2
        kind = "functions" if world.deployment.profile is PROFILES["standard"] else "private"
        assert all(kind in text(subnet) for subnet in place["SubnetIds"])


# The API


def test_the_api_is_regional_and_lets_through_what_the_profile_says(world: World) -> None:
    assert world.one("AWS::ApiGateway::RestApi")["EndpointConfiguration"]["Types"] == ["REGIONAL"]
    (everywhere,) = world.one("AWS::ApiGateway::Stage")["MethodSettings"]
    size = world.deployment.profile.functions
    assert (everywhere["HttpMethod"], everywhere["ResourcePath"]) == ("*", "/*")
    assert everywhere["ThrottlingRateLimit"] == size.requests_per_second
    assert everywhere["DataTraceEnabled"] is False


def test_requests_are_logged_without_what_is_private(world: World) -> None:
    logged = json.loads(world.one("AWS::ApiGateway::Stage")["AccessLogSetting"]["Format"])
    assert {"requestId", "status", "route"} <= set(logged)
    private = ("identity", "path", "query", "header")
    assert not [value for value in logged.values() if any(word in value for word in private)]


def test_logs_are_not_kept_for_ever(world: World) -> None:
    groups = [
        one for one in world.templates[STACK]["Resources"].values() if one["Type"] == "AWS::Logs::LogGroup"
    ]
    assert len(groups) == len(FUNCTIONS) + 1
    assert {group["Properties"]["RetentionInDays"] for group in groups} == {30}


def test_what_api_gateway_refuses_looks_like_what_the_platform_refuses(world: World) -> None:
    responses = definition(world)["x-amazon-apigateway-gateway-responses"]
    ours = set(ModelRocketError("").body("")["error"])
    for name, response in responses.items():
        error = json.loads(response["responseTemplates"]["application/json"])["error"]
        assert (set(error), error["request_id"]) == (ours, "$context.requestId"), name
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.X-Request-Id"] == "context.requestId"
        assert ("gatewayresponse.header.Retry-After" in headers) is error["retryable"], name
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= set(responses)
    assert responses["MISSING_AUTHENTICATION_TOKEN"]["statusCode"] == "404"
    assert responses["THROTTLED"]["statusCode"] == "429"


def _upload(objects: S3Objects) -> None:
    """As versions come, in one piece and in parts, are kept, and are given up."""
    objects.presign_upload(STAGED, size=5, sha256="5a" * 32)
    objects.put(STAGED, b"model")
    stored = objects.stored(STAGED)
    assert stored is not None
    objects.keep(stored, KEPT)
    objects.delete(STAGED)
    upload_id = objects.begin_parts(KEPT)
    objects.presign_part(KEPT, upload_id, number=1, size=1)
    objects.parts(KEPT, upload_id)
    with suppress(ModelRocketError):  # no part has come
        objects.join_parts(KEPT, upload_id, ())
    objects.delete_under("models/tenant")


def _infer(objects: S3Objects) -> None:
    """As inputs and answers go past API Gateway, now or later."""
    payloads = Payloads(objects, Origin(b"key", lambda: 1e9, os.urandom))
    payloads.begin("tenant", 1)
    payload = payloads.keep("tenant", b"{}")
    payloads.check("tenant", payload)
    payloads.source("tenant", payload)
    payloads.place("tenant", payload)
    payloads.answer("tenant", payload)


def _coordinate(objects: S3Objects) -> None:
    """As uploads are given up, versions are reaped and payloads are swept."""
    objects.delete(STAGED)
    objects.delete_under("models/tenant")
    assert objects.delete_older(PAYLOADS, than=datetime.max.replace(tzinfo=UTC), limit=1) == 1


ASKED: Final = {"Management": _upload, "Inference": _infer, "Coordinator": _coordinate}
"""By the function that does so."""


def _noted_by(objects: S3Objects) -> list[tuple[str, str | None]]:
    """What is asked from now on: an action, and the key of an object or None for the bucket."""
    noted: list[tuple[str, str | None]] = []

    def note(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        noted.append((ACTIONS.get(model.name, f"s3:{model.name}"), params.get("Key")))
        if "CopySource" in params:
            noted.append(("s3:GetObject", params["CopySource"]["Key"]))

    objects._client.meta.events.register("provide-client-params.s3", note)
    return noted


class _Noted(dict[str, str]):
    """An environment that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def _read() -> set[str]:
    noted = _Noted()
    with pytest.raises(InvalidSettings):
        Settings.from_env(noted)
    return noted.names


def _required() -> set[str]:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_env({})
    return {line.split(":")[0] for line in str(refused.value).splitlines()}


def _allowed(world: World, name: str) -> Iterator[Any]:
    """The statements of a function's role."""
    role = text(function(world, name)["Role"]).strip("<>").removesuffix(".Arn")
    for one in world.templates[STACK]["Resources"].values():
        if one["Type"] == "AWS::IAM::Policy" and {"Ref": role} in one["Properties"]["Roles"]:
            yield from one["Properties"]["PolicyDocument"]["Statement"]


def _actions(world: World, name: str) -> set[str]:
    return {action for one in _allowed(world, name) for action in _listed(one["Action"])}


def _resources(world: World, name: str, action: str) -> set[str]:
    return {
        text(resource)
        for one in _allowed(world, name)
        if action in _listed(one["Action"])
        for resource in _listed(one["Resource"])
    }


def _may(world: World, name: str, action: str, key: str | None) -> bool:
    """Of an object with this key, or of the bucket itself."""
    bucket = "<ModelRocket-Storage:ExportsOutputFnGetAttModels*Arn*>"
    asked = "bucket" if key is None else f"bucket/{key}"
    allowed = _resources(world, name, action)
    return any(fnmatch.fnmatchcase(asked, _as_pattern(resource, bucket)) for resource in allowed)


def _as_pattern(resource: str, bucket: str) -> str:
    arn, slash, rest = resource.partition("/")
    return f"bucket{slash}{rest}" if fnmatch.fnmatchcase(arn, bucket) else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
