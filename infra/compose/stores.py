"""`python -m infra.compose.stores`: MongoDB's replica set and the platform's user in it, and the bucket.

Run before anything is served, and harmless to repeat. Only this knows MongoDB's root password.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pymongo
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from infra.local.connections import External
from infra.local.probes import s3_is_ready
from infra.mongoroles import put_user, rights

ROOT: Final = "root"
_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5
_CALL_MILLISECONDS: Final = 5000
_ALREADY_INITIALIZED: Final = 23


class NotReady(Exception):
    """A store did not become ready in time."""


def prepare_mongo(url: str, database: str, *, root_password: str) -> None:
    """`url`: as the platform reaches it. Raises NotReady, PyMongoError."""
    told = parse_uri(url)
    (address,) = told["nodelist"]
    with pymongo.MongoClient[dict[str, Any]](
        *address,
        username=ROOT,
        password=root_password,
        directConnection=True,  # before there is a replica set
        serverSelectionTimeoutMS=_CALL_MILLISECONDS,
    ) as client:
        _wait(lambda: _answers(client), "MongoDB")
        if name := told["options"].get("replicaSet"):
            _begin_replica_set(client, name, "{}:{}".format(*address))
        put_user(client, told["username"], told["password"], rights(database))


def _answers(client: pymongo.MongoClient[dict[str, Any]]) -> bool:
    try:
        return bool(client.admin.command("ping")["ok"])
    except ConnectionFailure:
        return False


def _begin_replica_set(client: pymongo.MongoClient[dict[str, Any]], name: str, member: str) -> None:
    """Of one member: what is written to a majority is written, and there are transactions."""
    if client.admin.command("hello").get("setName") != name:
        try:
            client.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": member}]})
        except OperationFailure as error:  # somebody else's, or its own that it has not read yet
            if error.code != _ALREADY_INITIALIZED:
                raise
    _wait(lambda: bool(client.admin.command("hello").get("isWritablePrimary")), "MongoDB's replica set")


def prepare_s3(environ: Mapping[str, str]) -> None:
    """The bucket, where there is none. Raises NotReady, ValueError."""
    access = External.from_env(environ).s3
    if access is None:
        raise ValueError("MODELROCKET_S3_ENDPOINT_URL is not set.")
    _wait(lambda: s3_is_ready(access), f"The store at {access.endpoint_url}")


def _wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} is not ready after {_SECONDS:.0f} s.")
        time.sleep(_POLL_SECONDS)


def main(environ: Mapping[str, str]) -> int:
    """The exit code."""
    try:
        prepare_mongo(
            environ["MODELROCKET_MONGO_URL"],
            environ["MODELROCKET_MONGO_DATABASE"],
            root_password=environ["ROCKET_MONGO_ROOT_PASSWORD"],
        )
        prepare_s3(environ)
    except KeyError as error:
        print(f"{error} is not set.", file=sys.stderr)
        return 2
    except (NotReady, PyMongoError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))  # noqa: TID251 - an entry point
