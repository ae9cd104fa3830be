"""What each function may do, written from what it calls: `adapters.s3`, `adapters.capacity_ecs`.

Presigned URLs can do what the function that signed them may, so what callers store and fetch is here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import transfers
from chalicelib.uploads import MODELS, STAGING


@dataclass(frozen=True, slots=True)
class BucketUse:
    """S3's actions on objects by the prefix of their keys, on the bucket itself, and KMS's on its key."""

    objects: Mapping[str, tuple[str, ...]]
    bucket: tuple[str, ...]
    key: tuple[str, ...]


_LOOK: Final = "s3:ListBucket"
"""Also for who lists nothing: without it what is missing is a 403, not a 404. A condition on the prefix
would not be met by a request for one object, which names none."""

INFERENCE: Final = BucketUse(
    objects={transfers.PREFIX: ("s3:GetObject", "s3:PutObject")},
    bucket=(_LOOK,),
    key=("kms:Decrypt", "kms:GenerateDataKey"),
)
MANAGEMENT: Final = BucketUse(
    objects={
        STAGING: ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
        MODELS: (
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        ),
    },
    bucket=(_LOOK, "s3:ListBucketMultipartUploads"),
    key=("kms:Decrypt", "kms:GenerateDataKey"),
)
COORDINATOR: Final = BucketUse(
    objects={
        STAGING: ("s3:DeleteObject",),
        MODELS: ("s3:AbortMultipartUpload", "s3:DeleteObject"),
        transfers.PREFIX: ("s3:DeleteObject",),
    },
    bucket=(_LOOK, "s3:ListBucketMultipartUploads"),
    key=(),
)
OF_SERVICE: Final = ("ecs:DescribeServices", "ecs:UpdateService")
OF_TASKS: Final = ("ecs:StopTask", "ecs:UpdateTaskProtection")
OF_CLUSTER: Final = ("ecs:ListTasks",)
"""Of a whole cluster, which ECS asks for as of no resource: the cluster is a condition."""
OF_NETWORK: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda asks of the role of a function in a network, when no interface is there yet to be named. The
function's own code, which runs in the same role, has nothing to do with it."""
