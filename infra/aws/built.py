"""What is built before it is deployed: the functions by `make package`, the web UI by `make site`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / "build" / "cdk.out"
"""Where templates are written."""


@dataclass(frozen=True, slots=True)
class Built:
    """`package`: the zip of the functions. `site`: the folder of the web UI."""

    package: Path = ROOT / "build" / "lambda" / "modelrocket.zip"
    site: Path = ROOT / "frontend" / "dist"

    def missing(self) -> Sequence[str]:
        """What to do about each."""
        problems = []
        if not self.package.is_file():
            problems.append(f"{self.package} is not there: `make package` builds it.")
        if not (self.site / "index.html").is_file():
            problems.append(f"{self.site} is not there: `make site` builds it.")
        return problems
