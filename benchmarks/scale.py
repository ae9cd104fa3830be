"""`python -m benchmarks.scale`: what breaks first as requests, models and accounts grow, and at which number.

What it costs us is measured (`--measure`, two minutes) and kept in docs/scale; what AWS allows is data. From
both the page docs/scale.md is written.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.children import REPOSITORY
from benchmarks.growth import figures, page

PAGE: Final = REPOSITORY / "docs" / "scale.md"


def main(arguments: Sequence[str]) -> int:
    chosen = _parse(arguments)
    console = Console(highlight=False)
    if chosen.measure:
        from benchmarks.growth.measuring import measure  # its servers and frameworks are for it alone

        command = shlex.join(["python", "-m", "benchmarks.scale", *arguments])
        with tempfile.TemporaryDirectory() as folder:
            figures.keep(measure(Path(folder), command, lambda text: console.print(f"[dim]{text}[/dim]")))
    text = page.markdown(figures.kept())
    if chosen.write_docs:
        PAGE.write_text(text)
    else:
        print(text)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--measure", action="store_true", help=f"anew, into {figures.MEASURED.relative_to(REPOSITORY)}"
    )
    parser.add_argument("--write-docs", action="store_true", help="write docs/scale.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(main(sys.argv[1:]))
