"""`python -m benchmarks`: measure, show, keep, and write the page."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from benchmarks import models, others, page, peering, report, serve, soak
from benchmarks.cells import Timing
from benchmarks.children import REPOSITORY, ChildFailed
from benchmarks.machine import this_machine
from benchmarks.rocket import CannotServe

Item = TypeVar("Item")

FOLDER: Final = REPOSITORY / "build" / "bench"
DOCS: Final = REPOSITORY / "docs" / "benchmarks.md"
_OTHERS: Final = (
    "load",
    "cold",
    "density",
    "churn",
    "scan",
    "batching",
    "fairness",
    "gateway",
    "logins",
    "vanish",
    "passports",
    "soak",
)
BENCHES: Final = ("serve", *_OTHERS)
_FAILED: Final = 1
_WIDTH_OF_A_FILE: Final = 180
_DEFAULT: Final = (3, Timing(warm_up=0.4, measured=1.2))
_QUICK: Final = (1, Timing(warm_up=0.3, measured=0.8))
_OF_SERVE: Final = ("only", "targets", "peers", "protocols", "connections")
"""Options that make no sense without it."""

_EPILOG: Final = """
benches (all of them, one after the other, where none is named)
  serve     what a request costs, in CPU time, beside session.run in process
  load      how long a model takes until it can run, first and again, beside a plain session
  cold      whether a host's word when a cold model will be ready is kept
  density   memory and threads of a host with 1,000 tiny models
  churn     memory of a host after 1,000 loads and evictions
  scan      50 hot models while 10,000 cold ones are asked for once
  batching  throughput and CPU time with requests that share runs, and without
  fairness  answer times of a steady account while another floods the host
  gateway   what routing costs beyond Chalice, with little and with much registered
  logins    inference at the gateway beside a flood of log-ins from many addresses
  vanish    recovery after 200 callers vanish in mid-flight
  passports what was measured of some sixty models, beside what a host sees when it loads them
  soak      one model uploaded 50 times under constant load: what fails, what is mixed up

examples
  python -m benchmarks                                    everything of ours: about 25 minutes
  python -m benchmarks --quick                            one short round of everything: about 6
  python -m benchmarks fairness                           one bench
  python -m benchmarks --only tiny --connections 1,32     naming models or servers means serve
  python -m benchmarks --peers fastapi,litserve --only tiny --write-docs

Read "x raw": CPU time per request over that of session.run in the same round.
"Elsewhere": the same disturbance at another host of this machine. Ratios carry over
to other machines; microseconds do not. Keep the machine quiet, and prefer several
short rounds to a long one. Results: build/bench/results, the last one of every bench;
--write-docs writes them all to docs/benchmarks.md.
"""


def main(arguments: Sequence[str]) -> int:
    """1 when a row is invalid or a server does not start."""
    chosen = parse(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    good = [_run(bench, chosen, console, arguments) for bench in benches(chosen)]
    if chosen.write_docs:
        DOCS.write_text(page.markdown(report.load_all(FOLDER / "results")))
    return 0 if all(good) else _FAILED


def _run(bench: str, chosen: argparse.Namespace, console: Console, arguments: Sequence[str]) -> bool:
    """Measure, show and keep one bench. False when what it found is not valid."""
    started_at = datetime.datetime.now(datetime.UTC)
    try:
        measured = _measure(bench, chosen, lambda text: console.print(f"[dim]{bench}: {text}[/dim]"))
    except (
        ChildFailed,
        CannotServe,
        AssertionError,
    ) as error:  # the last: it does not start
        console.print(f"[red]{bench}: {error}[/red]")
        return False
    result = report.Result(
        bench=bench,
        at=started_at.strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
        machine=this_machine(),
        rows=tuple(measured.rows),
        tables=tuple(measured.tables),
        notes=(*measured.failures, *measured.notes),
    )
    report.show(result, console)
    console.print(f"Kept in {report.save(result, FOLDER / 'results')}")
    return result.valid and not measured.failures


def benches(chosen: argparse.Namespace) -> Sequence[str]:
    if chosen.bench:
        return (chosen.bench,)
    return ("serve",) if any(getattr(chosen, name) is not None for name in _OF_SERVE) else BENCHES


def _measure(bench: str, chosen: argparse.Namespace, say: Callable[[str], None]) -> serve.Outcome:
    plan, effort = _plan(chosen), others.Effort(chosen.quick, chosen.rounds, chosen.seconds)
    if bench == "serve":
        return serve.run(plan, say=say)
    tables: Mapping[str, Callable[[Path, others.Effort, others.Say], list[report.FreeTable]]] = {
        "load": partial(others.load, names=plan.models),
        "cold": others.cold,
        "gateway": others.routing,
        "logins": others.logging_in,
        "density": others.crowd,
        "churn": others.turnover,
        "scan": others.scanning,
        "batching": others.company,
        "fairness": others.sharing,
        "vanish": others.vanishing,
        "passports": others.predictions,
        "soak": soak.soaking,
    }
    return serve.Outcome(tables=tables[bench](FOLDER, effort, say))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What a request costs, beside onnxruntime and other servers, and what a host withstands.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bench", nargs="?", choices=BENCHES, metavar="bench", help="one of those below")
    parser.add_argument(
        "--only", type=_names(models.NAMES), help=f"models of serve and load: {', '.join(models.NAMES)}"
    )
    parser.add_argument(
        "--targets",
        type=_names(serve.TARGETS),
        help="of ours: gateway, host; an empty text for none",
    )
    parser.add_argument(
        "--peers",
        type=_names(peering.NAMES),
        help=f"beside ours: {', '.join(peering.NAMES)}; installed on first use",
    )
    parser.add_argument(
        "--protocols",
        type=_names(serve.PROTOCOLS),
        help="json, v2-json, v2-binary (json and v2-binary)",
    )
    parser.add_argument("--connections", type=_numbers, help="in place of each model's own")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="measured per turn")
    parser.add_argument("--hosts", type=int, default=1, help="inference hosts of our stack")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args(arguments)


def _plan(chosen: argparse.Namespace) -> serve.Plan:
    rounds, timing = _QUICK if chosen.quick else _DEFAULT
    return serve.Plan(
        models=_given(chosen.only, models.NAMES),
        targets=_given(chosen.targets, serve.TARGETS),
        peers=_given(chosen.peers, ()),
        connections=_given(chosen.connections, ()),
        protocols=_given(chosen.protocols, serve.PROTOCOLS_DEFAULT),
        rounds=chosen.rounds or rounds,
        timing=Timing(timing.warm_up, chosen.seconds or timing.measured),
        hosts=chosen.hosts,
        folder=FOLDER,
    )


def _given(chosen: Sequence[Item] | None, default: Sequence[Item]) -> Sequence[Item]:
    """Nothing at all may be chosen too."""
    return default if chosen is None else chosen


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
