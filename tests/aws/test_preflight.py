"""What would stop a deployment halfway is said before anything is made, all of it at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import botocore.session
import pytest
from botocore.exceptions import ClientError

from infra.aws import __main__ as command_line
from infra.aws import deploy as deploying
from infra.aws import names, preflight
from infra.aws.__main__ import main
from infra.aws.arguments import parse
from infra.aws.built import Built
from infra.aws.cloud import Cloud, StackState
from infra.aws.command import CDK, FOLDER
from infra.aws.deployment import PARAMETERS, Deployment
from tests.support.emulator import REGION, Emulator, running_emulator

CERTIFICATE: Final = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d-0000-1111-2222-333344445555"
SECRET: Final = "arn:aws:secretsmanager:us-east-1:123456789012:secret:atlas-AbCdEf"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("account") / "emulator") as emulator:
        yield emulator


@pytest.fixture
def cloud(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return Cloud(botocore.session.Session(), REGION)


@pytest.fixture
def built(tmp_path: Path) -> Built:
    (tmp_path / "index.html").touch()
    (tmp_path / "package.zip").touch()
    return Built(tmp_path / "package.zip", tmp_path)


def deployment(**context: str) -> Deployment:
    return Deployment.from_context(context.get)


def machine(built: Built, **environ: str) -> preflight.Machine:
    """Where `true` stands for Docker: it succeeds, whatever it is asked."""
    return preflight.Machine(environ={"CDK_DOCKER": "true", **environ}, cdk=CDK, built=built)


def test_where_nothing_is_in_the_way_nothing_is_said(cloud: Cloud, built: Built) -> None:
    assert preflight.look(deployment(), machine(built), cloud).problems == []


def test_everything_that_is_missing_is_said_at_once(cloud: Cloud, tmp_path: Path) -> None:
    asked = preflight.Machine(
        environ={"CDK_DOCKER": "false"},
        cdk=tmp_path / "a" / "b" / "cdk",
        built=Built(tmp_path / "zip", tmp_path),
    )
    problems = preflight.look(
        deployment(
            profile="standard",
            domain="models.example.com",
            certificate=CERTIFICATE,
            mongo_uri_secret=SECRET,
        ),
        asked,
        cloud,
    ).problems
    wanted = (
        "make deploy",
        "CDK_DOCKER",
        "make package",
        "make site",
        "functions at once",
        CERTIFICATE,
        "secret",
    )
    assert [word for word in wanted if not any(word in one for one in problems)] == []
    assert len(problems) == len(wanted)


def test_an_old_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v18.20.8\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (problem,) = preflight._node()
    assert "20.19" in problem and "v18.20.8" in problem


def test_whoever_is_not_logged_in_is_told_how_to(
    emulator: Emulator, built: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    cloud = Cloud(botocore.session.Session(), REGION)
    (problem,) = preflight.look(deployment(), machine(built), cloud).problems
    assert "aws sso login" in problem and f"{REGION} is no region" in problem


def test_an_account_that_may_run_few_functions_can_ask_or_share(cloud: Cloud, built: Built) -> None:
    """The emulator's may run 573, the profile keeps 502, and AWS a hundred."""
    (problem,) = preflight.look(deployment(profile="standard"), machine(built), cloud).problems
    assert "request-service-quota-increase" in problem and "CONCURRENCY=shared" in problem
    shared = preflight.look(deployment(profile="standard", concurrency="shared"), machine(built), cloud)
    assert shared.problems == []


def test_a_certificate_is_issued_and_for_this_name(cloud: Cloud, built: Built, emulator: Emulator) -> None:
    asked = emulator.client("acm").request_certificate(DomainName="*.example.com")["CertificateArn"]
    given = {"domain": "models.example.com", "certificate": asked}
    assert preflight.look(deployment(**given), machine(built), cloud).problems == []
    given["domain"] = "models.example.org"
    (problem,) = preflight.look(deployment(**given), machine(built), cloud).problems
    assert "models.example.org" in problem


def test_a_secret_that_functions_cannot_read_is_found(cloud: Cloud, built: Built, emulator: Emulator) -> None:
    key = emulator.client("kms").create_key()["KeyMetadata"]["KeyId"]
    secrets = emulator.client("secretsmanager")
    mine = secrets.create_secret(Name="mine", SecretString="mongodb://x", KmsKeyId=key)["ARN"]
    awss = secrets.create_secret(Name="awss", SecretString="mongodb://x")["ARN"]
    (problem,) = preflight.look(deployment(mongo_uri_secret=mine), machine(built), cloud).problems
    assert "update-secret" in problem and "mongodb://" not in problem
    assert preflight.look(deployment(mongo_uri_secret=awss), machine(built), cloud).problems == []


