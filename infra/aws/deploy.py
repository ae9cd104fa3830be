"""`python -m infra.aws deploy`: the steps, in an order in which the platform is never open to strangers.

    templates → bootstrap, AWS's own roles → storage, network, stores, Setup → Setup runs → all the rest

Setup has made the indexes and the operator's key before there is an API, and a new release's indexes before
its functions. What has died halfway goes on when it is called again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botocore.exceptions import ClientError

from infra.aws import hostless, linked, names
from infra.aws.cloud import Clock, Cloud
from infra.aws.command import Cdk
from infra.aws.owner import Owner

BOOTSTRAP: Final = "/cdk-bootstrap/hnb659fds/version"
_BOOTSTRAP_VERSION: Final = 6
"""The least that the templates ask for."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """`synthesize`: a context → the folder with the templates. `say`: a line of progress."""

    cdk: Cdk
    clock: Clock
    owner: Owner
    synthesize: Callable[[Mapping[str, str]], Path]
    say: Say


def remembered(cloud: Cloud) -> Mapping[str, str]:
    """What was given with the deployment that is there."""
    stack = cloud.stack(names.SETUP)
    given: dict[str, str] = json.loads(stack.outputs.get(names.GIVEN, "{}")) if stack else {}
    return given


def deploy(
    cloud: Cloud, tools: Tools, context: Mapping[str, str], *, told_key: Callable[[str], None]
) -> None:
    """`told_key`: is told the operator's first key as soon as it works: it is known this once.

    Raises CannotGoOn, AwsError.
    """
    say = tools.say
    say("Templates")
    templates = tools.synthesize(context)
    if _bootstrapped(cloud) < _BOOTSTRAP_VERSION:
        say("What CDK needs in this account and region")
        tools.cdk.bootstrap(cloud.identity()[0])
    linked.make(cloud)
    if hostless.has_failed(cloud, names.HOSTS):
        say("Hosts did not start before: what is left of them goes")
        hostless.let_go_of_failed(cloud, names.HOSTS, tools.clock)
    say("Storage, network and stores: a quarter of an hour the first time")
    tools.cdk.deploy(templates, names.SETUP)
    say("Indexes, and the operator's account")
    if key := tools.owner.begin():
        told_key(key)
    say("Hosts, API, site: half an hour the first time, with the hosts' image")
    tools.cdk.deploy(templates)


def _bootstrapped(cloud: Cloud) -> int:
    """The version of what CDK has put there; 0 for nothing."""
    try:
        return int(cloud.client("ssm").get_parameter(Name=BOOTSTRAP)["Parameter"]["Value"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        return 0
