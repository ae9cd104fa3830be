"""Which files of the wheels the control plane needs at run time."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

AWS_SERVICES: Final = frozenset({"ecs", "s3", "secretsmanager"})
"""Those the control plane calls: botocore knows four hundred, and their descriptions are most of it."""

_COMPILERS_INPUT: Final = frozenset({".c", ".cfg", ".h", ".pyi", ".typed"})
_UNUSED_FOLDERS: Final = frozenset({"cffi", "gridfs", "pycparser"})
"""cffi's part that is needed is `_cffi_backend`, beside it; the others come with it and with pymongo."""
_SAID_OF_WHEELS: Final = frozenset({"METADATA", "LICENSE", "LICENSE.txt", "NOTICE"})
_ZONES: Final = "dateutil-zoneinfo.tar.gz"
"""The world's time zones by name. Of those only UTC is asked for."""


def needed(name: str) -> bool:
    """Whether this file of a wheel, by its path as installed, is of use in Lambda."""
    path = PurePosixPath(name)
    if path.suffix in _COMPILERS_INPUT or path.name == _ZONES or path.parts[0] in _UNUSED_FOLDERS:
        return False
    if path.parts[0].endswith(".dist-info"):
        return path.name in _SAID_OF_WHEELS or "licenses" in path.parts
    match path.parts:
        case ("botocore", "data", service, _, *_):
            return service in AWS_SERVICES and not path.name.startswith("examples-")
    return True
