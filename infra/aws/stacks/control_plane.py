"""The control plane: three functions of one package behind one API, and the schedule of the coordinator.

Requests to models and requests about them are answered by a function each, of the same code: a burst of one
kind leaves the other its own share of what the account may run at once, and neither may do what only the
other needs. Secrets are named in their environment, never told: see `chalicelib.adapters.secrets`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

import app as application
from chalicelib.settings import CapacityKind, GaugesKind, SignUpMode
from infra.aws import api, grants, permissions
from infra.aws.acknowledged import acknowledge, shown
from infra.aws.profiles import FunctionsSize
from infra.aws.stacks.data import Data
from infra.aws.stacks.hosts import Hosts
from infra.aws.stacks.network import CIDR, Network
from infra.aws.stacks.site import URL_SECRET, ApiOrigin
from infra.aws.stacks.storage import Storage

STAGE: Final = "api"
_CONFIG: Final = Path(__file__).resolve().parents[3] / ".chalice" / "config.json"
_SETTINGS: Final = json.loads(_CONFIG.read_text())["lambda_functions"]
"""Memory and time of functions, as `chalice deploy` gives them."""
_RUNTIME: Final = lambda_.Runtime(f"python{sys.version_info.major}.{sys.version_info.minor}")
"""The package is bytecode of the Python that made it."""
_API_HANDLER: Final = "app.app"
_HTTPS: Final = 443
_MONGO: Final = 27017
_LATE_SECONDS: Final = 60
"""A coordinator that was not started by then is of no use: the next one is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What functions work with."""

    network: Network
    storage: Storage
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """`package`: the zip of `infra.package`. `reserved`: each has its share of what may run at once.

    `sign_up`: who may make an account for oneself.
    """

    package: Path
    size: FunctionsSize
    reserved: bool
    sign_up: SignUpMode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One function. `config`: its name in Chalice's configuration. `reserved`: how many may run at once."""

    id: str
    handler: str
    config: str
    redis_role: str
    reserved: int
    uses: permissions.BucketUse


