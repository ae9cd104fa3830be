"""What must not be lost and what nobody else may read: models, secrets, the key that encrypts them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from chalicelib.contract import limits, transfers
from chalicelib.payloads import DAYS
from chalicelib.uploads import STAGING
from infra.aws.acknowledged import acknowledge
from infra.redisroles import RIGHTS

_DAY_SECONDS: Final = 24 * 3600
_ABANDONED_DAYS: Final = ceil(limits.UPLOAD_ABANDONED_SECONDS / _DAY_SECONDS) + 1
"""The platform itself gives uploads up before: the store goes by whole days from midnight."""
_REGRET_DAYS: Final = 30
"""What was deleted of the models can be had back as long, after the platform's own time for that."""
_LOG_DAYS: Final = 90
_NOT_HEX: Final = "ghijklmnopqrstuvwxyz"


class Storage(Stack):
    """Attributes:
    key: what everything that is kept is encrypted with.
    models: the bucket of models, uploads and payloads.
    dispatch_key: the secret that tickets for hosts are signed with, 32 bytes in hex.
    edge_key: the secret that CloudFront shows to the API.
    redis_passwords: a secret for each of Redis's roles.
    """

    def __init__(self, scope: Construct, id_: str, *, upload_origin: str | None, **kwargs: Any) -> None:
        """`upload_origin`: whose pages may store what they have a grant for; None for nobody's."""
        super().__init__(scope, id_, **kwargs)
        self.key = kms.Key(
            self,
            "Key",
            description="What ModelRocket keeps",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.models = self._models(upload_origin)
        self.dispatch_key = self._secret(
            "DispatchKey",
            "Signs the tickets that hosts check",
            exclude_characters=_NOT_HEX,
            exclude_uppercase=True,
            require_each_included_type=False,
        )
        self.edge_key = self._secret("EdgeKey", "CloudFront shows it to the API")
        self.redis_passwords: Mapping[str, secretsmanager.Secret] = {
            role: self._secret(f"RedisPassword-{role}", f"Redis: the password of {role}") for role in RIGHTS
        }

    def _models(self, upload_origin: str | None) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Models",
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=_lifecycle(),
            cors=[_grants_from(upload_origin)] if upload_origin else None,
            server_access_logs_bucket=self._access_logs(),
            server_access_logs_prefix="models/",
        )

    def _access_logs(self) -> s3.Bucket:
        """S3 delivers logs only where it can encrypt them with its own keys."""
        return s3.Bucket(
            self,
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(_LOG_DAYS))],
        )

    def _secret(self, id_: str, description: str, **alphabet: Any) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            id_,
            description=description,
            encryption_key=self.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=64,
                exclude_punctuation=True,  # URLs and environments take it as it is
                **alphabet,
            ),
        )
        acknowledge(
            secret,
            {
                "SMG4": "Hosts and functions read it when they start: a value that changes by itself would "
                "lock out those that run. It is changed with a deployment, which starts them anew."
            },
        )
        return secret


def _lifecycle() -> list[s3.LifecycleRule]:
    """By the prefixes that the control plane writes under. A version that is no longer the current one was
    deleted, or replaced before anybody looked at it."""
    return [
        _expiring("modelrocket-staging", STAGING, days=_ABANDONED_DAYS),
        _expiring("modelrocket-payloads", transfers.PREFIX, days=DAYS),
        s3.LifecycleRule(
            id="modelrocket-deleted",
            noncurrent_version_expiration=Duration.days(_REGRET_DAYS),
            expired_object_delete_marker=True,
            abort_incomplete_multipart_upload_after=Duration.days(_ABANDONED_DAYS),
        ),
    ]


def _expiring(id_: str, prefix: str, *, days: int) -> s3.LifecycleRule:
    """What is under the prefix goes by itself, and leaves no older version behind."""
    return s3.LifecycleRule(
        id=id_,
        prefix=prefix,
        expiration=Duration.days(days),
        noncurrent_version_expiration=Duration.days(1),
    )


def _grants_from(origin: str) -> s3.CorsRule:
    """As presigned requests are sent: the method and the headers that they sign."""
    return s3.CorsRule(
        allowed_origins=[origin],
        allowed_methods=[s3.HttpMethods.PUT],
        allowed_headers=["content-type", "x-amz-checksum-sha256"],
        exposed_headers=["ETag"],
        max_age=_DAY_SECONDS,
    )
