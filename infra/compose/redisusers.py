"""`python -m infra.compose.redisusers FILE`: Valkey's users, from the passwords in the environment.

Written anew before each start, so that each role has the rights that this version of the code says. The file
has hashes of random secrets, not the secrets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.local.files import write_private
from infra.redisroles import RIGHTS, users_file

ROLES: Final[Mapping[str, str]] = {**RIGHTS, "health": "+ping"}
_READABLE: Final = 0o644
"""By Valkey, which runs as another user."""


def users(environ: Mapping[str, str]) -> str:
    """Raises KeyError for a role without password."""
    passwords = {role: environ[f"ROCKET_REDIS_{role.upper()}_PASSWORD"] for role in ROLES}
    return users_file(ROLES, passwords)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_private(path, users(os.environ))  # noqa: TID251 - an entry point
    path.chmod(_READABLE)
