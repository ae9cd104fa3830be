"""Every secret of one home, generated once and kept in `credentials.json` (0600)."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from chalicelib.contract.tokens import new_token
from infra.local.files import read_json, write_private

FILE_NAME: Final = "credentials.json"
_SECRET_BYTES: Final = 24


class DamagedCredentials(Exception):
    """The file is there but incomplete: making new secrets would lock us out of the data."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Passwords are for one role each; `stack` is health checks and tests."""

    redis_stack: str
    redis_gateway: str
    redis_coordinator: str
    redis_host: str
    mongo_stack: str
    mongo_control_plane: str
    s3_access_key: str
    s3_secret_key: str
    s3_volume_key: str
    s3_filer_key: str
    dispatch_key: str
    api_key: str

    def __repr__(self) -> str:  # a log must not carry these
        return "Credentials(...)"


def load_or_create(home: Path) -> Credentials:
    """The home's credentials; made at the first call."""
    path = home / FILE_NAME
    if not path.exists():
        write_private(path, json.dumps(asdict(_generate()), indent=1))
    content = read_json(path)
    try:
        return Credentials(**{field.name: str(content[field.name]) for field in fields(Credentials)})
    except KeyError as error:
        raise DamagedCredentials(
            f"{path} lacks {error}. Put the complete file back, or choose an empty folder with ROCKET_HOME."
        ) from None


def _generate() -> Credentials:
    return Credentials(
        redis_stack=_secret(),
        redis_gateway=_secret(),
        redis_coordinator=_secret(),
        redis_host=_secret(),
        mongo_stack=_secret(),
        mongo_control_plane=_secret(),
        s3_access_key=f"mr{secrets.token_hex(9)}",
        s3_secret_key=_secret(),
        s3_volume_key=_secret(),
        s3_filer_key=_secret(),
        dispatch_key=secrets.token_hex(32),
        api_key=new_token(),
    )


def _secret() -> str:
    return secrets.token_hex(_SECRET_BYTES)  # hex fits URLs, ACL files and environments as it is
