"""`python -m infra.aws.app`: what is deployed, as templates in build/cdk.out. `cdk deploy` runs it too.

What it deploys is built before: the functions by `make package`, the web UI by `make site`.
Parameters, as `-c name=value`: see `deployment.py`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import App, Environment, Validations
from cdk_nag import AwsSolutionsChecks

from chalicelib.settings import SignUpMode
from infra.aws import names
from infra.aws.built import OUT, Built
from infra.aws.deployment import Deployment, InvalidContext, said
from infra.aws.stacks.control_plane import ControlPlane, Functions, Stores
from infra.aws.stacks.data import Data
from infra.aws.stacks.hosts import Fleet, Hosts
from infra.aws.stacks.monitoring import Monitoring, Told
from infra.aws.stacks.network import Network
from infra.aws.stacks.setup import Program, Setup
from infra.aws.stacks.site import Site
from infra.aws.stacks.storage import Storage

FLAGS: Final[dict[str, Any]] = {
    "@aws-cdk/aws-ec2:restrictDefaultSecurityGroup": False,  # it would take a function of its own
    "@aws-cdk/aws-ec2:uniqueImdsv2TemplateName": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-s3:createDefaultLoggingPolicy": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/core:enablePartitionLiterals": True,
    "@aws-cdk/core:target-partitions": ["aws"],
}
"""How CDK is to behave where it changed its mind; here, so that it does so whoever runs the app."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """What stands, for what is to stand on it."""

    storage: Storage
    network: Network
    data: Data
    setup: Setup
    hosts: Hosts
    control_plane: ControlPlane
    site: Site
    monitoring: Monitoring


def new_app(outdir: str | None) -> App:
    """cdk-nag checks every stack of it when it is synthesized. cfn-lint looks at the templates by itself."""
    app = App(
        outdir=outdir, analytics_reporting=False, builtin_cloud_formation_validation=False, context=FLAGS
    )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


def build(app: App, deployment: Deployment, built: Built) -> Stacks:
    where = {"env": Environment(region=deployment.region)}
    storage = Storage(app, names.STORAGE, upload_origin=deployment.origin, **where)
    network = Network(
        app,
        names.NETWORK,
        profile=deployment.profile,
        mongo_is_outside=deployment.mongo_uri_secret is not None,
        **where,
    )
    data = Data(
        app,
        names.DATA,
        network=network,
        storage=storage,
        redis=deployment.profile.redis,
        mongo=deployment.mongo_uri_secret or deployment.profile.mongo,
        **where,
    )
    setup = Setup(
        app,
        names.SETUP,
        network=network,
        storage=storage,
        data=data,
        program=Program(
            package=built.package,
            reserved=deployment.concurrency_reserved,
            given=said(app.node.try_get_context),
        ),
        **where,
    )
    hosts = Hosts(
        app,
        names.HOSTS,
        network=network,
        storage=storage,
        data=data,
        fleet=Fleet(deployment.profile.hosts, deployment.door_certificate),
        **where,
    )
    control_plane = ControlPlane(
        app,
        names.CONTROL_PLANE,
        stores=Stores(network=network, storage=storage, data=data),
        hosts=hosts,
        public_url=deployment.origin,
        functions=Functions(
            package=built.package,
            size=deployment.profile.functions,
            reserved=deployment.concurrency_reserved,
            sign_up=SignUpMode.OPEN if deployment.sign_up_open else SignUpMode.CLOSED,
        ),
        **where,
    )
    control_plane.add_stack_dependency(setup)
    site = Site(
        app,
        names.SITE,
        api=control_plane.origin,
        files=built.site,
        domain=deployment.domain,
        **where,
    )
    monitoring = Monitoring(
        app,
        names.MONITORING,
        control_plane=control_plane,
        data=data,
        profile=deployment.profile,
        told=Told(deployment.alarm_email, deployment.budget_usd),
        **where,
    )
    monitoring.add_stack_dependency(site)  # before it is there the coordinator decides nothing
    return Stacks(storage, network, data, setup, hosts, control_plane, site, monitoring)


def main() -> int:
    given = os.environ.get("CDK_OUTDIR")  # noqa: TID251 - an entry point; the cdk command says where it looks
    built = Built()
    if problems := built.missing():
        print(*problems, sep="\n", file=sys.stderr)
        return 2
    app = new_app(given or str(OUT))
    try:
        build(app, Deployment.from_context(app.node.try_get_context), built)
    except InvalidContext as error:
        print(error, file=sys.stderr)
        return 2
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
