"""`python -m infra.package`: the control plane as Lambda takes it.

build/lambda/project/           a Chalice project, see `infra.packaging.project`
build/lambda/modelrocket.zip    the same as one file, of the same bytes whenever and wherever it is built
vendor                          leads to the project's, for `chalice` in this folder
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.packaging import archive, coldstart, project
from infra.packaging.failure import CannotPackage

ROOT: Final = Path(__file__).parent.parent
BUILT: Final = ROOT / "build" / "lambda"
BYTES_MAX: Final = 6_000_000
IMPORT_SECONDS_GOAL: Final = 0.4


@dataclass(frozen=True, slots=True)
class Package:
    """`project`: the folder. `zip`: the file."""

    project: Path
    zip: Path

    @property
    def bytes(self) -> int:
        return self.zip.stat().st_size

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.zip.read_bytes()).hexdigest()


def build(root: Path, folder: Path, *, cache: Path) -> Package:
    """Packages the sources under `root` into `folder`, in the place of what was built there before.

    `cache`: where wheels are kept. Raises CannotPackage.
    """
    built = Package(folder / "project", folder / "modelrocket.zip")
    shutil.rmtree(built.project, ignore_errors=True)
    project.fill(root, built.project, cache=cache)
    archive.write(project.files(built.project), built.zip)
    if built.bytes > BYTES_MAX:
        raise CannotPackage(f"{built.zip} has {built.bytes} bytes, and at most {BYTES_MAX} are meant to be.")
    return built


def main() -> None:
    try:
        built = build(ROOT, BUILT, cache=BUILT / "wheels")
        _lead_here(built)
        print(f"{built.zip.relative_to(ROOT)}  sha256 {built.sha256}")
        print(f"size    {built.bytes / 1e6:.2f} MB, at most {BYTES_MAX / 1e6:g}")
        print(f"import  {_import_seconds(built)}")
    except CannotPackage as failure:
        sys.exit(str(failure))


def _lead_here(built: Package) -> None:
    """What Chalice knows to be deployed outlives the project's folder; `chalice` finds what is vendored."""
    deployed, vendor = ROOT / ".chalice" / "deployed", ROOT / "vendor"
    deployed.mkdir(exist_ok=True)
    (built.project / ".chalice" / "deployed").symlink_to(deployed)
    vendor.unlink(missing_ok=True)
    vendor.symlink_to((built.project / "vendor").relative_to(ROOT))


def _import_seconds(built: Package) -> str:
    if not coldstart.runs_here():
        return "not measured: this machine cannot run what was built, which is for Linux on x86-64"
    seconds = coldstart.import_seconds(built.zip)
    return f"{seconds * 1000:.0f} ms of CPU, {IMPORT_SECONDS_GOAL * 1000:.0f} is the goal"


if __name__ == "__main__":
    main()