class Stuck(Cloud):
    """One of whose stacks is in a state that no emulator leaves one in."""

    name = names.DATA
    status = "CREATE_COMPLETE"

    def stack(self, name: str) -> StackState | None:
        if name != self.name:
            return super().stack(name)
        return StackState(name, self.status, "", {}, datetime.now(UTC))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("UPDATE_COMPLETE", None),
        ("ROLLBACK_COMPLETE", None),
        ("UPDATE_ROLLBACK_COMPLETE", None),
        ("REVIEW_IN_PROGRESS", None),
        ("CREATE_IN_PROGRESS", "wait"),
        ("ROLLBACK_IN_PROGRESS", "wait"),
        ("DELETE_IN_PROGRESS", "wait"),
        ("DELETE_FAILED", f"make destroy REGION={REGION}"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
    ],
)
def test_a_stack_that_cannot_be_changed_now_is_found(
    cloud: Cloud, built: Built, monkeypatch: pytest.MonkeyPatch, status: str, advice: str | None
) -> None:
    monkeypatch.setattr(Stuck, "status", status)
    stuck = Stuck(botocore.session.Session(), REGION)
    problems = preflight.look(deployment(), machine(built), stuck).problems
    assert len(problems) == (advice is not None)
    assert all(names.DATA in one and status in one and str(advice) in one for one in problems)


def test_hosts_that_did_not_start_are_deployed_again_while_aws_waits_for_them(
    cloud: Cloud, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stuck, "name", names.HOSTS)
    monkeypatch.setattr(Stuck, "status", "ROLLBACK_IN_PROGRESS")
    stuck = Stuck(botocore.session.Session(), REGION)
    assert preflight.look(deployment(), machine(built), stuck).problems == []


class Standing(Cloud):
    """Where Setup has been told which MongoDB it is. `clusters`: of DocumentDB."""

    clusters: tuple[str, ...] = ()

    def stack(self, name: str) -> StackState | None:
        if name != names.SETUP:
            return None
        return StackState(name, "CREATE_COMPLETE", "", {}, datetime.now(UTC))

    def resources(self, stack: str, kind: str) -> list[str]:
        return list(self.clusters) if (stack, kind) == (names.DATA, "AWS::DocDB::DBCluster") else []


@pytest.mark.parametrize(
    ("clusters", "given", "said"),
    [
        pytest.param(("one",), {}, None, id="its own, as before"),
        pytest.param((), {"mongo_uri_secret": SECRET}, None, id="elsewhere, as before"),
        pytest.param(("one",), {"mongo_uri_secret": SECRET}, "a DocumentDB of its own", id="elsewhere now"),
        pytest.param((), {}, "a MongoDB that runs elsewhere", id="its own now"),
    ],
)
def test_where_records_are_is_chosen_once(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    clusters: tuple[str, ...],
    given: dict[str, str],
    said: str | None,
) -> None:
    monkeypatch.setattr(Standing, "clusters", clusters)
    standing = Standing(botocore.session.Session(), REGION)
    problems = preflight._records(deployment(**given), standing).problems
    assert len(problems) == (said is not None)
    assert all(str(said) in one and f"make destroy REGION={REGION}" in one for one in problems)


@pytest.mark.parametrize(
    ("profile", "allowed", "stops", "notes"),
    [
        pytest.param("small", 5, True, False, id="a new account: the way out takes two"),
        pytest.param("small", 6, False, True, id="one host"),
        pytest.param("small", 64, False, False, id="enough"),
        pytest.param("standard", 7, True, False, id="two hosts always run"),
        pytest.param("standard", 8, False, True, id="two hosts"),
        pytest.param("gpu", 0, True, False, id="no GPUs"),
        pytest.param("gpu", 4, False, True, id="one GPU"),
    ],
)
def test_the_first_hosts_find_machines(profile: str, allowed: float, stops: bool, notes: bool) -> None:
    found = preflight.of_processors(deployment(profile=profile), each=4, allowed=allowed)
    assert (bool(found.problems), bool(found.notes)) == (stops, notes)
    if stops:
        assert ("L-DB2E81BA" in found.problems[0]) is (profile == "gpu")


@pytest.mark.parametrize(
    ("name", "covers"),
    [
        ("models.example.com", True),
        ("*.example.com", True),
        ("example.com", False),
        ("*.com", False),
        ("*.models.example.com", False),
    ],
)
def test_a_star_stands_for_one_part_of_a_name(name: str, covers: bool) -> None:
    assert preflight._covers(name, "models.example.com") is covers


