"""What the platform may do in MongoDB, wherever it runs: its own database, and nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pymongo
from pymongo.errors import OperationFailure

Rights = Sequence[dict[str, str]]
_RIGHTS: Final = ("readWrite", "dbAdmin")
_USER_EXISTS: Final = 51003


def rights(database: str) -> Rights:
    """As MongoDB's `createUser` takes them."""
    return [{"role": role, "db": database} for role in _RIGHTS]


def put_user(client: pymongo.MongoClient[dict[str, Any]], user: str, password: str, roles: Rights) -> None:
    """The user with this password and these roles, whatever there was before."""
    try:
        client.admin.command("createUser", user, pwd=password, roles=roles)
    except OperationFailure as error:
        if error.code != _USER_EXISTS:
            raise
        client.admin.command("updateUser", user, pwd=password, roles=roles)