class ControlPlane(Stack):
    """Attributes:
    origin: where the API is, for the site in front of it.
    management, inference, coordinator: the functions.
    rest_api: what calls the first two.
    schedule: what starts the last.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        stores: Stores,
        hosts: Hosts,
        public_url: str | None,
        functions: Functions,
        **kwargs: Any,
    ) -> None:
        """`public_url`: None where only the site will know it, in whose secret functions find it."""
        super().__init__(scope, id_, **kwargs)
        self._stores = stores
        self._hosts = hosts
        self._public_url = public_url or secretsmanager.Secret.from_secret_name_v2(
            self, "PublicUrl", URL_SECRET
        )
        self._code = lambda_.Code.from_asset(str(functions.package))
        self._functions = functions
        size = functions.size
        self._groups = self._security_groups()
        self.management = self._function(
            _Job(
                id="Management",
                handler=_API_HANDLER,
                config="api_handler",
                redis_role="gateway",
                reserved=size.management,
                uses=permissions.MANAGEMENT,
            )
        )
        self.inference = self._function(
            _Job(
                id="Inference",
                handler=_API_HANDLER,
                config="api_handler",
                redis_role="gateway",
                reserved=size.inference,
                uses=permissions.INFERENCE,
            )
        )
        self.coordinator = self._coordinator()
        self.rest_api = self._api(size)
        self.origin = ApiOrigin(
            f"{self.rest_api.rest_api_id}.execute-api.{self.region}.amazonaws.com",
            f"/{STAGE}",
            stores.storage.edge_key,
        )

    # The functions

    def _function(self, job: _Job, **environment: str) -> lambda_.Function:
        log = logs.LogGroup(
            self,
            f"{job.id}Log",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        settings = _SETTINGS[job.config]
        role = self._role(job, log)
        function = lambda_.Function(
            self,
            job.id,
            code=self._code,
            handler=job.handler,
            runtime=_RUNTIME,
            architecture=lambda_.Architecture.X86_64,
            memory_size=settings["lambda_memory_size"],
            timeout=Duration.seconds(settings["lambda_timeout"]),
            reserved_concurrent_executions=job.reserved if self._functions.reserved else None,
            role=role,
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,  # as text, events would lose their fields
            vpc=self._stores.network.vpc,
            vpc_subnets=self._stores.network.functions,
            security_groups=self._groups,
            environment=self._environment(job, role) | environment,
        )
        acknowledge(function, {"L1": "The package is for the Python that it is made and tested with."})
        return function

    def _coordinator(self) -> lambda_.Function:
        scheduled: Any
        (scheduled,) = application.app.event_sources
        job = _Job(
            id="Coordinator",
            handler=scheduled.handler_string,
            config=scheduled.name,
            redis_role="coordinator",
            reserved=1,
            uses=permissions.COORDINATOR,
        )
        function = self._function(
            job,
            MODELROCKET_CAPACITY=CapacityKind.ECS.value,
            MODELROCKET_ECS_CLUSTER=self._hosts.cluster.cluster_name,
            MODELROCKET_ECS_SERVICE=self._hosts.service.service_name,
            MODELROCKET_GAUGES=GaugesKind.CLOUDWATCH.value,
            MODELROCKET_POLICY=json.dumps(self._hosts.size.policy),
        )
        late = Duration.seconds(_LATE_SECONDS)
        function.configure_async_invoke(max_event_age=late, retry_attempts=0)
        self.schedule = events.Rule(
            self,
            "Schedule",
            description="Starts the coordinator, which loops until the next is due",
            schedule=events.Schedule.expression(scheduled.schedule_expression.to_string()),
            targets=[targets.LambdaFunction(function, max_event_age=late, retry_attempts=0)],
        )
        return function

    def _environment(self, job: _Job, role: iam.Role) -> dict[str, str]:
        """Settings, and for what is secret the ARN of the secret, which the role may read from here on."""
        data, storage = self._stores.data, self._stores.storage
        secrets = {
            "MODELROCKET_MONGO_URL": data.mongo_uri,
            "MODELROCKET_REDIS_URL": data.redis_urls[job.redis_role],
            "MODELROCKET_DISPATCH_KEY": storage.dispatch_key,
        }
        if job.uses is permissions.MANAGEMENT:  # no other asks where a request comes from
            secrets["MODELROCKET_EDGE_KEY"] = storage.edge_key
        told = {
            "MODELROCKET_S3_BUCKET": storage.models.bucket_name,
            "MODELROCKET_HOST_NETWORK": CIDR,
            "MODELROCKET_SIGN_UP": self._functions.sign_up.value,
        }
        if isinstance(self._public_url, str):
            told["MODELROCKET_PUBLIC_URL"] = self._public_url
        else:
            secrets["MODELROCKET_PUBLIC_URL"] = self._public_url
        self._allow_secrets(
            role, [secret.secret_full_arn or f"{secret.secret_arn}-??????" for secret in secrets.values()]
        )
        return told | {name: secret.secret_arn for name, secret in secrets.items()}

    # What they may do

    def _role(self, job: _Job, log: logs.LogGroup) -> iam.Role:
        role = iam.Role(
            self,
            f"{job.id}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What the function {job.id} calls",
        )
        log.grant_write(role)
        grants.network(role)
        self._allow_bucket(role, job.uses)
        if job.uses is permissions.COORDINATOR:
            self._allow_hosts(role)
        return role

    def _allow(self, role: iam.Role, actions: tuple[str, ...], *resources: str, **conditions: Any) -> None:
        role.add_to_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
        )

    def _allow_wide(
        self, role: iam.Role, actions: tuple[str, ...], resource: str, *, why: str, **conditions: Any
    ) -> None:
        self._allow(role, actions, resource, **conditions)
        acknowledge(role, {f"IAM5[Resource::{shown(self.resolve(resource))}]": why})

    def _allow_bucket(self, role: iam.Role, uses: permissions.BucketUse) -> None:
        storage = self._stores.storage
        arn = storage.export_value(storage.models.bucket_arn)
        self._allow(role, uses.bucket, arn)
        for prefix, actions in uses.objects.items():
            self._allow_wide(
                role, actions, f"{arn}/{prefix}*", why=f"All that is {prefix}, and nothing else."
            )
        if uses.key:
            grants.key(role, storage.key.key_arn, uses.key, "s3", {"aws:s3:arn": arn})

    def _allow_secrets(self, role: iam.Role, arns: list[str]) -> None:
        self._allow(role, ("secretsmanager:GetSecretValue",), *arns)
        for named in (shown(self.resolve(arn)) for arn in arns if "?" in arn):
            acknowledge(role, {f"IAM5[Resource::{named}]": _NAMED_LATER})
        known = [arn for arn in arns if "?" not in arn]
        key = self._stores.storage.key.key_arn
        grants.key(role, key, ("kms:Decrypt",), "secretsmanager", {"SecretARN": known})

    def _allow_hosts(self, role: iam.Role) -> None:
        hosts = self._hosts
        self._allow(role, permissions.OF_SERVICE, hosts.service.service_arn)
        cluster = hosts.export_value(hosts.cluster.cluster_name)
        tasks = self.format_arn(service="ecs", resource="task", resource_name=f"{cluster}/*")
        self._allow_wide(role, permissions.OF_TASKS, tasks, why=_OF_CLUSTER)
        where = {"ecs:cluster": hosts.cluster.cluster_arn}
        self._allow_wide(role, permissions.OF_CLUSTER, "*", why=_OF_CLUSTER, ArnEquals=where)

    def _security_groups(self) -> list[ec2.ISecurityGroup]:
        """Of the stores' clients, and one for AWS's services, which have no group to be named."""
        data, hosts = self._stores.data, self._hosts
        out = ec2.SecurityGroup(
            self,
            "Functions",
            vpc=self._stores.network.vpc,
            description="What functions reach beside hosts and stores",
            allow_all_outbound=False,
        )
        out.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_HTTPS), "AWS services")
        if data.mongo_clients is None:
            out.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_MONGO), "MongoDB that runs elsewhere")
        mongo = [data.mongo_clients] if data.mongo_clients else []
        return [out, data.redis_clients, *mongo, hosts.clients]

    # The API

    def _api(self, size: FunctionsSize) -> apigateway.SpecRestApi:
        log = logs.LogGroup(
            self, "ApiLog", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        rest_api = apigateway.SpecRestApi(
            self,
            "Api",
            rest_api_name=self.stack_name,
            api_definition=apigateway.ApiDefinition.from_inline(
                api.definition(self._uri, name=self.stack_name)
            ),
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,  # it is the account's, not this API's
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=size.requests_per_second,
                throttling_burst_limit=size.requests_per_second,
                access_log_destination=apigateway.LogGroupLogDestination(log),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_LOGGED)),
            ),
        )
        acknowledge(rest_api, _NOT_ASKED_OF_THE_API)
        for function in (self.management, self.inference):
            function.add_permission(
                "Called",
                principal=iam.ServicePrincipal("apigateway.amazonaws.com"),
                source_arn=rest_api.arn_for_execute_api(stage=STAGE),
            )
        return rest_api

    def _uri(self, path: str) -> str:
        function = self.inference if path in api.INFERENCE else self.management
        called = f"path/2015-03-31/functions/{function.function_arn}/invocations"
        return f"arn:{self.partition}:apigateway:{self.region}:lambda:{called}"


_LOGGED: Final = {
    "requestId": "$context.requestId",
    "method": "$context.httpMethod",
    "route": "$context.resourcePath",
    "status": "$context.status",
    "refused": "$context.error.responseType",
    "milliseconds": "$context.responseLatency",
    "functionMilliseconds": "$context.integrationLatency",
    "bytes": "$context.responseLength",
}
"""Of each request. Paths would name models, and addresses people: the platform's own audit log has those."""
_NAMED_LATER: Final = "What Secrets Manager puts after a secret's name is known only when there is one."
_OF_CLUSTER: Final = "Tasks come and go; those of one cluster are meant."
_NOT_ASKED_OF_THE_API: Final = {
    "APIG2": "The platform itself checks requests, and says what is wrong with them in its own form.",
    "APIG3": "The platform itself limits requests by account and key.",
    "APIG6": "Its log of requests says why it refused one; another of its own would be kept for ever.",
    "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]": (
        "How API Gateway is let write logs, in all of the account at once."
    ),
}
