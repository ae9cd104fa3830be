"""The stores that the fixtures run over: embedded ones, or those that the environment names.

MODELROCKET_TEST_S3         `localstack`: where LOCALSTACK_HOST and USE_SSL say that it is; or an S3's URL,
                            with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY beside it
MODELROCKET_TEST_MONGO_URL  the URL of a MongoDB, whose user may make and drop databases
MODELROCKET_TEST_REDIS_URL  the URL of a Redis or Valkey of the tests' own: it is emptied before every test

What they leave in S3 and MongoDB is a bucket and databases of their own, gone when the run ends.
"""

from __future__ import annotations

import secrets
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pymongo
import pytest
import redis

from infra.local.connections import External, S3Access
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.probes import mongo_is_ready, redis_is_ready, s3_client, s3_is_ready
from infra.redisroles import RIGHTS

S3, MONGO, REDIS = "MODELROCKET_TEST_S3", "MODELROCKET_TEST_MONGO_URL", "MODELROCKET_TEST_REDIS_URL"
LOCALSTACK: Final = "localstack"
_LOCALSTACK_KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
_RUN: Final = uuid.uuid4().hex[:8]
"""Of this process: others may use the same stores at the same time."""


@dataclass(frozen=True, slots=True, repr=False)
class Stores:
    """What the environment names; the embedded ones stand in for the rest."""

    external: External

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Stores:
        """Raises ValueError naming what is missing beside an S3."""
        s3 = environ.get(S3, "")
        given = dict(environ)
        if s3 == LOCALSTACK:
            from localstack_client.config import get_service_endpoint  # brings boto3

            s3 = get_service_endpoint("s3")
            given = _LOCALSTACK_KEYS | given
        external = External.from_env(
            given
            | {
                "MODELROCKET_S3_ENDPOINT_URL": s3,
                "MODELROCKET_S3_BUCKET": f"modelrocket-test-{_RUN}",
                "MODELROCKET_MONGO_URL": environ.get(MONGO, ""),
                "MODELROCKET_REDIS_URL": environ.get(REDIS, ""),
            }
        )
        return cls(external)

    def __str__(self) -> str:
        """For people, without passwords."""
        named = self.external
        urls = {
            "S3": named.s3.endpoint_url if named.s3 else None,
            "MongoDB": named.mongo_url,
            "Redis": named.redis_url,
        }
        return ", ".join(f"{store} {_place(url)}" for store, url in urls.items())

    def refusal(self, workers: int) -> str | None:
        """Why so many processes cannot run tests over these stores at once."""
        if self.external.redis_url and workers > 1:
            return f"{REDIS}: every test empties it, so that only one process can test: leave -n out."
        return None


@contextmanager
def running_stores(stores: Stores, home: Path) -> Iterator[EmbeddedServers]:
    """All three; the embedded ones among them until the block ends. Ends the run if one does not answer."""
    external = stores.external
    with embedded_servers(home, external=external) as embedded, ExitStack() as opened:
        connections = embedded.connections
        if external.s3:
            opened.enter_context(_own_bucket(external.s3))
        if external.mongo_url:
            opened.enter_context(_own_databases(external.mongo_url))
        if external.redis_url:
            urls = opened.enter_context(running_redis(external.redis_url))
            connections = replace(connections, redis_urls=urls)
        yield replace(embedded, connections=connections)


def new_database() -> str:
    """The name of a database that nobody else has."""
    return f"test_{_RUN}_{uuid.uuid4().hex}"


@contextmanager
def _own_bucket(access: S3Access) -> Iterator[None]:
    _require(s3_is_ready(access), name=S3, url=access.endpoint_url)
    try:
        yield
    finally:
        _delete_bucket(s3_client(access), access.bucket)


def _delete_bucket(client: Any, bucket: str) -> None:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=found["Key"])
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for found in page.get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])
    client.delete_bucket(Bucket=bucket)


@contextmanager
def _own_databases(url: str) -> Iterator[None]:
    _require(mongo_is_ready(url), name=MONGO, url=url)
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        try:
            yield
        finally:
            for name in client.list_database_names():
                if name.startswith(f"test_{_RUN}_"):
                    client.drop_database(name)


@contextmanager
def running_redis(url: str) -> Iterator[Mapping[str, str]]:
    """A URL for each role."""
    _require(redis_is_ready(url), name=REDIS, url=url)
    client: Any = redis.Redis.from_url(url)
    if client.info("keyspace"):
        pytest.exit(
            f"{REDIS}: the tests empty the server at {_place(url)}, and it holds keys. Name another one, "
            "or empty it yourself (FLUSHALL).",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    users = {role: (f"modelrocket-test-{_RUN}-{role}", secrets.token_urlsafe(24)) for role in RIGHTS}
    try:
        urls = _with_users(client, url, users)
    except redis.ResponseError as error:
        if not (isinstance(error, redis.exceptions.NoPermissionError) or "unknown" in str(error)):
            raise
        warnings.warn(f"{REDIS} may not make users: every role is the one it names.", stacklevel=1)
        urls, users = dict.fromkeys(("stack", *RIGHTS), url), {}
    try:
        yield urls
    finally:
        client.flushall()
        if users:
            client.acl_deluser(*(user for user, _ in users.values()))
        client.close()


def _with_users(client: Any, url: str, users: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """A user for each role, with what it may do in the local stack; `stack` is whom the URL names."""
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    urls = {"stack": url}
    for role, (user, password) in users.items():
        client.execute_command("ACL", "SETUSER", user, "reset", "on", f">{password}", *RIGHTS[role].split())
        urls[role] = parts._replace(netloc=f"{user}:{password}@{address}").geturl()
    return urls


def _require(answers: bool, *, name: str, url: str | None) -> None:
    if not answers:
        pytest.exit(f"{name}: {_place(url)} does not answer.", returncode=pytest.ExitCode.USAGE_ERROR)


def _place(url: str | None) -> str:
    if url is None:
        return "embedded"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
