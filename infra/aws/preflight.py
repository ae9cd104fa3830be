"""What would stop a deployment halfway, found before anything is made: all of it at once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.aws import names
from infra.aws.built import Built
from infra.aws.cloud import AwsError, Cloud, StackState
from infra.aws.deployment import Deployment

_NODE: Final = (20, 19)
_PROGRAM_SECONDS_MAX: Final = 60
_SINGLE_FUNCTIONS: Final = 2
"""The coordinator and Setup: one of each at once."""
_UNRESERVED: Final = 100
"""Of what an account may run at once, AWS leaves so many to functions that have no share of their own."""
_FUNCTIONS_QUOTA: Final = "L-B99A9384"
_FUNCTIONS_ASKED: Final = 1000
_STANDARD_QUOTA: Final = "L-1216C47A"
_GPU_QUOTA: Final = "L-DB2E81BA"
_NAT_PROCESSORS: Final = 2
_SITE_REGION: Final = "us-east-1"
_MISSING: Final = ("ResourceNotFoundException", "InvalidInstanceType")
"""A certificate, a secret, a kind of machine that this region does not have."""
_AWS_OWNED: Final = "alias/aws/secretsmanager"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`problems`: each of them stops a deployment. `notes`: what one should know, and can go on without."""

    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What deploys: this process's environment, the CDK command, what was built."""

    environ: Mapping[str, str]
    cdk: Path
    built: Built


def look(deployment: Deployment, machine: Machine, cloud: Cloud) -> Found:
    """Raises nothing for what it cannot look up: that is a note, or a problem where nothing can go on."""
    of_account = _account(deployment, cloud)
    return Found(problems=[*_machine(machine), *of_account.problems], notes=of_account.notes)


# The machine


def _machine(machine: Machine) -> Iterator[str]:
    yield from _node()
    if not machine.cdk.exists():
        yield (
            f"The CDK command is not installed: `make deploy` does it, or `npm ci --prefix "
            f"{machine.cdk.parents[2]}`."
        )
    yield from _docker(machine.environ)
    yield from machine.built.missing()


def _node() -> Iterator[str]:
    said = _output("node", "--version")
    version = re.match(r"v(\d+)\.(\d+)", said or "")
    if version is None or tuple(map(int, version.groups())) < _NODE:
        yield f"Node {'.'.join(map(str, _NODE))} or newer is needed, for CDK; here is {said or 'none'}."


def _docker(environ: Mapping[str, str]) -> Iterator[str]:
    program = environ.get("CDK_DOCKER") or "docker"
    if _output(program, "ps") is None:
        yield (
            f"`{program} ps` fails: hosts' image cannot be built. Start Docker, or name what is in its "
            "place: CDK_DOCKER=finch (or podman)."
        )


def _output(*command: str) -> str | None:
    """What a program says; None where it is not there, fails or hangs."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PROGRAM_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


# The account


def _account(deployment: Deployment, cloud: Cloud) -> Found:
    try:
        cloud.identity()
    except AwsError as error:
        return Found(
            problems=[
                f"AWS does not know who asks ({error}). Log in, with `aws sso login` or `aws configure`, or "
                "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Who is logged in hears this "
                f"where {cloud.region} is no region, or one that is not switched on in the account."
            ]
        )
    problems: list[str] = []
    notes: list[str] = []
    for check in _OF_ACCOUNT:
        try:
            found = check(deployment, cloud)
        except AwsError as error:
            if _is_missing(error):
                problems.append(f"Not found: {error}")
            else:
                notes.append(f"Not looked up, so not known to be enough: {error}")
        else:
            problems += found.problems
            notes += found.notes
    return Found(problems=problems, notes=notes)


def _is_missing(error: Exception) -> bool:
    """Rather than that whoever asks may not know."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _MISSING


def _stacks(_deployment: Deployment, cloud: Cloud) -> Found:
    """CDK takes up what has failed, but for these."""
    found = (cloud.stack(name) for name in names.ALL)
    return Found(
        problems=[
            f"The stack {stack.name} is {stack.status}. {advice}"
            for stack in found
            if stack is not None and (advice := _advice(stack, cloud.region))
        ]
    )


def _advice(stack: StackState, region: str) -> str | None:
    match stack.status:
        case "REVIEW_IN_PROGRESS":
            return None
        case "ROLLBACK_IN_PROGRESS" if stack.name == names.HOSTS:
            return None  # it would wait for machines of which deploying lets go
        case "DELETE_FAILED":
            return f"It is half gone: take all of it away first, make destroy REGION={region} (keeps models)."
        case "UPDATE_ROLLBACK_FAILED":
            return (
                "Why it could not go back, its events in AWS's console say. Then: aws cloudformation "
                f"continue-update-rollback --region {region} --stack-name {stack.name}"
            )
        case status if status.endswith("_IN_PROGRESS"):
            return "What was begun before, here or by somebody else, goes on in AWS: wait until it has ended."
    return None


def _functions(deployment: Deployment, cloud: Cloud) -> Found:
    needed = functions_needed(deployment)
    limits = cloud.client("lambda").get_account_settings()["AccountLimit"]
    most = limits["ConcurrentExecutions"]
    free = limits["UnreservedConcurrentExecutions"] + _reserved(cloud)
    ask = (
        f"aws service-quotas request-service-quota-increase --region {cloud.region} --service-code lambda "
        f"--quota-code {_FUNCTIONS_QUOTA} --desired-value {_FUNCTIONS_ASKED}"
    )
    if not deployment.concurrency_reserved:
        shared = f"All functions share the {most} that this account may run at once."
        return Found(notes=[shared] if most >= needed else [f"{shared} Ask for more: {ask}"])
    if free >= needed:
        return Found()
    return Found(
        problems=[
            f"This account may run {most} functions at once in {cloud.region}, of which {free} can be shared "
            f"out. The profile {deployment.profile.name} needs {needed}, of which {_UNRESERVED} are "
            f"kept for all other functions. Ask for more, which costs nothing: {ask}\n"
            "  Until it is granted, deploy with CONCURRENCY=shared (--concurrency shared): no function has a "
            "share of its own, and a burst of calls may keep uploads and the coordinator waiting."
        ]
    )


