"""What code asks of AWS, noted where botocore sends it, and what it must be allowed for that.

Which permissions a call takes is as each service's API reference says it under "Permissions"; what S3 and
Secrets Manager ask of KMS for a caller, as their chapters on encryption do. A call that is not listed here is
an error: nobody has looked up what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import botocore.session
import pytest

from tests.aws.deployed import ACCOUNT, Deployed
from tests.aws.simulator import Request

_NOTED: Final = "modelrocket_noted"
_NOT_FOUND: Final = 404
_LOOK: Final = "s3:ListBucket"
_OF_OBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "CompleteMultipartUpload": ("s3:PutObject",),
    "CopyObject": ("s3:PutObject",),
    "CreateMultipartUpload": ("s3:PutObject",),
    "DeleteObject": ("s3:DeleteObject",),
    "GetObject": ("s3:GetObject",),
    "HeadObject": ("s3:GetObject",),
    "ListParts": ("s3:ListMultipartUploadParts",),
    "PutObject": ("s3:PutObject",),
    "UploadPart": ("s3:PutObject",),
}
_OF_BUCKETS: Final[Mapping[str, str]] = {
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": _LOOK,
}
_DECRYPT: Final = "kms:Decrypt"
_ENCRYPT: Final = "kms:GenerateDataKey"
_OF_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "CompleteMultipartUpload": (_DECRYPT,),
    "CopyObject": (_DECRYPT, _ENCRYPT),
    "CreateMultipartUpload": (_DECRYPT, _ENCRYPT),
    "GetObject": (_DECRYPT,),
    "HeadObject": (_DECRYPT,),  # for the checksum
    "ListParts": (_DECRYPT,),
    "PutObject": (_ENCRYPT,),
    "UploadPart": (_DECRYPT, _ENCRYPT),
}
"""Of calls to a bucket that encrypts with a key. Any other of S3's asks nothing of it."""


class Unknown(Exception):
    """A call of which nobody has looked up what it takes."""


@dataclass(slots=True)
class Call:
    """`status`: of the answer; None for a call that was signed for somebody else to make."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    status: int | None = None


@contextmanager
def recording(calls: list[Call]) -> Iterator[None]:
    """Notes the calls of every client that is made within, as long as it lives."""
    create = botocore.session.Session.create_client

    def created(session: botocore.session.Session, *arguments: Any, **options: Any) -> Any:
        client = create(session, *arguments, **options)
        _listen(client, calls)
        return client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session.Session, "create_client", created)
        yield


def _listen(client: Any, calls: list[Call]) -> None:
    """The first event is of calls and of signed ones alike; one context goes through all events of a call."""

    def asked(params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context[_NOTED] = Call(model.service_model.service_name, model.name, dict(params))
        calls.append(context[_NOTED])

    def answered(http_response: Any, context: dict[str, Any], **_: Any) -> None:
        context[_NOTED].status = http_response.status_code

    client.meta.events.register_first("provide-client-params", asked)
    client.meta.events.register_last("after-call", answered)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What calls take in a deployment. `caller`: what is known of every request of who makes them."""

    deployed: Deployed
    caller: Mapping[str, str] = field(default_factory=dict)

    def needed(self, call: Call) -> list[Request]:
        """To be let do it. Raises Unknown."""
        match call.service:
            case "s3":
                return list(self._s3(call))
            case "ecs":
                return list(self._ecs(call))
            case "secretsmanager" if call.operation == "GetSecretValue":
                return list(self._secret(str(call.parameters["SecretId"])))
        raise Unknown(f"{call.service}:{call.operation}")

    def to_be_told(self, call: Call) -> list[Request]:
        """To hear of an object that is missing that it is: else it is refused. Of a call that somebody else
        will make nobody knows yet."""
        reads = call.service == "s3" and call.operation in {"GetObject", "HeadObject"}
        if not reads or call.status not in {None, _NOT_FOUND}:
            return []
        return [self._request(_LOOK, _bucket(call))]

    def _request(self, action: str, resource: str, **context: str) -> Request:
        known = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
        return Request(action, resource, {**known, **self.caller, **context})

    def _s3(self, call: Call) -> Iterator[Request]:
        bucket = _bucket(call)
        if call.operation in _OF_BUCKETS:
            prefix = {"s3:prefix": call.parameters["Prefix"]} if "Prefix" in call.parameters else {}
            yield self._request(_OF_BUCKETS[call.operation], bucket, **prefix)
            return
        if call.operation not in _OF_OBJECTS:
            raise Unknown(f"s3:{call.operation}")
        for action in _OF_OBJECTS[call.operation]:
            yield self._request(action, f"{bucket}/{call.parameters['Key']}")
        if "CopySource" in call.parameters:
            source = call.parameters["CopySource"]
            yield self._request("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}")
        if call.status != _NOT_FOUND:
            yield from self._keys(call, bucket)

    def _keys(self, call: Call, bucket: str) -> Iterator[Request]:
        """What S3 asks of the bucket's key, which it asks once for many objects: it names the bucket."""
        properties = self.deployed.of("AWS::S3::Bucket")[bucket]
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"] is True
        key = rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
        context = {
            "kms:ViaService": f"s3.{self.deployed.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": bucket,
        }
        for action in _OF_KEYS.get(call.operation, ()):
            yield self._request(action, key, **context)

    def _ecs(self, call: Call) -> Iterator[Request]:
        """Tasks of a service are listed of no resource: it would be a machine, and none is named."""
        asked = call.parameters
        cluster = str(asked["cluster"])
        where = {"ecs:cluster": self._ecs_arn("cluster", cluster)}
        match call.operation:
            case "DescribeServices":
                resources = [self._ecs_arn("service", f"{cluster}/{name}") for name in asked["services"]]
            case "UpdateService":
                resources = [self._ecs_arn("service", f"{cluster}/{asked['service']}")]
            case "ListTasks" if "containerInstance" not in asked:
                resources = ["*"]
            case "UpdateTaskProtection":
                resources = list(asked["tasks"])
            case "StopTask":
                resources = [asked["task"]]
            case _:
                raise Unknown(f"ecs:{call.operation}")
        for resource in resources:
            yield self._request(f"ecs:{call.operation}", resource, **where)

    def _secret(self, named: str) -> Iterator[Request]:
        """One without a key of ours has Secrets Manager's, which is everybody's in the account."""
        found = {
            arn: properties
            for arn, properties in self.deployed.of("AWS::SecretsManager::Secret").items()
            if named in {arn, arn[: -len("-AbCdEf")]}
        }
        arn, properties = next(iter(found.items()), (named, {}))
        yield self._request("secretsmanager:GetSecretValue", arn)
        if "KmsKeyId" in properties:
            context = {
                "kms:ViaService": f"secretsmanager.{self.deployed.region}.amazonaws.com",
                "kms:EncryptionContext:SecretARN": arn,
            }
            yield self._request(_DECRYPT, properties["KmsKeyId"], **context)

    def _ecs_arn(self, kind: str, name: str) -> str:
        return f"arn:aws:ecs:{self.deployed.region}:{ACCOUNT}:{kind}/{name}"


def _bucket(call: Call) -> str:
    return f"arn:aws:s3:::{call.parameters['Bucket']}"
