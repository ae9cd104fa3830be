"""What functions and hosts ask of AWS is what they may, and they may nothing that they do not ask.

Their calls are noted while they do what they do (`rehearsals`), put into the permissions that they take
(`recorder`), and judged by the roles of the templates (`deployed`, `simulator`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import pytest

from infra.aws import permissions
from infra.aws.acknowledged import shown
from infra.local.embedded import EmbeddedServers
from tests.aws import rehearsals
from tests.aws.deployed import ACCOUNT, Deployed, Function, Role
from tests.aws.recorder import Call, Permissions
from tests.aws.rehearsals import HOST, Stage, staged
from tests.aws.simulator import Decision, Request, Statement, applies, decide, listed
from tests.aws.templates import World, text

NAMES: Final = (*rehearsals.FUNCTIONS, HOST)
OF_BUCKET: Final = ("Management", "Inference", "Coordinator", HOST)
"""Who has to do with it."""
CHANGES: Final = ("s3:DeleteBucket", "s3:PutBucketPolicy", "s3:PutLifecycleConfiguration")
HOSTS_ROLE: Final = ("Hosts", "TaskTaskRole")
NOT_CALLED: Final = {
    "ec2:": "Lambda itself makes and removes a function's network interfaces, in the function's role.",
    "logs:": "Lambda itself writes what a function prints.",
}
"""What roles may that nobody's code calls, by how the actions begin, and why they may."""
OTHERS: Final = {
    ("ControlPlane", "ApiCloudWatchRole"): "API Gateway writes its log in it.",
    ("Hosts", "MachinesRole"): "ECS's agent works in it: see test_hosts.",
    ("Hosts", "TaskExecutionRole"): "ECS's agent fetches a host's image and secrets: see test_hosts.",
    ("Network", "VpcRefusalsIAMRole"): "What the network refuses is written to a log in it.",
    ("Network", "VpcwayoutSubnet1NatInstanceInstanceRole"): "An instance has to have one. It may nothing.",
    ("Site", "CustomCDKBucketDeployment"): "CDK's own function, which copies the site's files.",
}
"""Roles that no code of ours has, by the beginning of their ids, and who has them."""


CONTAINED: Final = {("Management", HOST), *((one, "Setup") for one in rehearsals.FUNCTIONS)}
"""Who does all that another does: look at models, and read where the records are."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who calls. `asked`: all that its calls took; `told`: what it takes to hear that one is missing."""

    role: Role
    caller: Mapping[str, str]
    asked: tuple[Request, ...]
    told: tuple[Request, ...]


