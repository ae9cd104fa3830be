"""Whether a store answers: asked with its real client, short timeouts and no retries."""

from __future__ import annotations

from typing import Any, Final

from infra.local.connections import DATABASE, S3Access

_PROBE_SECONDS: Final = 2.0
_NOT_FOUND: Final = 404
_PROBE_KEY: Final = "stack/ready"


def redis_is_ready(url: str) -> bool:
    """Whether the server answers these credentials."""
    import redis

    client = redis.Redis.from_url(
        url, socket_timeout=_PROBE_SECONDS, socket_connect_timeout=_PROBE_SECONDS, retry=None
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def mongo_is_ready(url: str) -> bool:
    """Whether the server answers these credentials."""
    import pymongo
    from pymongo.errors import PyMongoError

    milliseconds = int(_PROBE_SECONDS * 1000)
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=milliseconds) as client:
        try:
            client[DATABASE].command("ping")
            client[DATABASE]["ready"].find_one({})  # a ping alone needs no password
        except PyMongoError:
            return False
    return True


def s3_is_ready(access: S3Access) -> bool:
    """Whether the server answers these credentials, holds the bucket, and reads from it.

    The bucket is made when it is missing. After a crash SeaweedFS lists a bucket
    before its volumes are back, so an object is read.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(access)
    try:
        try:
            client.head_bucket(Bucket=access.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != _NOT_FOUND:
                return False
            client.create_bucket(Bucket=access.bucket)
        _read_back(client, access.bucket)
    except (BotoCoreError, ClientError):
        return False
    return True


def _read_back(client: Any, bucket: str) -> None:
    """Reads an object, which is written when there is none."""
    try:
        client.get_object(Bucket=bucket, Key=_PROBE_KEY)["Body"].read()
    except client.exceptions.NoSuchKey:
        client.put_object(Bucket=bucket, Key=_PROBE_KEY, Body=b"ready")


def s3_client(access: S3Access) -> Any:
    """A client with short timeouts and no retries, for probes and tests."""
    import botocore.session
    from botocore.config import Config

    return botocore.session.get_session().create_client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint_url,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        config=Config(
            connect_timeout=_PROBE_SECONDS,
            read_timeout=10,
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": "path" if access.endpoint_url else "auto"},
        ),
    )
