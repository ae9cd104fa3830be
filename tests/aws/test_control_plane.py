"""What the functions and the API before them promise: who answers what, and who is told what.

What they may do is in test_rights, what they are told in test_environments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import app as application
from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError
from chalicelib.routes import inference
from chalicelib.settings import Settings
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
OF_MANAGEMENT: Final = {"MODELROCKET_EDGE_KEY": "k" * 64}
"""What only that function is told beside them."""
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


# What they know


@pytest.mark.parametrize("name", FUNCTIONS)
def test_secrets_are_named_and_not_told(world: World, name: str) -> None:
    told = environment(world, name)
    role = "coordinator" if name == "Coordinator" else "gateway"
    assert f"RedisUrl{role}" in told["MODELROCKET_REDIS_URL"]
    assert "DispatchKey" in told["MODELROCKET_DISPATCH_KEY"]
    assert world.deployment.mongo_uri_secret in (None, told["MODELROCKET_MONGO_URL"])
    readable = _resources(world, name, "secretsmanager:GetSecretValue")
    secrets = SECRETS | _told_alone(name)
    assert {told[variable] for variable in secrets} <= readable
    assert len(readable) == len(secrets) + (0 if world.deployment.domain else 1)
    assert "resolve:" not in json.dumps(world.templates[STACK])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_the_function_that_asks_for_addresses_knows_cloudfronts_key(world: World, name: str) -> None:
    asks = name == "Management"
    assert ("MODELROCKET_EDGE_KEY" in environment(world, name)) is asks
    asked = [one.path for one in inference.route.declared if one.audit is not None or one.authenticates]
    assert asked == []


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


def _told_alone(name: str) -> dict[str, str]:
    return OF_MANAGEMENT if name == "Management" else {}


# Who reaches them, and whom they do


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


def _allowed(world: World, name: str) -> Iterator[Any]:
    """The statements of a function's role."""
    role = text(function(world, name)["Role"]).strip("<>").removesuffix(".Arn")
    for one in world.templates[STACK]["Resources"].values():
        if one["Type"] == "AWS::IAM::Policy" and {"Ref": role} in one["Properties"]["Roles"]:
            yield from one["Properties"]["PolicyDocument"]["Statement"]


def _resources(world: World, name: str, action: str) -> set[str]:
    return {
        text(resource)
        for one in _allowed(world, name)
        if action in _listed(one["Action"])
        for resource in _listed(one["Resource"])
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
