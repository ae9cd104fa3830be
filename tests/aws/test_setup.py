"""The function that a deployment is set up with: before the others, knowing little, called by nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from infra.aws import names
from infra.aws.built import Built
from tests.aws.templates import FILES, World, text

STACK: Final = names.SETUP.removeprefix(f"{names.NAME}-")


def resources(world: World, kind: str) -> list[Any]:
    return [one["Properties"] for one in world.templates[STACK]["Resources"].values() if one["Type"] == kind]


def function(world: World) -> Any:
    (found,) = resources(world, "AWS::Lambda::Function")
    return found


def test_its_handler_is_there(world: World) -> None:
    module, _, attribute = function(world)["Handler"].rpartition(".")
    assert callable(getattr(import_module(module), attribute))


def test_it_knows_where_the_records_are_and_nothing_else(world: World) -> None:
    told = function(world)["Environment"]["Variables"]
    assert set(told) == {"MODELROCKET_MONGO_URL"}
    assert world.deployment.mongo_uri_secret in (None, told["MODELROCKET_MONGO_URL"])
    assert "resolve:" not in json.dumps(world.templates[STACK])


def test_it_may_read_that_secret_write_its_log_and_stand_in_the_network(world: World) -> None:
    (policy,) = resources(world, "AWS::IAM::Policy")
    allowed = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    actions = {action for one in allowed for action in _listed(one["Action"])}
    ours = {"kms:Decrypt"} if world.deployment.mongo_uri_secret is None else set()
    assert {action for action in actions if not action.startswith("ec2:")} == ours | {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
    }
    (read,) = [one for one in allowed if one["Action"] == "secretsmanager:GetSecretValue"]
    assert text(read["Resource"]) == text(
        function(world)["Environment"]["Variables"]["MODELROCKET_MONGO_URL"]
    )
    assert {one["Effect"] for one in policy["PolicyDocument"]["Statement"] if "ec2:" in str(one)} == {
        "Allow",
        "Deny",
    }


def test_nothing_calls_it(world: World) -> None:
    assert resources(world, "AWS::Lambda::Permission") == []
    api = json.dumps(world.one("AWS::ApiGateway::RestApi"))
    assert "Setup" not in api


def test_it_runs_once_at_a_time_and_its_log_is_not_kept_for_ever(world: World) -> None:
    assert function(world)["ReservedConcurrentExecutions"] == 1
    (log,) = resources(world, "AWS::Logs::LogGroup")
    assert log["RetentionInDays"] == 30


def test_it_is_there_before_any_function_that_serves(world: World) -> None:
    stacks = json.loads((world.folder / "manifest.json").read_text())["artifacts"]
    assert names.SETUP in stacks[names.CONTROL_PLANE]["dependencies"]
    assert names.HOSTS not in stacks[names.SETUP]["dependencies"]


def test_every_stack_has_its_place_in_the_order(world: World) -> None:
    """Of those that are deployed, and of those that are taken away, which is the other way round."""
    stacks = json.loads((world.folder / "manifest.json").read_text())["artifacts"]
    ours = {name for name, one in stacks.items() if one["type"] == "aws:cloudformation:stack"}
    assert ours == set(names.ALL)
    for name in ours:
        before = names.ALL[: names.ALL.index(name)]
        assert set(stacks[name]["dependencies"]) & ours <= set(before)


def test_sign_up_is_closed_unless_it_is_said(worlds: Mapping[str, World]) -> None:
    functions = worlds["small"].templates["ControlPlane"]["Resources"].values()
    told = [
        one["Properties"]["Environment"]["Variables"]["MODELROCKET_SIGN_UP"]
        for one in functions
        if one["Type"] == "AWS::Lambda::Function"
    ]
    assert set(told) == {"closed"}


def test_where_functions_share_what_the_account_may_run_none_has_a_share(node: str, tmp_path: Path) -> None:
    del node  # CDK finds it by itself
    from infra.aws.app import build, new_app
    from infra.aws.deployment import Deployment

    (tmp_path / "package.zip").write_bytes(b"")
    for path in FILES:
        (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / path).touch()
    app = new_app(str(tmp_path / "cdk.out"))
    context = {"concurrency": "shared", "sign_up": "open"}
    for name, value in context.items():
        app.node.set_context(name, value)
    build(app, Deployment.from_context(context.get), Built(tmp_path / "package.zip", tmp_path / "files"))
    app.synth()
    for template in (tmp_path / "cdk.out").glob("*.template.json"):
        assert "ReservedConcurrentExecutions" not in template.read_text(), template.name
    setup = json.loads((tmp_path / "cdk.out" / f"{names.SETUP}.template.json").read_text())
    assert json.loads(setup["Outputs"][names.GIVEN]["Value"]) == context


def test_what_has_not_been_built_is_not_deployed(tmp_path: Path) -> None:
    package, site = tmp_path / "modelrocket.zip", tmp_path / "dist"
    assert [one.split("`")[1] for one in Built(package, site).missing()] == ["make package", "make site"]
    package.touch()
    site.mkdir()
    (site / "index.html").touch()
    assert Built(package, site).missing() == []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", ["sign_up", "concurrency"])
def test_a_wrong_choice_of_these_is_named(name: str) -> None:
    from infra.aws.deployment import Deployment, InvalidContext

    with pytest.raises(InvalidContext, match=f"{name}: "):
        Deployment.from_context({name: "maybe"}.get)
