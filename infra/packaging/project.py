"""A Chalice project with nothing but what Lambda needs.

    app.py        the application, as Chalice reads it
    chalicelib/   the rest of it, as bytecode
    vendor/       what it imports, as bytecode, also of Chalice's own part, which Chalice adds as source;
                  and who is believed to sign DocumentDB's certificates
    .chalice/     its stages and their policies

`chalice package` and `chalice deploy` in it, and `archive.write` of it, give functions the same files.
"""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import chalice
import chalice.app

from infra.packaging import bytecode, certificates, contents, wheels
from infra.packaging.failure import CannotPackage

LOCK: Final = Path("requirements/lambda.txt")
_CHALICE: Final = (chalice, chalice.app)
"""The modules that Chalice itself puts into every package."""


def fill(root: Path, project: Path, *, cache: Path) -> None:
    """Makes `project`, which is not there yet, of the sources under `root`. Raises CannotPackage."""
    vendor = project / "vendor"
    for wheel in wheels.fetched(root / LOCK, cache):
        _unpack(wheel, vendor)
    _copy_chalices(vendor / "chalice")
    _compile("terse", vendor, vendor)
    _put_beside_source(vendor / "chalice")
    shutil.copyfile(certificates.BUNDLE, vendor / certificates.NAME)
    _copy_sources(root, project)
    _compile("whole", project, project / "chalicelib")
    shutil.copy(root / "app.py", project)
    (project / ".chalice").mkdir()
    for said in (root / ".chalice").glob("*.json"):
        shutil.copy(said, project / ".chalice")
    (project / "requirements.txt").touch()
    _let_anybody_read(project)


def files(project: Path) -> dict[str, Path]:
    """What a function gets of it, by the path there."""
    vendor = project / "vendor"
    found = {"app.py": project / "app.py"}
    found |= {f"chalice/{_source(module).name}": _source(module) for module in _CHALICE}
    for folder, base in ((project / "chalicelib", project), (vendor, vendor)):
        found |= {path.relative_to(base).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return found


def _unpack(wheel: Path, vendor: Path) -> None:
    for name, held in wheels.members(wheel):
        if contents.needed(name):
            path = vendor / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(held)


def _copy_sources(root: Path, project: Path) -> None:
    for module in (root / "chalicelib").rglob("*.py"):
        copy = project / module.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)


def _copy_chalices(folder: Path) -> None:
    folder.mkdir()
    for module in _CHALICE:
        shutil.copyfile(_source(module), folder / _source(module).name)


def _put_beside_source(folder: Path) -> None:
    """Bytecode of modules whose source will be in `folder` too."""
    (folder / "__pycache__").mkdir()
    for compiled in sorted(folder.glob("*.pyc")):
        compiled.rename(importlib.util.cache_from_source(str(compiled.with_suffix(".py"))))


def _source(module: ModuleType) -> Path:
    return Path(inspect.getfile(module))


def _compile(how: str, task: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "ignore", bytecode.__file__, how, str(task), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotPackage(f"What is in {folder} does not compile:\n{done.stderr.strip()}")


def _let_anybody_read(project: Path) -> None:
    """Functions run as another user than the one that owns their files."""
    for path in project.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
