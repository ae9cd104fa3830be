"""The embedded servers: who gets in, what survives, where they listen."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis
from botocore.exceptions import ClientError
from pymongo.errors import OperationFailure
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from infra.local.connections import DATABASE, S3Access
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.probes import s3_client, s3_is_ready
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

ONCE = Retry(NoBackoff(), 0)
ROLES = ("gateway", "coordinator", "host")


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with embedded_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


def redis_as(servers: EmbeddedServers, user: str, password: str | None = None) -> Any:
    """Any: redis-py types every reply as a union of sync and async."""
    if password is None:
        return redis.Redis.from_url(servers.connections.redis_urls[user])
    port = servers.layout.ports["valkey"]
    return redis.Redis(host="127.0.0.1", port=port, username=user, password=password, retry=ONCE)


def test_redis_refuses_nobody_and_wrong_passwords(own_servers: EmbeddedServers) -> None:
    port = own_servers.layout.ports["valkey"]
    anonymous: Any = redis.Redis(host="127.0.0.1", port=port, protocol=2, retry=ONCE)

    with pytest.raises(redis.AuthenticationError, match="required"):
        anonymous.ping()
    with pytest.raises(redis.AuthenticationError, match="invalid"):
        redis_as(own_servers, "gateway", "wrong").ping()


@pytest.mark.parametrize("role", ROLES)
def test_a_redis_role_stays_inside_our_keys_and_may_not_administer(
    own_servers: EmbeddedServers, role: str
) -> None:
    client = redis_as(own_servers, role)

    client.hset("mr:hosts", "x", "y")
    with pytest.raises(NoPermissionError):
        client.set("other", "x")
    for command in ("FLUSHALL", "CONFIG GET *", "ACL LIST", "KEYS *", "SHUTDOWN"):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command.split())


def test_a_host_can_look_up_tokens_and_models_and_change_neither(own_servers: EmbeddedServers) -> None:
    client = redis_as(own_servers, "host")

    client.mget("mr:model:1", "mr:token:1", "mr:projected")
    for forbidden in (
        "SET mr:model:1 x",
        "SET mr:token:1 x",
        "DEL mr:token:1",
        "SET mr:capacity x",
        "SET mr:projected 1",
        "SCAN 0",
        "RANDOMKEY",
        "KEYS mr:token:*",
    ):
        with pytest.raises(NoPermissionError):
            client.execute_command(*forbidden.split())


@pytest.mark.parametrize("login", ["", "control_plane:wrong@", "stranger:wrong@"])
def test_mongodb_refuses_nobody_and_wrong_passwords(own_servers: EmbeddedServers, login: str) -> None:
    port = own_servers.layout.ports["mongodb"]
    url = f"mongodb://{login}127.0.0.1:{port}/admin?directConnection=true"

    with (
        pymongo.MongoClient[dict[str, Any]](url) as client,
        pytest.raises(OperationFailure, match="authenticat"),
    ):
        client[DATABASE]["x"].find_one()


def test_the_control_plane_may_use_only_its_own_database(own_servers: EmbeddedServers) -> None:
    with pymongo.MongoClient[dict[str, Any]](own_servers.connections.mongo_url) as client:
        client[DATABASE]["x"].insert_one({})
        client[DATABASE]["x"].create_index("y")
        with pytest.raises(OperationFailure, match="not authorized"):
            client["other"]["x"].insert_one({})
        with pytest.raises(OperationFailure, match="not authorized"):
            client["admin"].command("createUser", "x", pwd="x", roles=[])


def test_s3_refuses_wrong_keys(own_servers: EmbeddedServers) -> None:
    access = own_servers.connections.s3

    for wrong in (replace(access, secret_key="wrong"), replace(access, access_key="stranger")):
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
            s3_client(wrong).list_objects_v2(Bucket=access.bucket)


@pytest.mark.parametrize(
    ("server", "method", "path", "refusals"),
    [
        pytest.param("s3", "GET", "/modelrocket/x", {403}, id="s3 without a signature"),
        pytest.param("s3", "PUT", "/modelrocket/x", {403}, id="s3 write without a signature"),
        pytest.param("s3-filer", "GET", "/buckets/modelrocket/x", {401}, id="filer read"),
        pytest.param("s3-filer", "PUT", "/buckets/modelrocket/x", {401}, id="filer write"),
        pytest.param("s3-filer", "GET", "/", {401}, id="filer listing"),
        pytest.param("s3-volume", "PUT", "/1,0123456789ab", {401}, id="volume write"),
    ],
)
def test_no_port_of_s3_serves_strangers(
    own_servers: EmbeddedServers, server: str, method: str, path: str, refusals: set[int]
) -> None:
    access = own_servers.connections.s3
    s3_client(access).put_object(Bucket=access.bucket, Key="x", Body=b"secret")
    connection = http.client.HTTPConnection("127.0.0.1", own_servers.layout.ports[server], timeout=10)

    connection.request(method, path, body=b"x" if method == "PUT" else None)

    assert connection.getresponse().status in refusals


def test_the_bucket_is_made_once_and_found_again(own_servers: EmbeddedServers) -> None:
    assert s3_is_ready(own_servers.connections.s3)
    assert s3_is_ready(own_servers.connections.s3)


def test_everything_listens_on_the_loopback_interface_only(own_servers: EmbeddedServers) -> None:
    pids = {child.pid for child in own_servers.children.values()}
    addresses = {address for pid in pids if pid is not None for address in listening(pid)}

    assert {address for address, _ in addresses} == {"0100007F"}  # 127.0.0.1 as /proc writes it
    assert {port for _, port in addresses} >= set(own_servers.layout.ports.values())


def test_secrets_are_private_and_not_in_command_lines(own_servers: EmbeddedServers) -> None:
    home = own_servers.layout.home
    secret = (home / "credentials.json").read_text()
    for path in (home / "credentials.json", home / "valkey" / "users.acl"):
        assert path.stat().st_mode & 0o077 == 0
    for child in own_servers.children.values():
        words = Path(f"/proc/{child.pid}/cmdline").read_bytes().decode().split("\0")
        assert not [word for word in words if len(word) > 16 and f'"{word}"' in secret]


def read_object(access: S3Access, key: str) -> bytes | None:
    """None while the server has an error of its own; a lost object is an error of ours."""
    client = s3_client(access)
    try:
        content: bytes = client.get_object(Bucket=access.bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return None
        raise
    return content


def test_what_was_acknowledged_survives_kill_9_and_a_restart(tmp_path: Path) -> None:
    with embedded_servers(tmp_path) as servers:
        write_everywhere(servers)
        for child in servers.children.values():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
        wait_for(
            lambda: all(child.poll() is not None for child in servers.children.values()), what="their end"
        )

    with embedded_servers(tmp_path) as servers:
        assert redis_as(servers, "gateway").get("mr:x") == b"kept"
        with pymongo.MongoClient[dict[str, Any]](servers.connections.mongo_url) as client:
            assert client[DATABASE]["x"].find_one() == {"_id": 1, "value": "kept"}
        access = servers.connections.s3
        kept = wait_for(lambda: read_object(access, "x"), what="the object, once its volume is back")
        assert kept == b"kept"


def test_a_taken_port_is_replaced_at_the_next_start(tmp_path: Path) -> None:
    with embedded_servers(tmp_path, "valkey") as servers:
        remembered = servers.layout.ports["valkey"]
        redis_as(servers, "gateway").set("mr:x", "kept")

    with socket.create_server(("127.0.0.1", remembered)), embedded_servers(tmp_path, "valkey") as servers:
        assert servers.layout.ports["valkey"] != remembered
        assert redis_as(servers, "gateway").get("mr:x") == b"kept"


def write_everywhere(servers: EmbeddedServers) -> None:
    redis_as(servers, "gateway").set("mr:x", "kept")
    wait_for(
        lambda: redis_as(servers, "stack").info("persistence")["aof_pending_bio_fsync"] == 0, what="the fsync"
    )
    with pymongo.MongoClient[dict[str, Any]](servers.connections.mongo_url) as client:
        client[DATABASE]["x"].insert_one({"_id": 1, "value": "kept"})
    access = servers.connections.s3
    s3_client(access).put_object(Bucket=access.bucket, Key="x", Body=b"kept")


def listening(pid: int) -> set[tuple[str, int]]:
    """Address (hex, as the kernel writes it) and port of each listening TCP socket of a process."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].rpartition(":")
                found.add((address, int(port, 16)))
    return found
