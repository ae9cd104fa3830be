"""What prepares the stores of the containers, over real servers."""

from __future__ import annotations

import secrets
import uuid
from typing import Any, cast
from urllib.parse import urlsplit

import pymongo
import pytest
import redis
from pymongo.errors import OperationFailure

from chalicelib.contract.hotstate import HotState
from infra.compose import healthcheck, redisusers, stores
from infra.local.embedded import EmbeddedServers
from infra.local.probes import s3_client
from infra.mongoroles import put_user
from tests.support.stores import new_database

PASSWORD = secrets.token_hex(8)


@pytest.fixture
def root_password(servers: EmbeddedServers) -> str:
    """As the image of MongoDB makes its root at the first start."""
    password = secrets.token_hex(8)
    with pymongo.MongoClient[dict[str, Any]](servers.connections.mongo_stack_url) as client:
        put_user(client, stores.ROOT, password, [{"role": "root", "db": "admin"}])
    return password


def test_the_platform_gets_a_user_in_a_replica_set_and_may_touch_its_own_database_only(
    servers: EmbeddedServers, root_password: str
) -> None:
    with pymongo.MongoClient[dict[str, Any]](servers.connections.mongo_stack_url) as client:
        name = client.admin.command("hello")["setName"]
    address = urlsplit(servers.connections.mongo_stack_url).netloc.rpartition("@")[2]
    user, database = f"platform_{uuid.uuid4().hex[:8]}", new_database()
    url = f"mongodb://{user}:{PASSWORD}@{address}/?authSource=admin"
    for _ in range(2):  # harmless to repeat
        stores.prepare_mongo(f"{url}&replicaSet={name}", database, root_password=root_password)
    with pymongo.MongoClient[dict[str, Any]](f"{url}&directConnection=true") as client:
        client[database]["things"].insert_one({"kept": True})
        assert client[database]["things"].count_documents({}) == 1
        with pytest.raises(OperationFailure):
            client["another"]["things"].insert_one({"kept": True})


class Initialized:
    """A member that another start made one since it was asked. The embedded one is one from its start."""

    def __init__(self) -> None:
        self.admin = self
        self.name: str | None = None

    def command(self, name: str, _told: object = None) -> dict[str, Any]:
        if name == "hello":
            return {"setName": self.name, "isWritablePrimary": self.name is not None}
        self.name = "rs0"
        raise OperationFailure("already initialized", 23)


def test_a_replica_set_that_another_start_made_is_as_good() -> None:
    stores._begin_replica_set(cast(Any, Initialized()), "rs0", "mongodb:27017")


def test_the_bucket_is_there_and_may_be_there_before(servers: EmbeddedServers) -> None:
    access = servers.connections.s3
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    told = access.environment() | {"MODELROCKET_S3_BUCKET": bucket}
    for _ in range(2):
        stores.prepare_s3(told)
    client = s3_client(access)
    assert bucket in [one["Name"] for one in client.list_buckets()["Buckets"]]
    for found in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=found["Key"])
    client.delete_bucket(Bucket=bucket)


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert stores.main({}) == 2
    assert "MODELROCKET_MONGO_URL" in capsys.readouterr().err


def test_valkey_takes_every_user_and_the_one_for_its_health_may_do_nothing_else(
    servers: EmbeddedServers, raw_redis: Any
) -> None:
    passwords = {f"ROCKET_REDIS_{role.upper()}_PASSWORD": secrets.token_hex(8) for role in redisusers.ROLES}
    default, *lines = redisusers.users(passwords).splitlines()
    assert default.startswith("user default off")
    names = {}
    try:
        for line in lines:
            _, role, *rules = line.split()
            names[role] = f"{role}-{uuid.uuid4().hex[:8]}"
            raw_redis.execute_command("ACL", "SETUSER", names[role], *rules)
        assert set(names) == set(redisusers.ROLES)
        address = servers.connections.redis_urls["stack"].rpartition("@")[2]
        password = passwords["ROCKET_REDIS_HEALTH_PASSWORD"]
        health = redis.Redis.from_url(f"redis://{names['health']}:{password}@{address}")
        assert health.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.get("mr:hosts")
    finally:
        raw_redis.execute_command("ACL", "DELUSER", *names.values())


def test_the_coordinator_is_well_while_somebody_coordinates(servers: EmbeddedServers, hot: HotState) -> None:
    told = {"MODELROCKET_REDIS_URL": servers.connections.redis_urls["coordinator"]}
    assert not healthcheck.coordinator_coordinates(told)
    hot.take_lease("one")
    assert healthcheck.coordinator_coordinates(told)
    hot.release_lease("one")
    assert not healthcheck.coordinator_coordinates(told)
    assert not healthcheck.coordinator_coordinates({"MODELROCKET_REDIS_URL": "redis://127.0.0.1:1/0"})
