"""The hosts: one ECS service, each task of it a host with a machine and an address of its own.

The coordinator says how many there are (docs/guides/scaling.md); the template only says what each one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from chalicelib.contract import limits
from chalicelib.uploads import MODELS
from infra.aws import grants
from infra.aws.acknowledged import acknowledge, shown
from infra.aws.profiles import HostsSize
from infra.aws.stacks.data import Data
from infra.aws.stacks.door import PORT, Door
from infra.aws.stacks.machines import Machines
from infra.aws.stacks.network import CIDR, Network
from infra.aws.stacks.storage import Storage

_ROOT: Final = Path(__file__).resolve().parents[3]
_DOCKERFILE: Final = "host_container/Dockerfile"
_CACHE: Final = "/var/cache/modelrocket"
"""As the image has it: a volume takes over who owns it."""
_ROLE: Final = "host"
_HTTPS: Final = 443
_STOP_SECONDS: Final = ceil(limits.DRAIN_SECONDS_MAX) + 10
_MACHINE_MIB: Final = 2048
"""Of an instance's memory that tasks cannot have: the kernel's, Docker's, the agent's."""
_MODELS_SHARE: Final = 0.6
"""Of a host's memory: a load takes several times what the model keeps, and requests have bodies."""
_GPU_SYSTEM_GIB: Final = 4
"""Of a GPU's memory that models cannot have: what is listed and not there, CUDA's context, its libraries'."""
_DISK_TO_MODELS: Final = 5
_SYSTEM_DISK_GIB: Final = 35
"""Of the system and two images, the one that runs and its successor."""
_FILES_MAX: Final = 65_536
_THREADS_MAX: Final = 8192
_MIB: Final = 2**20
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Fleet:
    """What hosts there are. `door_certificate`: its ARN; None for no door of their own."""

    size: HostsSize
    door_certificate: str | None