def functions_needed(deployment: Deployment) -> int:
    """How many an account must be able to run at once, for each of ours to have its share."""
    size = deployment.profile.functions
    return size.inference + size.management + _SINGLE_FUNCTIONS + _UNRESERVED


def _reserved(cloud: Cloud) -> int:
    """By this deployment's functions, where it is there already."""
    functions = [
        function
        for stack in (names.SETUP, names.CONTROL_PLANE)
        if cloud.stack(stack) is not None
        for function in cloud.resources(stack, "AWS::Lambda::Function")
    ]
    ask = cloud.client("lambda").get_function_concurrency
    return sum(ask(FunctionName=name).get("ReservedConcurrentExecutions", 0) for name in functions)


def _machines(deployment: Deployment, cloud: Cloud) -> Found:
    hosts = deployment.profile.hosts
    (kind,) = cloud.client("ec2").describe_instance_types(InstanceTypes=[hosts.instance_type])[
        "InstanceTypes"
    ]
    allowed = _quota(cloud, _GPU_QUOTA if hosts.has_gpu else _STANDARD_QUOTA)
    return of_processors(deployment, each=kind["VCpuInfo"]["DefaultVCpus"], allowed=allowed)


def of_processors(deployment: Deployment, *, each: int, allowed: float) -> Found:
    """CloudFormation waits for the first host, and gives up after hours where there is no machine for it.

    `each`: how many one machine has. `allowed`: what the account may run of them.
    """
    hosts = deployment.profile.hosts
    of_nat = 0 if deployment.profile.endpoints else _NAT_PROCESSORS
    least, most = (each * max(count, 1) + of_nat for count in (hosts.fewest, hosts.most))
    may = (
        f"This account may run {allowed:g} processors of machines such as {hosts.instance_type} in "
        f"{deployment.region}"
    )
    ask = (
        f"Ask for {most}, which costs nothing: aws service-quotas request-service-quota-increase --region "
        f"{deployment.region} --service-code ec2 --quota-code "
        f"{_GPU_QUOTA if hosts.has_gpu else _STANDARD_QUOTA} --desired-value {most}"
    )
    if allowed < least:
        return Found(problems=[f"{may}, and the first hosts need {least}. {ask}"])
    if allowed < most:
        return Found(notes=[f"{may}: fewer than the {hosts.most} hosts that there may be. {ask}"])
    return Found()


def _quota(cloud: Cloud, code: str) -> float:
    quotas = cloud.client("service-quotas")
    try:
        found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchResourceException":
            raise
        found = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
    return float(found["Quota"]["Value"])


def _certificates(deployment: Deployment, cloud: Cloud) -> Found:
    problems: list[str] = []
    if deployment.domain:
        found = _certificate(cloud, deployment.domain.certificate, _SITE_REGION)
        problems += _not_issued(found)
        if not any(_covers(name, deployment.domain.name) for name in found["SubjectAlternativeNames"]):
            problems.append(f"certificate: it is not one for {deployment.domain.name}.")
    if deployment.door_certificate:
        problems += _not_issued(_certificate(cloud, deployment.door_certificate, cloud.region))
    return Found(problems=problems)


def _certificate(cloud: Cloud, arn: str, region: str) -> Any:
    return cloud.client("acm", region).describe_certificate(CertificateArn=arn)["Certificate"]


def _not_issued(found: Any) -> list[str]:
    if found["Status"] == "ISSUED":
        return []
    return [
        f"{found['CertificateArn']} is {found['Status']}: CloudFormation takes it once it is ISSUED. AWS's "
        "console says what it waits for."
    ]


def _covers(name: str, domain: str) -> bool:
    if name.startswith("*."):
        return domain.partition(".")[2] == name[2:]
    return name == domain


def _secret(deployment: Deployment, cloud: Cloud) -> Found:
    """Functions may use one key of KMS, and AWS's own."""
    arn = deployment.mongo_uri_secret
    if arn is None:
        return Found()
    key = cloud.client("secretsmanager").describe_secret(SecretId=arn).get("KmsKeyId", _AWS_OWNED)
    if key.endswith(_AWS_OWNED):
        return Found()
    return Found(
        problems=[
            f"mongo_uri_secret: it is encrypted with {key}, which functions may not use. Let it have AWS's "
            f"own: aws secretsmanager update-secret --region {cloud.region} --secret-id {arn} "
            f"--kms-key-id {_AWS_OWNED}"
        ]
    )


def _records(deployment: Deployment, cloud: Cloud) -> Found:
    """Which MongoDB it is the other stacks have been told: CloudFormation changes nothing of that."""
    if cloud.stack(names.SETUP) is None:
        return Found()
    elsewhere = deployment.mongo_uri_secret is not None
    if elsewhere != bool(cloud.resources(names.DATA, "AWS::DocDB::DBCluster")):
        return Found()
    records = "a DocumentDB of its own" if elsewhere else "a MongoDB that runs elsewhere"
    return Found(
        problems=[
            f"mongo_uri_secret: this deployment has its records in {records}, which is chosen once. Give "
            "what was given before; or take the deployment away, which keeps the models, and begin anew: "
            f"make destroy REGION={cloud.region}"
        ]
    )


_OF_ACCOUNT: Final = (_stacks, _functions, _machines, _certificates, _secret, _records)
