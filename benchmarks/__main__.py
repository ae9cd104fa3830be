"""`python -m benchmarks`: measure, show, keep, and write the page."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console

from benchmarks import models, others, page, peering, report, serve
from benchmarks.cells import REPOSITORY, ChildFailed, Timing
from benchmarks.machine import this_machine
from benchmarks.rocket import CannotServe

FOLDER: Final = REPOSITORY / "build" / "bench"
DOCS: Final = REPOSITORY / "docs" / "benchmarks.md"
BENCHES: Final = ("serve", "load", "density", "vanish")
_FAILED: Final = 1
_WIDTH_OF_A_FILE: Final = 150
_DEFAULT: Final = (3, Timing(warm_up=0.4, measured=1.2))
_QUICK: Final = (1, Timing(warm_up=0.3, measured=0.8))

_EPILOG: Final = """
benches
  serve     what a request costs (the default)
  load      how long a model takes until it can run, first and again, beside a plain session
  density   memory and threads of a host with many tiny models
  vanish    recovery after 200 callers vanish in mid-flight

examples
  python -m benchmarks                                    everything of ours: about six minutes
  python -m benchmarks --quick                            one short round of everything
  python -m benchmarks --only tiny --connections 1,32     one model
  python -m benchmarks --peers fastapi,litserve --only tiny --write-docs

Read "x raw": CPU time per request over that of session.run in the same round.
It carries over to other machines; microseconds do not. Keep the machine quiet,
and prefer several short rounds to a long one. Results: build/bench/results.
"""


def main(arguments: Sequence[str]) -> int:
    """1 when a row is invalid or a server does not start."""
    chosen = _parse(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    started_at = datetime.datetime.now(datetime.UTC)
    try:
        measured = _measure(chosen, lambda text: console.print(f"[dim]{text}[/dim]"))
    except (ChildFailed, CannotServe) as error:
        console.print(f"[red]{error}[/red]")
        return _FAILED
    result = report.Result(
        bench=chosen.bench,
        at=started_at.strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
        machine=this_machine(),
        rows=tuple(measured.rows),
        tables=tuple(measured.tables),
        notes=(*measured.failures, *measured.notes),
    )
    report.show(result, console)
    console.print(f"Kept in {report.save(result, FOLDER / 'results')}")
    if chosen.write_docs:
        DOCS.write_text(page.markdown(report.load_all(FOLDER / "results")))
    return _FAILED if measured.failures or not all(row.valid for row in result.rows) else 0


def _measure(chosen: argparse.Namespace, say: Callable[[str], None]) -> serve.Outcome:
    plan = _plan(chosen)
    match chosen.bench:
        case "load":
            table = others.load(FOLDER, names=plan.models, rounds=plan.rounds, say=say)
        case "density":
            table = others.crowd(FOLDER, quick=chosen.quick, say=say)
        case "vanish":
            table = others.vanishing(FOLDER, say=say)
        case _:
            return serve.run(plan, say=say)
    return serve.Outcome(tables=[table])


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What a request costs: ModelRocket beside raw onnxruntime and beside other servers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bench", nargs="?", default="serve", choices=BENCHES)
    parser.add_argument(
        "--only", type=_names(models.NAMES), default=models.NAMES, help=f"models: {', '.join(models.NAMES)}"
    )
    parser.add_argument(
        "--targets",
        type=_names(serve.TARGETS),
        default=serve.TARGETS,
        help="of ours: gateway, host; an empty text for none",
    )
    parser.add_argument(
        "--peers",
        type=_names(peering.NAMES),
        default=(),
        help=f"beside ours: {', '.join(peering.NAMES)}; installed on first use",
    )
    parser.add_argument(
        "--protocols",
        type=_names(serve.PROTOCOLS),
        default=serve.PROTOCOLS_DEFAULT,
        help="json, v2-json, v2-binary (json and v2-binary)",
    )
    parser.add_argument("--connections", type=_numbers, default=(), help="in place of each model's own")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="measured per turn")
    parser.add_argument("--hosts", type=int, default=1, help="inference hosts of our stack")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args(arguments)


def _plan(chosen: argparse.Namespace) -> serve.Plan:
    rounds, timing = _QUICK if chosen.quick else _DEFAULT
    return serve.Plan(
        models=chosen.only,
        targets=chosen.targets,
        peers=chosen.peers,
        connections=chosen.connections,
        protocols=chosen.protocols,
        rounds=chosen.rounds or rounds,
        timing=Timing(timing.warm_up, chosen.seconds or timing.measured),
        hosts=chosen.hosts,
        folder=FOLDER,
    )


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads `a,b`; an empty text is nothing, an unknown name is told."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(name for name in text.split(",") if name)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return read


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(main(sys.argv[1:]))
