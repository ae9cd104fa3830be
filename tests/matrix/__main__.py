"""Run families of the conformance table: `python -m tests.matrix [FAMILY …] [--only TEXT] [--write-docs]`.

The results are kept in build/matrix/FAMILY.json; docs/conformance.md is written from all that are there.
Ends with 1 where a case is WRONG, HANG or BROKEN.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two cases at a time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tests.matrix import case, document, harness, results
from tests.matrix.results import FAILURES, Family, Outcome, Result

_WHY_MAX = 200
_EVERYWHERE = ("onnx", "onnxruntime", "numpy")
_COLOURS = {
    Outcome.OK: "green",
    Outcome.REFUSED: "yellow",
    Outcome.UNSUPPORTED: "cyan",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(_known())}; or all")
    parser.add_argument("--only", metavar="TEXT", default="", help="cases whose name contains it")
    parser.add_argument("--seconds", type=float, default=harness.SECONDS_MAX, help="for each case")
    parser.add_argument("--write-docs", action="store_true", help=f"write {document.PATH} from all results")
    said = parser.parse_args()
    failed = 0
    if len(said.families) == 1:
        failed = _run(said.families[0], said.only, said.seconds)
    elif said.families or not said.write_docs:
        failed = max(_run_apart(name, said.only, said.seconds) for name in said.families or _known())
    if said.write_docs:
        document.write([results.read(name) for name in results.recorded()])
    return failed


def _known() -> list[str]:
    """The modules beside this one that have cases."""
    here = Path(__file__).parent
    return sorted(path.stem for path in here.glob("*.py") if "\ndef cases(" in path.read_text())


def _run_apart(name: str, only: str, seconds: float) -> int:
    """In a process of its own: frameworks do not all bear each other's company."""
    said = [sys.executable, "-m", __package__, name, "--only", only, "--seconds", str(seconds)]
    return subprocess.run(said, check=False).returncode


def _run(name: str, only: str, seconds: float) -> int:
    module = import_module(f"{__package__}.{name}")
    known: list[case.Case] = module.cases()
    cases = [one for one in known if only.lower() in one.name.lower()]
    found = _with_progress(name, cases, seconds)
    order = [one.name for one in cases]
    family = Family(
        name,
        title=(module.__doc__ or name).partition("\n")[0].rstrip("."),
        versions={"Python": platform.python_version()}
        | {package: version(package) for package in (*module.PACKAGES, *_EVERYWHERE)},
        results=tuple(sorted(found, key=lambda result: order.index(result.name))),
    )
    _show(family)
    results.write(results.merged([one.name for one in known], family))
    return int(any(result.outcome in FAILURES for result in family.results))


def _with_progress(name: str, cases: list[case.Case], seconds: float) -> list[Result]:
    """Drawn by this thread alone: another one could hold a lock while a case is forked."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[running]}"),
    )
    found: list[Result] = []
    with Progress(*columns, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(name, total=len(cases), running="")

        def show(running: str) -> None:
            progress.update(task, completed=len(found), running=running)
            progress.refresh()

        for result in harness.results(cases, seconds_max=seconds, show=show):
            found.append(result)
    return found


def _show(family: Family) -> None:
    table = Table("Model", "Kind", "Outcome", "s", "Why, or what to know", title=family.title)
    for result in family.results:
        colour = _COLOURS.get(result.outcome, "red")
        why = " ".join("; ".join(filter(None, (result.reason, *result.notes))).split())
        outcome, seconds = Text(result.outcome, style=colour), f"{result.seconds:.1f}"
        table.add_row(Text(result.name), result.kind, outcome, seconds, Text(why[:_WHY_MAX]))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    console.print(" · ".join(f"{family.counts[outcome]} {outcome}" for outcome in Outcome))


if __name__ == "__main__":
    sys.exit(main())
