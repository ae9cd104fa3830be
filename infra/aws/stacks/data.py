"""The stores that answer: hot state in Valkey, records in DocumentDB or in a MongoDB that runs elsewhere.

Whoever is to reach one carries its clients' security group, and reads its URL from a secret.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_docdb as docdb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.aws.acknowledged import acknowledge
from infra.aws.profiles import MongoSize, RedisSize
from infra.aws.stacks.network import Network
from infra.aws.stacks.storage import Storage
from infra.packaging import certificates
from infra.redisroles import RIGHTS

_REDIS_ENGINE: Final = "valkey"
_REDIS_PORT: Final = 6379
_MONGO_PORT: Final = 27017
_SERVERLESS: Final = "db.serverless"
_MONGO_USER: Final = "modelrocket"
_MONGO_VERSION: Final = "5.0.0"
_VALKEY_VERSION: Final = "8.1"
_VALKEY_FAMILY: Final = "valkey8"
_BACKUP_DAYS: Final = 7
_UNITS_MIN: Final = 0.5

_OF_DOCUMENTDB: Final = {
    "DOC2": "Only what carries its clients' security group reaches it, on whichever port it is.",
    "DOC3": "Its password is a reference to a secret, which the rule cannot read.",
    **{
        f"DOC5[LogExport::{what}]": "It is in the log named audit, as CloudFormation calls them all."
        for what in ("authenticate", "createIndex", "dropCollection")
    },
    "SMG4": "What runs would be locked out by a password that changes by itself: it follows deployments.",
}


class Data(Stack):
    """Attributes:
    redis_urls: a secret for each of Redis's roles, whose value is the URL with its password.
    redis_clients: the security group of what reaches Redis.
    redis_nodes: their ids, by which its metrics go.
    mongo_uri: the secret whose value is MongoDB's URI.
    mongo_clients: the security group of what reaches DocumentDB; None where MongoDB runs elsewhere.
    mongo_cluster: DocumentDB's id, by which its metrics go; None where MongoDB runs elsewhere.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        network: Network,
        storage: Storage,
        redis: RedisSize,
        mongo: MongoSize | str,
        **kwargs: Any,
    ) -> None:
        """`mongo`: how large a DocumentDB is to be, or the ARN of a secret with another MongoDB's URI."""
        super().__init__(scope, id_, **kwargs)
        self._network = network
        self._storage = storage
        self.redis_clients = self._clients("RedisClients", "What may reach Redis")
        address = self._redis(redis)
        self.redis_urls: Mapping[str, secretsmanager.ISecret] = {
            role: self._url(
                f"RedisUrl-{role}",
                f"rediss://{role}:{_revealed(password)}@{address}:{_REDIS_PORT}/0",
            )
            for role, password in storage.redis_passwords.items()
        }
        self.mongo_clients: ec2.SecurityGroup | None = None
        self.mongo_cluster: str | None = None
        if isinstance(mongo, str):
            self.mongo_uri = secretsmanager.Secret.from_secret_complete_arn(self, "MongoUri", mongo)
        else:
            self.mongo_clients = self._clients("MongoClients", "What may reach DocumentDB")
            self.mongo_uri = self._url("MongoUri", self._documentdb(mongo, self.mongo_clients))

    # Valkey

    def _redis(self, size: RedisSize) -> str:
        """Its primary's address."""
        subnets = elasticache.CfnSubnetGroup(
            self,
            "RedisSubnets",
            description="The private subnets",
            subnet_ids=self._network.vpc.select_subnets(
                subnet_group_name=self._network.private.subnet_group_name
            ).subnet_ids,
        )
        parameters = elasticache.CfnParameterGroup(
            self,
            "RedisParameters",
            cache_parameter_group_family=_VALKEY_FAMILY,
            description="Refuse what does not fit: nothing is a copy that could go",
            properties={"maxmemory-policy": "noeviction"},
        )
        group = elasticache.CfnReplicationGroup(
            self,
            "Redis",
            replication_group_description="What requests and hosts agree on",
            engine=_REDIS_ENGINE,
            engine_version=_VALKEY_VERSION,
            cache_node_type=size.node_type,
            num_cache_clusters=size.nodes,
            automatic_failover_enabled=size.nodes > 1,
            multi_az_enabled=size.nodes > 1,
            cluster_mode="disabled",
            port=_REDIS_PORT,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=self._storage.key.key_arn,
            user_group_ids=[self._redis_users()],
            cache_subnet_group_name=subnets.ref,
            cache_parameter_group_name=parameters.ref,
            security_group_ids=[self._reached_by(self.redis_clients, "Redis", _REDIS_PORT).security_group_id],
            snapshot_retention_limit=size.snapshot_days,
            auto_minor_version_upgrade=True,
        )
        group.apply_removal_policy(RemovalPolicy.DESTROY)  # the coordinator builds it anew from the records
        acknowledge(
            group,
            {
                "AEC4": "One node is what the small size costs; the others have one in each zone.",
                "AEC6": "Each role is a user with a password and rights of its own. A token would be all's.",
            },
        )
        self.redis_nodes = tuple(f"{group.ref}-{number:03}" for number in range(1, size.nodes + 1))
        return group.attr_primary_end_point_address

    def _redis_users(self) -> str:
        """The id of the group of all roles. There has to be a default user: who names no role is nobody."""
        users = [
            self._redis_user(role, f"on {rights}", self._storage.redis_passwords[role])
            for role, rights in RIGHTS.items()
        ]
        nobody = secretsmanager.Secret(
            self,
            "RedisPassword-default",
            encryption_key=self._storage.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True),
        )
        acknowledge(nobody, {"SMG4": "It opens nothing: its user is switched off."})
        users.append(self._redis_user("default", "off -@all", nobody))
        group = elasticache.CfnUserGroup(
            self,
            "RedisUsers",
            engine=_REDIS_ENGINE,
            user_group_id=f"{self.stack_name.lower()}-roles",
            user_ids=users,
        )
        return group.ref

    def _redis_user(self, name: str, rights: str, password: secretsmanager.ISecret) -> str:
        """Its id."""
        user = elasticache.CfnUser(
            self,
            f"RedisUser-{name}",
            engine=_REDIS_ENGINE,
            user_id=f"{self.stack_name.lower()}-{name}",
            user_name=name,
            access_string=rights,
            authentication_mode={"Type": "password", "Passwords": [_revealed(password)]},
        )
        return user.ref

    # DocumentDB

    def _documentdb(self, size: MongoSize, clients: ec2.SecurityGroup) -> str:
        """Its URI. The driver is told not to repeat writes, which DocumentDB does not know how to."""
        cluster = docdb.DatabaseCluster(
            self,
            "Mongo",
            engine_version=_MONGO_VERSION,
            master_user=docdb.Login(
                username=_MONGO_USER,
                kms_key=self._storage.key,
                exclude_characters=string.punctuation,  # it goes into a URL
            ),
            vpc=self._network.vpc,
            vpc_subnets=self._network.private,
            security_group=self._reached_by(clients, "Mongo", _MONGO_PORT),
            port=_MONGO_PORT,
            storage_encrypted=True,
            kms_key=self._storage.key,
            backup=docdb.BackupProps(retention=Duration.days(_BACKUP_DAYS)),
            parameter_group=docdb.ClusterParameterGroup(
                self,
                "MongoParameters",
                family="docdb5.0",
                parameters={"tls": "enabled", "audit_logs": "enabled", "profiler": "enabled"},
            ),
            export_audit_logs_to_cloud_watch=True,
            export_profiler_logs_to_cloud_watch=True,
            removal_policy=RemovalPolicy.SNAPSHOT,
            **_capacity(size),
        )
        acknowledge(cluster, _OF_DOCUMENTDB)
        self.mongo_cluster = cluster.cluster_identifier
        if not size.instance_type:
            self._add_serverless(cluster, size.instances)
        assert cluster.secret is not None  # it is made where no password is given
        password = cluster.secret.secret_value_from_json("password").unsafe_unwrap()
        options = f"tls=true&tlsCAFile={certificates.NAME}&replicaSet=rs0&retryWrites=false"
        return (
            f"mongodb://{_MONGO_USER}:{password}@{cluster.cluster_endpoint.hostname}:{_MONGO_PORT}/?{options}"
        )

    def _add_serverless(self, cluster: docdb.DatabaseCluster, instances: int) -> None:
        """CDK's cluster makes instances of fixed sizes only, and without one nothing answers."""
        for number in range(1, instances + 1):
            instance = docdb.CfnDBInstance(
                self,
                f"MongoInstance{number}",
                db_cluster_identifier=cluster.cluster_identifier,
                db_instance_class=_SERVERLESS,
            )
            # The class is newer than the list that cfn-lint has.
            instance.add_metadata("cfn-lint", {"config": {"ignore_checks": ["E3620"]}})

    # What both have

    def _clients(self, id_: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, id_, vpc=self._network.vpc, description=description, allow_all_outbound=False
        )

    def _reached_by(self, clients: ec2.SecurityGroup, id_: str, port: int) -> ec2.SecurityGroup:
        store = self._clients(f"{id_}Group", f"{id_} itself")
        store.connections.allow_from(clients, ec2.Port.tcp(port), f"Clients of {id_}")
        return store

    def _url(self, id_: str, url: str) -> secretsmanager.Secret:
        """`url` names secrets, which are looked up when it is deployed: templates hold none."""
        secret = secretsmanager.Secret(
            self,
            id_,
            encryption_key=self._storage.key,
            secret_string_value=SecretValue.unsafe_plain_text(url),
        )
        acknowledge(secret, {"SMG4": "It follows the password that is in it, with a deployment."})
        return secret


def _revealed(secret: secretsmanager.ISecret) -> str:
    """A reference that is replaced by the value when it is deployed, and not before."""
    return secret.secret_value.unsafe_unwrap()


def _capacity(size: MongoSize) -> dict[str, Any]:
    if size.instance_type:
        return {"instance_type": ec2.InstanceType(size.instance_type), "instances": size.instances}
    units = docdb.ServerlessV2ScalingConfiguration(min_capacity=_UNITS_MIN, max_capacity=size.units_max)
    return {"serverless_v2_scaling_configuration": units}
