"""What `localstack-compose.yml` takes from its environment file: secrets, made at random once, and choices.

What is in the file already is never made anew: new secrets would lock us out of the data. What of it is
somebody else's stays as it is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from chalicelib.contract.tokens import new_token
from infra.local.files import write_private
from infra.local.settings import PORT_DEFAULT

FILE_NAME: Final = ".env"
"""Where Compose looks by itself, beside its own file."""
API_KEY: Final = "ROCKET_API_KEY"
PORT: Final = "ROCKET_PORT"
PROFILES: Final = "COMPOSE_PROFILES"
PROJECT: Final = "COMPOSE_PROJECT_NAME"
_S3_PORT: Final = "ROCKET_S3_PORT"
_SECRETS: Final = re.compile(r"ROCKET_\w+_(KEY|PASSWORD)")
_SECRET_BYTES: Final = 24
_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))\s*(?:(?:^|\s)#.*)?"""
)
_HEADER: Final = (
    "# Secrets of localstack-compose.yml, made by `make compose-env`.\n"
    "# Keep them for as long as its volumes.\n"
)


class Store(StrEnum):
    """Whose S3 the models are in; the name of its service, and of the profile that starts it."""

    MINIO = "minio"
    LOCALSTACK = "localstack"


_STORE_PORTS: Final = {Store.MINIO: 9000, Store.LOCALSTACK: 4566}
"""Where each listens, inside and out."""


def made(
    store: Store = Store.MINIO, *, port: int | None = None, s3_port: int | None = None
) -> dict[str, str]:
    """Every variable there is, its secrets fresh. Ports are those of this machine's loopback interface.

    The name of the project is as fresh as the secrets: no volume has it that was made with others.
    """
    return {
        PROJECT: f"modelrocket-{secrets.token_hex(3)}",
        PROFILES: store,
        PORT: str(port or PORT_DEFAULT),
        _S3_PORT: str(s3_port or _STORE_PORTS[store]),
        "ROCKET_S3_ENDPOINT_URL": f"http://{store}:{_STORE_PORTS[store]}",
        "ROCKET_S3_ACCESS_KEY": f"mr{secrets.token_hex(9)}",
        "ROCKET_S3_SECRET_KEY": _secret(),
        "ROCKET_REDIS_GATEWAY_PASSWORD": _secret(),
        "ROCKET_REDIS_COORDINATOR_PASSWORD": _secret(),
        "ROCKET_REDIS_HOST_PASSWORD": _secret(),
        "ROCKET_REDIS_HEALTH_PASSWORD": _secret(),
        "ROCKET_MONGO_ROOT_PASSWORD": _secret(),
        "ROCKET_MONGO_PASSWORD": _secret(),
        "ROCKET_MONGO_REPLICA_KEY": _secret(),
        "ROCKET_DISPATCH_KEY": secrets.token_hex(32),
        API_KEY: new_token(),
    }


def read(path: Path) -> dict[str, str]:
    """What the file says, as Compose reads it; nothing where there is none. What is empty is not said."""
    lines = (_LINE.fullmatch(line) for line in _text(path).splitlines())
    pairs = {found[1]: found[2] or found[3] or found[4] or "" for found in lines if found}
    return {name: value for name, value in pairs.items() if value}


def add(path: Path, variables: Mapping[str, str]) -> None:
    """Below what is there. From then on it is for this user's eyes only."""
    before = _text(path)
    if before and not before.endswith("\n"):
        before += "\n"
    added = _HEADER + "".join(f"{name}={value}\n" for name, value in variables.items())
    write_private(path.resolve(), before + added if variables else before)


def has_secrets(variables: Mapping[str, str]) -> bool:
    """Whether there may be data that belong to them."""
    return any(map(_SECRETS.fullmatch, variables))


def url(variables: Mapping[str, str]) -> str:
    """Where the gateway is, from this machine."""
    return f"http://127.0.0.1:{variables[PORT]}"


def _secret() -> str:
    return secrets.token_hex(_SECRET_BYTES)  # hex fits URLs, shells and this file as it is


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig") if path.exists() else ""
