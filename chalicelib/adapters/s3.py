"""Artifacts in S3 (or what speaks its protocol)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, DependencyFailed
from chalicelib.ports import StoredObject, StoredPart, UploadPart

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_NO_UPLOAD: Final = frozenset({"NoSuchUpload", *_MISSING})
_NOT_JOINED: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", *_NO_UPLOAD})


class S3Objects:
    """Implements `ports.ObjectStore` and `ports.PayloadStore`.

    Credentials and region come from botocore's own chain. What callers are given names `public_url`, where
    they reach the store; None where that is where the platform and its hosts do.
    """

    def __init__(self, bucket: str, *, endpoint_url: str | None, public_url: str | None = None) -> None:
        config = Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint_url else "virtual"},
            signature_version="s3v4",
        )
        session = botocore.session.Session()
        self._client: Any = session.create_client("s3", endpoint_url=endpoint_url, config=config)
        self._for_callers: Any = (
            session.create_client("s3", endpoint_url=public_url, config=config)
            if public_url
            else self._client
        )
        self._bucket = bucket

    def presign_upload(self, key: str, *, size: int, sha256: str) -> tuple[UploadPart, ...]:
        """One part. Length and hash are signed: the store refuses any other bytes."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        parameters = {"Bucket": self._bucket, "Key": key, "ContentLength": size, "ChecksumSHA256": checksum}
        url = self._for_callers.generate_presigned_url(
            "put_object", Params=parameters, ExpiresIn=limits.UPLOAD_URL_SECONDS
        )
        headers = {"Content-Length": str(size), "x-amz-checksum-sha256": checksum}
        return (UploadPart(method="PUT", url=url, headers=headers, offset=0, bytes=size),)

    def stored(self, key: str) -> StoredObject | None:
        with _translated():
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
        sha256 = _hex(head.get("ChecksumSHA256", ""))
        return StoredObject(key=key, bytes=head["ContentLength"], sha256=sha256, etag=head["ETag"])

    def keep(self, staging: StoredObject, key: str) -> None:
        with _translated():
            try:
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=key,
                    CopySource={"Bucket": self._bucket, "Key": staging.key},
                    CopySourceIfMatch=staging.etag,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in {"PreconditionFailed", "412", *_MISSING}:
                    raise Conflict("The upload changed while it was checked. Upload it again.") from error
                raise

    def begin_parts(self, key: str) -> str:
        with _translated():
            return str(self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"])

    def presign_part(self, key: str, upload_id: str, *, number: int, size: int) -> UploadPart:
        """The length is signed; what the bytes are is found out when all have come."""
        url = self._for_callers.generate_presigned_url(
            "upload_part",
            Params=self._upload(key, upload_id) | {"PartNumber": number, "ContentLength": size},
            ExpiresIn=limits.UPLOAD_URL_SECONDS,
        )
        headers = {"Content-Length": str(size)}
        return UploadPart(method="PUT", url=url, headers=headers, offset=0, bytes=size, number=number)

    def parts(self, key: str, upload_id: str) -> tuple[StoredPart, ...] | None:
        """SeaweedFS lists a part that came twice twice: the last one counts, by the second it came in."""
        listed: list[Any] = []
        with _translated():
            try:
                for page in self._client.get_paginator("list_parts").paginate(**self._upload(key, upload_id)):
                    listed += page.get("Parts", ())
            except ClientError as error:
                if error.response["Error"]["Code"] in _NO_UPLOAD:
                    return None
                raise
        listed.sort(key=lambda part: (part["PartNumber"], part["LastModified"]))
        found = {part["PartNumber"]: part for part in listed}
        return tuple(StoredPart(number, part["Size"], part["ETag"]) for number, part in found.items())

    def join_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with _translated():
            try:
                self._client.complete_multipart_upload(
                    **self._upload(key, upload_id), MultipartUpload={"Parts": listed}
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _NOT_JOINED:
                    raise
                if self.stored(key) is None:
                    raise Conflict("The upload changed while it was joined. Complete it again.") from error

    def abort_parts(self, key: str, upload_id: str) -> None:
        with _translated():
            try:
                self._client.abort_multipart_upload(**self._upload(key, upload_id))
            except ClientError as error:
                if error.response["Error"]["Code"] not in _NO_UPLOAD:
                    raise

    def delete(self, key: str) -> None:
        with _translated():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def delete_under(self, prefix: str) -> None:
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    self._client.delete_object(Bucket=self._bucket, Key=found["Key"])
            uploads = self._client.get_paginator("list_multipart_uploads")
            for page in uploads.paginate(Bucket=self._bucket, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    self.abort_parts(found["Key"], found["UploadId"])

    # Inputs and answers on their way.

    def presign_put(self, key: str, *, size: int, seconds: int) -> UploadPart:
        """The length is signed."""
        parameters = {"Bucket": self._bucket, "Key": key, "ContentLength": size}
        url = self._for_callers.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)
        return UploadPart(method="PUT", url=url, headers={"Content-Length": str(size)}, offset=0, bytes=size)

    def presign_put_any(self, key: str, *, seconds: int) -> str:
        return self._presigned(self._client, "put_object", key, seconds)

    def presign_get(self, key: str, *, seconds: int) -> str:
        return self._presigned(self._for_callers, "get_object", key, seconds)

    def presign_get_inside(self, key: str, *, seconds: int) -> str:
        return self._presigned(self._client, "get_object", key, seconds)

    def put(self, key: str, body: bytes) -> None:
        with _translated():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        with _translated():
            try:
                return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise

    def delete_older(self, prefix: str, *, than: datetime, limit: int) -> int:
        deleted = 0
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    if found["LastModified"] < than and deleted < limit:
                        self._client.delete_object(Bucket=self._bucket, Key=found["Key"])
                        deleted += 1
        return deleted

    def expire(self, prefix: str, *, days: int) -> bool:
        """Beside the bucket's other rules."""
        rule_id = f"modelrocket-{prefix.strip('/')}"
        rule = {
            "ID": rule_id,
            "Filter": {"Prefix": prefix},
            "Status": "Enabled",
            "Expiration": {"Days": days},
        }
        try:
            rules = [other for other in self._lifecycle() if other.get("ID") != rule_id]
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": [*rules, rule]}
            )
        except (BotoCoreError, ClientError):
            return False
        return True

    def _lifecycle(self) -> list[dict[str, Any]]:
        try:
            return list(self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)["Rules"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return []
            raise

    def _presigned(self, client: Any, what: str, key: str, seconds: int) -> str:
        parameters = {"Bucket": self._bucket, "Key": key}
        return str(client.generate_presigned_url(what, Params=parameters, ExpiresIn=seconds))

    def _upload(self, key: str, upload_id: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": key, "UploadId": upload_id}


def _hex(checksum: str) -> str:
    """Base64 as S3 gives it, in hex; empty when there is none."""
    try:
        return base64.b64decode(checksum, validate=True).hex()
    except binascii.Error:
        return ""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise DependencyFailed("The platform's model store does not answer. Try again shortly.") from error
