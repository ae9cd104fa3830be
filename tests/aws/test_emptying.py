"""What stays on purpose goes too where that is asked for: all of it, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import botocore.session
import pytest
from moto import mock_aws

from infra.aws import emptying
from infra.aws.cloud import Cloud

STACK: Final = "Storage"
AT_ONCE: Final = 7
OBJECTS: Final = 3 * AT_ONCE + 1


class Deployed(Cloud):
    """Whose resources are known without CloudFormation."""

    def __init__(self) -> None:
        super().__init__(botocore.session.Session(), "us-east-1")
        self.ids: dict[str, list[str]] = {}

    def resources(self, stack: str, kind: str) -> list[str]:
        assert stack == STACK
        return self.ids[kind]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Deployed()


def test_buckets_go_with_every_version_in_them(cloud: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "_AT_ONCE", AT_ONCE)
    s3 = cloud.client("s3")
    for bucket in ("our-models", "our-access", "somebody-elses"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="one", Body=b"1")
    s3.put_bucket_versioning(Bucket="our-models", VersioningConfiguration={"Status": "Enabled"})
    for number in range(OBJECTS):
        s3.put_object(Bucket="our-models", Key=f"{number}", Body=b"old")
    s3.put_object(Bucket="our-models", Key="0", Body=b"new")
    s3.delete_object(Bucket="our-models", Key="0")
    cloud.ids = {"AWS::S3::Bucket": ["our-models", "our-access", "gone-already"]}
    for _ in range(2):
        emptying.empty(cloud, STACK)
        assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == ["somebody-elses"]


def test_keys_go_after_a_time_for_regret(cloud: Deployed) -> None:
    kms = cloud.client("kms")
    mine, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    cloud.ids = {"AWS::KMS::Key": [mine]}
    for _ in range(2):
        emptying.forget_key(cloud, STACK)
    states = {key: kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in (mine, other)}
    assert states == {mine: "PendingDeletion", other: "Enabled"}


def test_the_last_backups_of_these_clusters_go(cloud: Deployed) -> None:
    """moto knows no DocumentDB, which is asked as other clusters are."""
    rds = cloud.client("rds")
    for cluster in ("mine", "other"):
        rds.create_db_cluster(
            DBClusterIdentifier=cluster,
            Engine="aurora-postgresql",
            MasterUsername="modelrocket",
            MasterUserPassword="a-good-one-1",
        )
        rds.create_db_cluster_snapshot(
            DBClusterIdentifier=cluster, DBClusterSnapshotIdentifier=f"last-{cluster}"
        )
    assert emptying.snapshots(cloud, ["mine"]) == ["last-mine"]
    emptying.delete_snapshots(cloud, ["mine"])
    assert emptying.snapshots(cloud, ["mine", "other"]) == ["last-other"]