class Hosts(Stack):
    """Attributes:
    cluster, service: where the coordinator sets how many there are.
    size: of each of them, and how many.
    clients: the security group of what may send requests to hosts.
    log: what they write, an event a line.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        network: Network,
        storage: Storage,
        data: Data,
        fleet: Fleet,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id_, **kwargs)
        self._network = network
        self._storage = storage
        self._data = data
        self.size = fleet.size
        self._memory_mib = fleet.size.memory_gib * 1024 - _MACHINE_MIB
        self._models_bytes = int(self._memory_mib * _MODELS_SHARE) * _MIB
        self._disk_bytes = _DISK_TO_MODELS * self._models_bytes
        self.log = logs.LogGroup(
            self, "Log", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        self.clients = self._group("Clients", "What may reach hosts")
        self.cluster = ecs.Cluster(self, "Cluster", vpc=network.vpc)
        acknowledge(
            self.cluster,
            {"ECS4": "What hosts do they tell themselves; ECS counts their memory and CPU for nothing."},
        )
        self.service = self._service(self._task())
        if fleet.door_certificate:
            Door(self, "Door", network=network, certificate=fleet.door_certificate, service=self.service)

    # What runs

    def _service(self, task: ecs.Ec2TaskDefinition) -> ecs.Ec2Service:
        """Without a desired count, which would undo the coordinator's with every deployment.

        One host a machine: each takes what it has of memory and processors for models, and a machine that
        is lost is one host.
        """
        machines = Machines(
            self,
            "Machines",
            network=self._network,
            cluster=self.cluster,
            size=self.size,
            disk_gib=_SYSTEM_DISK_GIB + ceil(self._disk_bytes / _GIB),
        )
        service = ecs.Ec2Service(
            self,
            "Service",
            cluster=self._cluster_with_machines(),
            task_definition=task,
            vpc_subnets=self._network.private,
            security_groups=[self._hosts_group(), self._redis_clients()],
            capacity_provider_strategies=[
                ecs.CapacityProviderStrategy(capacity_provider=machines.provider, weight=1)
            ],
            placement_constraints=[ecs.PlacementConstraint.distinct_instances()],
            placement_strategies=[
                ecs.PlacementStrategy.spread_across(ecs.BuiltInAttributes.AVAILABILITY_ZONE)
            ],
            # It would end hosts that nobody asked it to end.
            availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.DISABLED,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            min_healthy_percent=100,
            max_healthy_percent=200,
        )
        service.node.add_dependency(machines)
        return service

    def _cluster_with_machines(self) -> ecs.ICluster:
        """CDK takes a service only where it gave the cluster machines itself, with more rights than ours."""
        return ecs.Cluster.from_cluster_attributes(
            self,
            "ClusterWithMachines",
            cluster_name=self.cluster.cluster_name,
            cluster_arn=self.cluster.cluster_arn,
            vpc=self._network.vpc,
        )

    def _task(self) -> ecs.Ec2TaskDefinition:
        task = ecs.Ec2TaskDefinition(
            self,
            "Task",
            network_mode=ecs.NetworkMode.AWS_VPC,
            volumes=[ecs.Volume(name="cache", host=ecs.Host())],
        )
        self._let_read_models(task.task_role)
        self._let_decrypt_secrets(task.obtain_execution_role())
        container = self._container(task)
        container.add_mount_points(
            ecs.MountPoint(container_path=_CACHE, source_volume="cache", read_only=False)
        )
        container.add_ulimits(
            ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=_FILES_MAX, hard_limit=_FILES_MAX),
            ecs.Ulimit(name=ecs.UlimitName.NPROC, soft_limit=_THREADS_MAX, hard_limit=_THREADS_MAX),
            ecs.Ulimit(name=ecs.UlimitName.CORE, soft_limit=0, hard_limit=0),
        )
        acknowledge(task, {"ECS2": "They are names and sizes; what is secret comes from Secrets Manager."})
        acknowledge(
            task.obtain_execution_role(),
            {"IAM5[Resource::*]": "ECR's log-in is of no repository; what may be pulled after it is one."},
        )
        return task

    def _container(self, task: ecs.Ec2TaskDefinition) -> ecs.ContainerDefinition:
        kernel = ecs.LinuxParameters(self, "Kernel", init_process_enabled=True)
        kernel.drop_capabilities(ecs.Capability.ALL)
        return task.add_container(
            "host",
            image=ecs.ContainerImage.from_asset(
                str(_ROOT),
                file=_DOCKERFILE,
                build_args={"PROVIDER": "cuda" if self.size.has_gpu else "cpu"},
                platform=assets.Platform.LINUX_AMD64,
            ),
            memory_limit_mib=self._memory_mib,
            gpu_count=1 if self.size.has_gpu else None,
            port_mappings=[ecs.PortMapping(container_port=PORT)],
            environment=self._environment(),
            secrets={
                f"MODELROCKET_{name}": self._secret(name.title().replace("_", ""), secret)
                for name, secret in self._secrets().items()
            },
            readonly_root_filesystem=True,
            linux_parameters=kernel,
            docker_security_options=["no-new-privileges"],
            stop_timeout=Duration.seconds(_STOP_SECONDS),
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-m", "host_container.healthcheck"],
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                start_period=Duration.seconds(60),
                retries=3,
            ),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="host", log_group=self.log, mode=ecs.AwsLogDriverMode.NON_BLOCKING
            ),
        )

    def _secrets(self) -> dict[str, secretsmanager.ISecret]:
        """By the settings that they hold."""
        return {"REDIS_URL": self._data.redis_urls[_ROLE], "DISPATCH_KEY": self._storage.dispatch_key}

    def _environment(self) -> dict[str, str]:
        """A host finds its name and its address out when it starts (`host_container/placement.py`).

        Where there is a GPU all models share one worker. Each other one would take a context of its own from
        its memory, and how many tenants a host will have nobody knows.
        """
        return {
            "AWS_DEFAULT_REGION": self.region,
            "MODELROCKET_CACHE_DIR": _CACHE,
            "MODELROCKET_DISK_BYTES_MAX": str(self._disk_bytes),
            "MODELROCKET_HOST_NETWORK": CIDR,
            "MODELROCKET_HOST_PORT": str(PORT),
            "MODELROCKET_MEMORY_BYTES_MAX": str(self._models_bytes),
            "MODELROCKET_S3_BUCKET": self._storage.models.bucket_name,
            **(self._of_gpu() if self.size.has_gpu else {}),
        }

    def _of_gpu(self) -> dict[str, str]:
        return {
            "MODELROCKET_ISOLATION": "host",
            "MODELROCKET_GPU_MEMORY_BYTES_MAX": str((self.size.gpu_memory_gib - _GPU_SYSTEM_GIB) * _GIB),
        }

    # What it may do

    def _let_read_models(self, role: iam.IRole) -> None:
        """Payloads come and go by URLs that the control plane has signed: a host has no right to them."""
        bucket = self._storage.export_value(self._storage.models.bucket_arn)
        models = f"{bucket}/{MODELS}*"
        role.add_to_principal_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[models]))
        grants.key(role, self._storage.key.key_arn, ("kms:Decrypt",), "s3", {"aws:s3:arn": bucket})
        reason = "Which models a host is to load nobody knows before it asks for them."
        acknowledge(role, {f"IAM5[Resource::{shown(self.resolve(models))}]": reason})

    def _secret(self, id_: str, secret: secretsmanager.ISecret) -> ecs.Secret:
        """Known by its ARN alone: else CDK would tell the key's policy, in another stack, who reads it."""
        found = secretsmanager.Secret.from_secret_complete_arn(self, id_, secret.secret_arn)
        return ecs.Secret.from_secrets_manager(found)

    def _let_decrypt_secrets(self, role: iam.IRole) -> None:
        secrets = [secret.secret_arn for secret in self._secrets().values()]
        key = self._storage.key.key_arn
        grants.key(role, key, ("kms:Decrypt",), "secretsmanager", {"SecretARN": secrets})

    def _hosts_group(self) -> ec2.SecurityGroup:
        """Hosts pass requests on to each other."""
        hosts = self._group("Hosts", "Hosts")
        hosts.connections.allow_from(self.clients, ec2.Port.tcp(PORT), "Functions")
        hosts.connections.allow_internally(ec2.Port.tcp(PORT), "Other hosts")
        hosts.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_HTTPS), "S3")
        return hosts

    def _redis_clients(self) -> ec2.ISecurityGroup:
        """As it is: what may reach hosts may not thereby reach whatever else carries it."""
        return ec2.SecurityGroup.from_security_group_id(
            self, "RedisClients", self._data.redis_clients.security_group_id, mutable=False
        )

    def _group(self, id_: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, id_, vpc=self._network.vpc, description=description, allow_all_outbound=False
        )
