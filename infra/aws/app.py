"""`python -m infra.aws.app`: what is deployed, as templates in build/cdk.out. `cdk deploy` runs it too.

What it deploys is built before: the functions by `make package`, the web UI by `make site`.
Parameters, as `-c name=value`: see `deployment.py`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aws_cdk import App, Environment, Validations
from cdk_nag import AwsSolutionsChecks

from infra.aws.deployment import Deployment, InvalidContext
from infra.aws.stacks.control_plane import ControlPlane, Functions, Stores
from infra.aws.stacks.data import Data
from infra.aws.stacks.hosts import Fleet, Hosts
from infra.aws.stacks.network import Network
from infra.aws.stacks.site import Site
from infra.aws.stacks.storage import Storage

NAME: Final = "ModelRocket"
ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / "build" / "cdk.out"
FLAGS: Final[dict[str, Any]] = {
    "@aws-cdk/aws-ec2:restrictDefaultSecurityGroup": False,  # it would take a function of its own
    "@aws-cdk/aws-ec2:uniqueImdsv2TemplateName": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-s3:createDefaultLoggingPolicy": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:checkSecretUsage": True,
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
    hosts: Hosts
    control_plane: ControlPlane
    site: Site


@dataclass(frozen=True, slots=True)
class Built:
    """`package`: the zip of the functions. `site`: the folder of the web UI."""

    package: Path = ROOT / "build" / "lambda" / "modelrocket.zip"
    site: Path = ROOT / "frontend" / "dist"

    def missing(self) -> str | None:
        """What to do about it."""
        if not self.package.is_file():
            return f"{self.package} is not there: `make package` builds it."
        if not (self.site / "index.html").is_file():
            return f"{self.site} is not there: `make site` builds it."
        return None


def new_app(outdir: str | None) -> App:
    """cdk-nag checks every stack of it when it is synthesized. cfn-lint looks at the templates by itself."""
    app = App(
        outdir=outdir, analytics_reporting=False, builtin_cloud_formation_validation=False, context=FLAGS
    )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


def build(app: App, deployment: Deployment, built: Built) -> Stacks:
    where = {"env": Environment(region=deployment.region)}
    storage = Storage(app, f"{NAME}-Storage", upload_origin=deployment.origin, **where)
    network = Network(
        app,
        f"{NAME}-Network",
        profile=deployment.profile,
        mongo_is_outside=deployment.mongo_uri_secret is not None,
        **where,
    )
    data = Data(
        app,
        f"{NAME}-Data",
        network=network,
        storage=storage,
        redis=deployment.profile.redis,
        mongo=deployment.mongo_uri_secret or deployment.profile.mongo,
        **where,
    )
    hosts = Hosts(
        app,
        f"{NAME}-Hosts",
        network=network,
        storage=storage,
        data=data,
        fleet=Fleet(deployment.profile.hosts, deployment.door_certificate),
        **where,
    )
    control_plane = ControlPlane(
        app,
        f"{NAME}-ControlPlane",
        stores=Stores(network=network, storage=storage, data=data),
        hosts=hosts,
        public_url=deployment.origin,
        functions=Functions(package=built.package, size=deployment.profile.functions),
        **where,
    )
    site = Site(
        app,
        f"{NAME}-Site",
        api=control_plane.origin,
        files=built.site,
        domain=deployment.domain,
        **where,
    )
    return Stacks(storage, network, data, hosts, control_plane, site)


def main() -> int:
    given = os.environ.get("CDK_OUTDIR")  # noqa: TID251 - an entry point; the cdk command says where it looks
    built = Built()
    if problem := built.missing():
        print(problem, file=sys.stderr)
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