@pytest.fixture(scope="module", params=("small", "standard"))
def stage(
    request: pytest.FixtureRequest,
    worlds: Mapping[str, World],
    servers: EmbeddedServers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """With all that they called."""
    deployed = Deployed(worlds[request.param])
    with staged(deployed, servers, tmp_path_factory.mktemp("host")) as ready:
        for rehearse in (*rehearsals.FUNCTIONS.values(), rehearsals.look_up):
            rehearse(ready)
        yield ready


@pytest.fixture(scope="module")
def subjects(stage: Stage) -> Mapping[str, Subject]:
    deployed, functions = stage.deployed, stage.deployed.functions()
    return {name: _subject(deployed, functions.get(name), stage, name) for name in stage.calls}


def _subject(deployed: Deployed, function: Function | None, stage: Stage, name: str) -> Subject:
    key = (function.stack, function.role) if function else HOSTS_ROLE
    caller = {"lambda:SourceFunctionArn": function.arn} if function else {}
    takes = Permissions(deployed, caller)
    calls = stage.calls[name]
    return Subject(
        role=deployed.roles()[key],
        caller=caller,
        asked=tuple(one for call in calls for one in takes.needed(call)),
        told=tuple(one for call in calls for one in takes.to_be_told(call)),
    )


def answered(stage: Stage, subject: Subject, request: Request) -> Decision:
    """By its role, and where it is of a bucket by that bucket's own policy, which only ever denies it."""
    own = stage.deployed.policies_of(request.resource.partition("/")[0])
    denying = [one for one in own if one["Effect"] == "Deny"]
    return decide([*subject.role.statements, *denying], request)


# Every call is allowed


def test_every_function_of_ours_is_rehearsed(stage: Stage) -> None:
    assert set(stage.deployed.functions()) == set(rehearsals.FUNCTIONS)
    assert set(stage.calls) == set(NAMES)
    assert all(stage.calls.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_it_asks_it_may(stage: Stage, subjects: Mapping[str, Subject], name: str) -> None:
    subject = subjects[name]
    answers = {str(one): answered(stage, subject, one) for one in subject.asked}
    assert {one: answer for one, answer in answers.items() if answer is not Decision.ALLOWED} == {}


@pytest.mark.parametrize("name", sorted({"Management", "Inference"}))
def test_what_is_missing_is_missing_and_not_refused(
    stage: Stage, subjects: Mapping[str, Subject], name: str
) -> None:
    assert subjects[name].told
    assert {answered(stage, subjects[name], one) for one in subjects[name].told} == {Decision.ALLOWED}


def test_a_host_is_refused_what_is_missing_because_it_may_not_list(
    stage: Stage, subjects: Mapping[str, Subject]
) -> None:
    """As it expects: see `host_container.artifacts`. Who lists finds all models there are, and reads them."""
    (told,) = set(map(str, subjects[HOST].told))
    assert told.startswith("s3:ListBucket")
    assert {answered(stage, subjects[HOST], one) for one in subjects[HOST].told} == {Decision.REFUSED}


# Nothing else is


@pytest.mark.parametrize("name", NAMES)
def test_what_it_may_it_asks(subjects: Mapping[str, Subject], name: str) -> None:
    """Action by action and resource by resource, under the statement's condition."""
    subject = subjects[name]
    unused = [
        f"{grant['Action']} on {grant['Resource']}"
        for grant in _grants(subject.role)
        if not grant["Action"].startswith(tuple(NOT_CALLED))
        and not any(applies(grant, one) for one in (*subject.asked, *subject.told))
    ]
    assert unused == []
    assert subject.role.managed == ()


def test_there_is_no_other_role_that_anybody_has(stage: Stage) -> None:
    ours = {HOSTS_ROLE} | {(one.stack, one.role) for one in stage.deployed.functions().values()}
    others = set(stage.deployed.roles()) - ours
    assert {(stack, id_) for stack, id_ in others if not _is_another(stack, id_)} == set()


@pytest.mark.parametrize(("one", "other"), list(permutations(NAMES, 2)))
def test_nobody_may_do_what_another_does(
    stage: Stage, subjects: Mapping[str, Subject], one: str, other: str
) -> None:
    """But what it does itself: the same on the same part of a bucket, or on the same thing elsewhere."""
    own = {_kind(asked) for asked in (*subjects[one].asked, *subjects[one].told)}
    foreign = [asked for asked in subjects[other].asked if _kind(asked) not in own]
    assert foreign or (one, other) in CONTAINED
    may = [
        str(asked)
        for asked in foreign
        if answered(stage, subjects[one], _by(subjects[one], asked)) is Decision.ALLOWED
    ]
    assert may == []


@pytest.mark.parametrize(
    ("name", "action", "key"),
    [
        ("Inference", "s3:GetObject", "models/tenant/model/version/sha.onnx"),
        ("Inference", "s3:PutObject", "models/tenant/model/version/sha.onnx"),
        ("Inference", "s3:GetObject", "staging/tenant/version"),
        ("Inference", "s3:DeleteObject", "payloads/tenant/1"),
        ("Management", "s3:GetObject", "payloads/tenant/1"),
        ("Management", "s3:PutObject", "payloads/tenant/1"),
        ("Management", "s3:GetObjectVersion", "models/tenant/model/version/sha.onnx"),
        ("Management", "s3:DeleteObjectVersion", "models/tenant/model/version/sha.onnx"),
        ("Coordinator", "s3:GetObject", "models/tenant/model/version/sha.onnx"),
        ("Coordinator", "s3:PutObject", "models/tenant/model/version/sha.onnx"),
        ("Coordinator", "s3:GetObject", "payloads/tenant/1"),
        ("Host", "s3:GetObject", "payloads/tenant/1"),
        ("Host", "s3:GetObject", "staging/tenant/version"),
        ("Host", "s3:PutObject", "models/tenant/model/version/sha.onnx"),
        ("Host", "s3:DeleteObject", "models/tenant/model/version/sha.onnx"),
    ],
)
def test_models_and_payloads_are_not_everybodys(
    stage: Stage, subjects: Mapping[str, Subject], name: str, action: str, key: str
) -> None:
    asked = Request(action, f"{_models(stage)}/{key}", subjects[name].caller)
    assert answered(stage, subjects[name], asked) is Decision.REFUSED


@pytest.mark.parametrize("name", NAMES)
def test_nobody_changes_the_bucket(stage: Stage, subjects: Mapping[str, Subject], name: str) -> None:
    for action in CHANGES:
        asked = Request(action, _models(stage), subjects[name].caller)
        assert answered(stage, subjects[name], asked) is Decision.REFUSED


@pytest.mark.parametrize("name", OF_BUCKET)
def test_nothing_goes_to_the_bucket_in_the_clear(
    stage: Stage, subjects: Mapping[str, Subject], name: str
) -> None:
    """What is allowed otherwise is denied."""
    of_s3 = [one for one in subjects[name].asked if one.action.startswith("s3:")]
    for said in ({"aws:SecureTransport": "false"}, {"s3:TlsVersion": "1.1"}):
        again = [Request(one.action, one.resource, {**one.context, **said}) for one in of_s3]
        assert {answered(stage, subjects[name], one) for one in again} == {Decision.DENIED}


@pytest.mark.parametrize("name", sorted(rehearsals.FUNCTIONS))
def test_interfaces_are_lambdas_and_not_the_functions_own(subjects: Mapping[str, Subject], name: str) -> None:
    """Calls of a function's code say which function it is, Lambda's own do not."""
    subject = subjects[name]
    for action in permissions.OF_NETWORK:
        assert decide(subject.role.statements, Request(action, "*")) is Decision.ALLOWED
        assert decide(subject.role.statements, Request(action, "*", subject.caller)) is Decision.DENIED


def test_ecs_reads_for_a_host_its_two_secrets_and_no_others(stage: Stage) -> None:
    """And has the key decrypt these two."""
    deployed, role = stage.deployed, stage.deployed.roles()[("Hosts", "TaskExecutionRole")]
    own = {deployed.named("AWS::SecretsManager::Secret", one)[0] for one in ("RedisUrlhost", "DispatchKey")}
    for arn in deployed.of("AWS::SecretsManager::Secret"):
        asked = Permissions(deployed).needed(Call("secretsmanager", "GetSecretValue", {"SecretId": arn}))
        wanted = Decision.ALLOWED if arn in own else Decision.REFUSED
        assert {decide(role.statements, one) for one in asked} == {wanted}, arn


def test_who_uses_the_key_is_for_roles_to_say(stage: Stage) -> None:
    """A key's own policy comes first: it leaves that to the account, and lets nobody else."""
    _, key = stage.deployed.named("AWS::KMS::Key", "Key")
    let = {one["Principal"]["AWS"] for one in key["KeyPolicy"]["Statement"]}
    assert let == {f"arn:aws:iam::{ACCOUNT}:root"}


# Wildcards


def test_every_wildcard_has_a_reason(world: World) -> None:
    """At the role whose it is, or above. A star for an account's name or number there is none."""
    unexplained = [
        f"{stack} {path}: {finding}"
        for stack in world.templates
        for path, finding in _wildcards(world, stack)
        if finding not in _explained(world, stack, path)
    ]
    assert unexplained == []


def test_a_bucket_lets_others_do_something_with_itself_alone(world: World) -> None:
    for policy in world.of("AWS::S3::BucketPolicy").values():
        bucket = policy["Properties"]["Bucket"]["Ref"]
        for one in policy["Properties"]["PolicyDocument"]["Statement"]:
            for resource in listed(one["Resource"]):
                assert text(resource).partition("/")[0] == f"<{bucket}.Arn>"


def _grants(role: Role) -> Iterator[Statement]:
    """What a role is allowed, one action and one resource at a time."""
    for one in role.statements:
        for action in listed(one["Action"]) if one["Effect"] == "Allow" else ():
            for resource in listed(one["Resource"]):
                yield {**one, "Action": action, "Resource": resource}


def _kind(request: Request) -> tuple[str, str, str]:
    """Of what is done: objects of one beginning are alike, and data keys by whom they are for."""
    through = request.context.get("kms:ViaService", "")
    part = request.resource.split("/")[:2] if ":s3:" in request.resource else [request.resource]
    return request.action, "/".join(part), through


def _by(subject: Subject, request: Request) -> Request:
    """The same, asked by somebody else."""
    context = {name: value for name, value in request.context.items() if not name.startswith("lambda:")}
    return Request(request.action, request.resource, {**context, **subject.caller})


def _models(stage: Stage) -> str:
    arn, _ = stage.deployed.named("AWS::S3::Bucket", "Models")
    return arn


def _is_another(stack: str, id_: str) -> bool:
    return any(stack == where and id_.startswith(beginning) for where, beginning in OTHERS)


def _wildcards(world: World, stack: str) -> Iterator[tuple[str, str]]:
    """The path of each policy of a role that names things by a wildcard, and the finding that this is."""
    paths = {logical_id: path for path, logical_id in _noted(world, stack, "aws:cdk:logicalId")}
    for id_, one in world.templates[stack]["Resources"].items():
        for statement in _of_roles(one):
            for element in ("Action", "Resource") if statement["Effect"] == "Allow" else ():
                for value in map(shown, listed(statement[element])):
                    if "*" in value or "?" in value:
                        yield paths[id_], f"IAM5[{element}::{value}]"


def _of_roles(resource: Mapping[str, Any]) -> Iterator[Any]:
    properties = resource.get("Properties", {})
    if resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
        yield from listed(properties["PolicyDocument"]["Statement"])
    if resource["Type"] == "AWS::IAM::Role":
        for policy in properties.get("Policies", ()):
            yield from listed(policy["PolicyDocument"]["Statement"])


def _explained(world: World, stack: str, path: str) -> set[str]:
    """The findings for which there is a reason, there or above."""
    return {
        rule.partition("AwsSolutions-")[2]
        for where, rules in _noted(world, stack, "aws:cdk:acknowledged-rules")
        if f"{path}/".startswith(f"{where}/")
        for rule, reason in rules.items()
        if reason.strip()
    }


def _noted(world: World, stack: str, kind: str) -> Iterator[tuple[str, Any]]:
    """What CDK writes beside a template: by paths of constructs."""
    found = json.loads((world.folder / f"ModelRocket-{stack}.metadata.json").read_text())
    for path, entries in found.items():
        yield from ((path, entry["data"]) for entry in entries if entry["type"] == kind)
