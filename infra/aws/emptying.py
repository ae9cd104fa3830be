"""What a deletion of the stacks leaves on purpose, given up too: models, logs of access, backups, the key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.aws.cloud import CannotGoOn, Cloud

_AT_ONCE: Final = 1000
"""As many objects as one call may name."""
_REGRET_DAYS: Final = 30
_MISSING: Final = ("NoSuchBucket", "404")
_LATE: Final = 5
"""So often a bucket is emptied again that something was written to meanwhile, such as a log."""


def empty(cloud: Cloud, stack: str) -> None:
    """Every version of every object in a stack's buckets, and these. Safe to repeat."""
    for bucket in cloud.resources(stack, "AWS::S3::Bucket"):
        _delete_bucket(cloud.client("s3"), bucket)


def forget_key(cloud: Cloud, stack: str) -> None:
    """What a stack's keys encrypt can be read until they are gone, in thirty days. Safe to repeat."""
    kms = cloud.client("kms")
    for key in cloud.resources(stack, "AWS::KMS::Key"):
        if kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] != "PendingDeletion":
            kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=_REGRET_DAYS)


def snapshots(cloud: Cloud, clusters: list[str]) -> list[str]:
    """The last ones of DocumentDB's clusters."""
    docdb = cloud.client("docdb")
    return [
        found["DBClusterSnapshotIdentifier"]
        for cluster in clusters
        for found in docdb.describe_db_cluster_snapshots(DBClusterIdentifier=cluster, SnapshotType="manual")[
            "DBClusterSnapshots"
        ]
    ]


def delete_snapshots(cloud: Cloud, clusters: list[str]) -> None:
    for snapshot in snapshots(cloud, clusters):
        cloud.client("docdb").delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot)


def _delete_bucket(s3: Any, bucket: str) -> None:
    for tries_left in reversed(range(_LATE)):
        try:
            _delete_objects(s3, bucket)
            s3.delete_bucket(Bucket=bucket)
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                return
            if code != "BucketNotEmpty" or not tries_left:
                raise


def _delete_objects(s3: Any, bucket: str) -> None:
    versions = _versions(s3, bucket)
    while some := list(islice(versions, _AT_ONCE)):
        refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True}).get("Errors")
        if refused:
            raise CannotGoOn(f"{bucket}: {refused[0]['Key']} cannot be deleted: {refused[0]['Message']}")


def _versions(s3: Any, bucket: str) -> Iterator[dict[str, str]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            yield {"Key": one["Key"], "VersionId": one["VersionId"]}