def test_the_guide_says_what_is_needed() -> None:
    guide = (FOLDER.parents[2] / "docs" / "deploy.md").read_text()
    sizes = {name: deployment(profile=name) for name in ("small", "standard", "gpu")}
    functions = [str(preflight.functions_needed(one)) for one in sizes.values()]
    assert f"| Lambda: functions at once | 10 or 50 | {' | '.join(functions)} |" in guide
    for row, those in (("standard", ("small", "standard")), ("G and VT", ("gpu",))):
        (line,) = [
            one for one in guide.splitlines() if one.startswith(f"| EC2: processors of {row} machines")
        ]
        for name in those:
            needed = int(line.split("|")[3 + list(sizes).index(name)])
            least, less = (
                preflight.of_processors(sizes[name], each=4, allowed=count).problems
                for count in (needed, needed - 1)
            )
            assert (bool(least), bool(less)) == (False, True), name


# The command


def test_what_stops_it_is_said_and_nothing_made(
    cloud: Cloud, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "--profile", "standard"], {"CDK_DOCKER": "false"}) == 2
    said = capsys.readouterr().err
    assert "Nothing was made" in said and "CDK_DOCKER" in said and "functions at once" in said
    assert emulator.client("cloudformation").list_stacks()["StackSummaries"] == []
    assert cloud.stack("ModelRocket-Setup") is None


def test_a_wrong_parameter_is_named(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--region", cloud.region, "--sign-up", "maybe"], {}) == 2
    assert "sign_up: one of closed, open expected, not 'maybe'." in capsys.readouterr().err


def test_a_profile_that_there_is_not_is_named(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    for region in ((), ("--region", REGION)):
        assert main(["deploy", *region], {"CDK_DOCKER": "true"}) in (1, 2)
        assert "nobodys" in capsys.readouterr().err


def test_whoever_ends_the_input_has_stopped_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> int:
        raise EOFError

    monkeypatch.setitem(command_line._COMMANDS, "destroy", ended)
    assert main(["destroy"], {}) == 1
    assert "Stopped" in capsys.readouterr().err


def test_a_name_is_taken_back_with_its_certificate(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"domain": "models.example.com", "certificate": CERTIFICATE, "profile": "standard"}
    monkeypatch.setattr(deploying, "remembered", lambda _cloud: before)
    context = command_line._context(parse(["deploy", "--domain", ""]), cloud)
    taken = Deployment.from_context(context.get)
    assert (taken.domain, taken.profile.name) == (None, "standard")


def test_what_was_given_before_is_not_taken_for_nothing_where_it_cannot_be_asked(cloud: Cloud) -> None:
    """Defaults in its place would take a deployment's name, its size and its MongoDB away."""

    class Silent(Cloud):
        def stack(self, name: str) -> StackState | None:
            raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, name)

    with pytest.raises(ClientError, match="Rate exceeded"):
        command_line._context(parse(["deploy"]), Silent(botocore.session.Session(), REGION))


def test_where_nothing_is_there_is_nothing_to_destroy(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["destroy"], {}) == 0
    assert f"Nothing is deployed in account 123456789012, region {cloud.region}" in capsys.readouterr().out


def test_there_is_no_key_without_a_deployment(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key"], {}) == 1
    assert f"no deployment in {cloud.region}" in capsys.readouterr().err


def test_every_parameter_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["deploy", "--help"], {})
    said = capsys.readouterr().out
    assert [name for name in PARAMETERS if f"--{name.replace('_', '-')} " not in said] == []


def test_every_parameter_is_a_variable_of_make() -> None:
    done = make("deploy", *(f"{name.upper()}=a{name}" for name in PARAMETERS))
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stdout.splitlines() if "infra.aws deploy" in one]
    assert [name for name in PARAMETERS if f'--{name.replace("_", "-")} "a{name}"' not in line] == []


def test_what_make_was_not_told_itself_is_not_for_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "of-a-shell")
    (line,) = [one for one in make("deploy").stdout.splitlines() if "infra.aws deploy" in one]
    assert "--" not in line


@pytest.mark.parametrize("goal", ["deploy", "destroy"])
def test_a_misspelt_variable_of_make_is_named(goal: str) -> None:
    done = make(goal, "REGOIN=eu-west-1")
    assert done.returncode == 2 and "REGOIN" in done.stderr


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What it would do, whatever another make around it was told."""
    return subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=FOLDER.parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_node_it_can_say_so() -> None:
    """CDK's library starts Node as soon as it is imported."""
    check = "import sys, infra.aws.__main__; sys.exit('jsii' in sys.modules or 'aws_cdk' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], cwd=FOLDER.parents[2], check=True)


def test_cdks_command_is_one_version_that_is_checked_by_its_hash() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    del locked[""]
    assert wanted == {"aws-cdk": locked["node_modules/aws-cdk"]["version"]}
    assert all(one["integrity"].startswith("sha512-") for one in locked.values())
    assert not [one for one in locked.values() if "resolved" in one]
