"""A zip whose bytes depend on the bytes and the names of its files alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""
_READ_BY_ALL: Final = 0o100644
_UNIX: Final = 3


def write(files: Mapping[str, Path], archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _READ_BY_ALL << 16
            packed.writestr(entry, files[name].read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
