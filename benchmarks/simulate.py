"""`python -m benchmarks.simulate`: the platform's decisions in virtual time, shown, kept and written down."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from benchmarks.children import REPOSITORY
from benchmarks.simulation import autoscale, cache, rendering, routing, scale
from benchmarks.simulation.experiment import Experiment, TraceMissing

EXPERIMENTS: Final[Mapping[str, Callable[..., Experiment]]] = {
    "autoscale": autoscale.run,
    "scale": scale.run,
    "cache": cache.run,
    "routing": routing.run,
}
"""Each is called as `run(traces, quick=…)`."""
KEPT: Final = REPOSITORY / "build" / "simulate"
PAGE: Final = REPOSITORY / "docs" / "scaling.md"
TRACES_VARIABLE: Final = "MODELROCKET_TRACES"
_FAILED: Final = 1
_WIDTH_OF_A_FILE: Final = 180

_EPILOG: Final = """
Each experiment is kept in build/simulate, and --write-docs writes the last run of every one to
docs/scaling.md; what --quick found is shown and not kept.
"""


def main(arguments: Sequence[str], *, traces: str | None) -> int:
    """`traces`: the folder if none is named. 1 if a trace is missing."""
    chosen = _parse(arguments, traces)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    try:
        for name in chosen.experiment or EXPERIMENTS:
            experiment = EXPERIMENTS[name](_folder(chosen.traces), quick=chosen.quick)
            rendering.show(experiment, console)
            if not chosen.quick:
                _keep(experiment)
    except TraceMissing as missing:
        console.print(f"[red]{missing}[/red]")
        return _FAILED
    if chosen.write_docs:
        rendering.write_page(_kept(), PAGE)
    return 0


def _parse(arguments: Sequence[str], traces: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "experiment", nargs="*", help=f"{', '.join(EXPERIMENTS)}; all of them if none is named"
    )
    parser.add_argument(
        "--traces", type=Path, default=traces, help=f"folder of the traces; {TRACES_VARIABLE} if not given"
    )
    parser.add_argument("--quick", action="store_true", help="a part of the traces")
    parser.add_argument("--write-docs", action="store_true", help="write docs/scaling.md")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.experiment if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(EXPERIMENTS)}")
    return chosen


def _folder(traces: Path | None) -> Path:
    if traces is None or not traces.is_dir():
        there = f"{traces} is no folder" if traces else "No folder of traces is named"
        raise TraceMissing(f"{there}: name it with --traces or in {TRACES_VARIABLE}.")
    return traces


def _keep(experiment: Experiment) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{experiment.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(experiment), indent=1))


def _kept() -> list[Experiment]:
    """The last run of every experiment there is, in their order."""
    paths = [KEPT / f"{name}.json" for name in EXPERIMENTS]
    return [msgspec.json.decode(path.read_bytes(), type=Experiment) for path in paths if path.is_file()]


if __name__ == "__main__":
    folder = os.environ.get(TRACES_VARIABLE)
    sys.exit(main(sys.argv[1:], traces=folder))
