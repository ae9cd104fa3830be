"""The platform as `make deploy` brings it to AWS, with the emulator in the place of that.

What the emulator only writes down is real beside it: MongoDB and Redis are the local stack's, hosts are
processes, and a front stands where CloudFront does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.limits import UPLOAD_PART_BYTES_MIN
from infra.aws import names
from infra.aws.cloud import Clock, Cloud
from infra.aws.command import Cdk
from infra.aws.deploy import Tools, deploy
from infra.aws.destroy import Destroying, destroy
from infra.aws.owner import Owner
from infra.local.connections import Connections
from infra.local.embedded import EmbeddedServers
from infra.package import BUILT, ROOT, build
from tests.support.assembly import MACHINE_IMAGE, Here, adapt
from tests.support.edge import Edge, Origin, running_edge
from tests.support.emulator import ACCOUNT, REGION, Emulator, running_emulator
from tests.support.tasks import Tasks, running_tasks
from tests.support.waiting import wait_for

TICK_SECONDS: Final = 1
_ASSETS: Final = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
"""CDK's own name for it."""
_POLL_SECONDS: Final = 0.2
_HASH_LENGTH: Final = 8


@dataclass(slots=True)
class Deployed:
    """A deployment; to the tests of the whole platform it is what the local stack is.

    Attributes:
        home: a folder of its own.
        sources: what the functions are packaged from.
        api_key: the operator's, as the deployment told it.
    """

    emulator: Emulator
    edge: Edge
    servers: EmbeddedServers
    home: Path
    tasks: Tasks
    here: Here
    sources: Path = ROOT
    api_key: str = ""
    _deployments: list[Path] = field(default_factory=list)

    # As whoever deploys has it

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.emulator, REGION)

    @property
    def clock(self) -> Clock:
        """Nothing takes as long here."""
        return Clock(time.monotonic, lambda seconds: time.sleep(min(seconds, _POLL_SECONDS)))

    @property
    def cdk(self) -> Cdk:
        """It would keep what it remembers where the person's own does."""
        path = {name: os.environ[name] for name in ("PATH", "HOME")}
        return Cdk(path | dict(self.emulator.environment) | {"CDK_HOME": str(self.home / "cdk")}, REGION)

    def bootstrap(self) -> None:
        """The bucket for assets refuses who speaks no TLS, as everybody does here."""
        self.cdk.bootstrap(ACCOUNT)
        self.emulator.client("s3").delete_bucket_policy(Bucket=_ASSETS)
        self.emulator.client("ssm").put_parameter(
            Name=MACHINE_IMAGE, Value="ami-0123456789abcdef0", Type="String"
        )

    def deploy(self) -> None:
        """The smallest size, with nothing of one's own."""
        tools = Tools(
            cdk=self.cdk,
            clock=self.clock,
            owner=Owner(self.cloud, self.clock),
            synthesize=self._synthesize,
            say=lambda _: None,
        )
        deploy(self.cloud, tools, {}, told_key=self._be_told)
        self._reserve()
        self._lead_there()

    def destroy(self) -> None:
        destroy(Destroying(cloud=self.cloud, clock=self.clock, say=lambda _: None, everything=False))

    def _be_told(self, key: str) -> None:
        self.api_key = key

    def _synthesize(self, context: Mapping[str, str]) -> Path:
        """As `infra.aws.app` does it, in this process."""
        from infra.aws.app import build as build_stacks
        from infra.aws.app import new_app
        from infra.aws.built import Built
        from infra.aws.deployment import Deployment

        folder = self.home / f"deployment-{len(self._deployments) + 1}"
        self._deployments.append(folder)
        site = folder / "site"
        site.mkdir(parents=True)
        (site / "index.html").write_text("<!doctype html>")
        package = build(self.sources, folder, cache=BUILT / "wheels")
        out = folder / "cdk.out"
        app = new_app(str(out))
        build_stacks(app, Deployment.from_context(context.get), Built(package.zip, site))
        app.synth()
        adapt(out, self.here)
        return out

    def _reserve(self) -> None:
        """How many of each function may run at once, which the emulator's CloudFormation leaves out."""
        functions = self.emulator.client("lambda")
        described = self.emulator.client("cloudformation").get_template(StackName=names.CONTROL_PLANE)
        for id_, one in described["TemplateBody"]["Resources"].items():
            if one["Type"] == "AWS::Lambda::Function":
                functions.put_function_concurrency(
                    FunctionName=self.function(id_[:-_HASH_LENGTH]),
                    ReservedConcurrentExecutions=one["Properties"]["ReservedConcurrentExecutions"],
                )

    def _lead_there(self) -> None:
        """The front does what the distribution has been told to do for the API's paths."""
        (distribution,) = self.cloud.resources(names.SITE, "AWS::CloudFront::Distribution")
        told = self.emulator.client("cloudfront").get_distribution_config(Id=distribution)
        origins = told["DistributionConfig"]["Origins"]["Items"]
        (api,) = [one for one in origins if "CustomOriginConfig" in one]
        shown = {one["HeaderName"]: one["HeaderValue"] for one in api["CustomHeaders"]["Items"]}
        host = api["DomainName"].partition(".")[0] + ".execute-api.localhost"
        self.edge.origin = Origin(self.emulator.port, host, api["OriginPath"], shown)

    # As its users have it

    @property
    def base_url(self) -> str:
        return self.edge.url

    @property
    def port(self) -> int:
        return self.edge.port

    @property
    def connections(self) -> Connections:
        return self.servers.connections

    @property
    def mongo_url(self) -> str:
        return self.connections.mongo_stack_url

    @property
    def redis_url(self) -> str:
        return self.connections.redis_urls["stack"]

    @property
    def children(self) -> Mapping[str, Any]:
        """The hosts, in the order in which they came."""
        return {
            f"host-{number}": {"address": f"http://127.0.0.1:{host.port}"}
            for number, host in enumerate(self.tasks.hosts.values(), 1)
        }

    # What there is of it

    def names_of(self, stack: str, kind: str) -> Mapping[str, str]:
        """What resources of this type are called, by the ids of their constructs."""
        found = self.emulator.client("cloudformation").describe_stack_resources(StackName=stack)
        return {
            one["LogicalResourceId"][:-_HASH_LENGTH]: one["PhysicalResourceId"]
            for one in found["StackResources"]
            if one["ResourceType"] == kind
        }

    def function(self, name: str) -> str:
        return self.names_of(names.CONTROL_PLANE, "AWS::Lambda::Function")[name]

    def outputs(self, stack: str) -> Mapping[str, str]:
        found = self.cloud.stack(stack)
        assert found is not None
        return found.outputs

    def credentials(self, stack: str, role: str) -> Mapping[str, str]:
        """What who has the role has."""
        name = self.names_of(stack, "AWS::IAM::Role")[role]
        return self.emulator.assume(f"arn:aws:iam::{ACCOUNT}:role/{name}")

    @property
    def bucket(self) -> str:
        return self.names_of(names.STORAGE, "AWS::S3::Bucket")["Models"]

    @property
    def service(self) -> tuple[str, str]:
        """The hosts' cluster and service."""
        kinds = ("AWS::ECS::Cluster", "AWS::ECS::Service")
        (cluster,), (service,) = (self.names_of(names.HOSTS, kind).values() for kind in kinds)
        return cluster, service

    @property
    def desired_hosts(self) -> int:
        cluster, service = self.service
        found = self.emulator.client("ecs").describe_services(cluster=cluster, services=[service])
        return int(found["services"][0]["desiredCount"])

    @property
    def is_coordinated(self) -> bool:
        """A coordinator is in its loop."""
        with redis.Redis.from_url(self.redis_url, decode_responses=True) as client:
            return float(client.hget(keys.COORDINATOR, "until") or 0) > time.time()

    @property
    def hosts_are_ready(self) -> bool:
        """Raises what keeps more of them from coming."""
        if self.tasks.failure:
            raise self.tasks.failure
        hosts = list(self.tasks.hosts.values())
        return bool(hosts) and all(host.is_ready() for host in hosts)

    def start_coordinator(self) -> None:
        """As EventBridge does, whose own first time is a minute after the rule was made."""
        rule = self.names_of(names.CONTROL_PLANE, "AWS::Events::Rule")["Schedule"]
        event = {
            "version": "0",
            "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": "2026-01-01T00:00:00Z",
            "region": REGION,
            "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"],
            "detail": {},
        }
        self.emulator.client("lambda").invoke(
            FunctionName=self.function("Coordinator"),
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )


@contextmanager
def deployed(servers: EmbeddedServers, folder: Path) -> Iterator[Deployed]:
    """It serves, on one host."""
    with ExitStack() as opened:
        emulator = opened.enter_context(running_emulator(folder / "emulator"))
        edge = opened.enter_context(running_edge())
        (folder / "cdk").mkdir()
        here = Here(
            variables={
                "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
                "MODELROCKET_TICK_SECONDS": str(TICK_SECONDS),
                "MODELROCKET_UPLOAD_PART_BYTES": str(UPLOAD_PART_BYTES_MIN),
            },
            secrets={
                "MongoUri": servers.connections.mongo_url,
                **{f"RedisUrl{role}": url for role, url in servers.connections.redis_urls.items()},
                "ToldUrl": edge.url,
            },
        )
        tasks = opened.enter_context(running_tasks(emulator, folder / "hosts"))
        stack = Deployed(emulator, edge, servers, folder, tasks, here)
        stack.bootstrap()
        stack.deploy()
        stack.start_coordinator()
        wait_for(lambda: stack.hosts_are_ready, what="a host")
        yield stack
