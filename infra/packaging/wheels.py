"""The control plane's dependencies as Lambda's machines take them, checked against the locked file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.packaging.failure import CannotPackage

_GLIBC_MINOR: Final = {(3, 11): 26, (3, 12): 34, (3, 13): 34}
"""Of each runtime: python3.11 is on Amazon Linux 2, later ones are on Amazon Linux 2023."""
_GLIBC_MINOR_LEAST: Final = 17
"""manylinux2014's."""


def fetched(lock: Path, cache: Path) -> tuple[Path, ...]:
    """The wheels that `lock` names, for this interpreter's minor version. What `cache` has is not loaded.

    Raises CannotPackage where Lambda has no such Python, or pip finds no wheel or another one than is locked.
    """
    key = hashlib.sha256(f"{_python()} {lock.read_text()}".encode()).hexdigest()[:16]
    folder = cache / key
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            arriving = Path(work) / key
            _download(lock, arriving)
            _keep(arriving, folder)
    return tuple(_checked(wheel, lock.read_text()) for wheel in sorted(folder.glob("*.whl")))


def members(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each file that it installs beside others."""
    with zipfile.ZipFile(wheel) as packed:
        for member in packed.infolist():
            if not member.is_dir() and ".data/" not in member.filename:
                yield member.filename, packed.read(member)


def _python() -> str:
    python = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info[:2] not in _GLIBC_MINOR:
        raise CannotPackage(
            f"Functions run the Python that packages them: 3.11 to 3.13, and this is {python}."
        )
    return python


def _download(lock: Path, folder: Path) -> None:
    python = _python()
    newest = _GLIBC_MINOR[sys.version_info[:2]]
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(newest, _GLIBC_MINOR_LEAST - 1, -1)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", python),
            *(word for platform in (*platforms, "manylinux2014_x86_64") for word in ("--platform", platform)),
            *("--dest", str(folder), "--requirement", str(lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotPackage(f"pip found no wheels for Lambda's Python {python}:\n{done.stderr.strip()}")


def _keep(arriving: Path, folder: Path) -> None:
    """Of two that package at the same time one comes first; both have the same wheels."""
    try:
        os.rename(arriving, folder)
    except OSError:
        if not folder.exists():
            raise


def _checked(wheel: Path, locked: str) -> Path:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if f"sha256:{digest}" not in locked:
        raise CannotPackage(f"{wheel} is not what is locked: delete {wheel.parent}")
    return wheel
