"""`python -m benchmarks.replay`: what a coordinator decided, decided again; and what if it were otherwise."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from benchmarks.simulation import rendering, svg
from benchmarks.simulation.experiment import Experiment, Plot, Series, Table
from benchmarks.simulation.recorded import (
    Circumstances,
    Course,
    Loss,
    Replayed,
    as_it_was,
    replayed,
    what_if,
)
from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError
from chalicelib.coordinator.planner import Policy
from chalicelib.decisions import Tick, ticks
from infra.local.connections import DATABASE
from infra.local.credentials import FILE_NAME, load_or_create
from infra.local.files import read_json
from infra.local.ports import PORTS_FILE
from infra.local.servers import Layout, connections
from infra.local.settings import StackSettings

_FAILED: Final = 1
_CANNOT: Final = 2
_HOUR: Final = 3600.0
_WIDTH_OF_A_FILE: Final = 180
_SHOWN_MAX: Final = 10
_COLUMNS: Final = (
    "",
    "host-hours",
    "cost",
    "most hosts",
    "changes",
    "requests",
    "unserved",
    "late",
    "cold",
    "served well",
)
_EPILOG: Final = """
what if
  traffic=3             three times the requests
  boot=120              hosts that take two minutes to start
  lose=host-2@1800      host-2 is lost half an hour after the beginning; lose=@1800: whichever is there
  policy={"scaling": {"hosts_max": 20}}   another policy, where it says something else than the recorded one
Given several times, all of it together. Costs are told beside the same day with nothing different.

Reads the local stack (ROCKET_HOME, it has to run), or the deployment whose MODELROCKET_MONGO_URL is set.
"""


class CannotReplay(Exception):
    """Says why, and what to do."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """0: all decisions come out as they were. 1: some do not. 2: there is nothing to go by."""
    chosen = _parse(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    until = chosen.until or datetime.now(UTC)
    try:
        decisions = _store(environ).journal(until - timedelta(hours=chosen.hours), until)
        recorded = tuple(ticks(decisions))
        if not recorded:
            raise CannotReplay(
                f"No decision was recorded in the {chosen.hours:g} hours before {until:%F %T}."
            )
        again = replayed(recorded)
        _say(again, recorded, console)
        if chosen.what_if:
            experiment = compared(recorded, chosen.what_if)
            rendering.show(experiment, console)
            if chosen.svg:
                chosen.svg.write_text(svg.drawn(experiment.plots[0]))
                console.print(f"  Hosts over time: {chosen.svg}")
    except DependencyFailed as error:
        console.print(f"[red]{error}[/red] A local stack has to run: make up")
        return _CANNOT
    except (CannotReplay, ModelRocketError, OSError) as error:
        console.print(f"[red]{error}[/red]")
        return _CANNOT
    return _FAILED if again.different else 0


def compared(recorded: Sequence[Tick], wishes: Sequence[str]) -> Experiment:
    """The day as it was, with nothing different, and with what is wished. Raises CannotReplay."""
    if len(recorded) < 2:  # noqa: PLR2004
        raise CannotReplay("A single decision is no course of events: record for a while longer.")
    different = circumstances(wishes, recorded[-1].policy)
    _known(different.losses, recorded)
    courses = (
        as_it_was(recorded),
        what_if(recorded, Circumstances(), name="nothing different"),
        what_if(recorded, different, name="what if"),
    )
    usual = courses[1].host_seconds
    return Experiment(
        name="what if",
        question=", ".join(wishes),
        tables=(Table("What came of it", _COLUMNS, tuple(_row(course, usual) for course in courses)),),
        goals=(),
        plots=(
            Plot(
                "hosts",
                "Hosts over time",
                "hours",
                "hosts",
                tuple(Series(course.name, _hourly(course)) for course in courses),
            ),
        ),
        notes=(
            "late: waited for more than a second; cold: came while the model was loaded; "
            "served well: neither, nor unserved.",
            "What was late or cold on the day itself is not recorded.",
            f"Played hosts take {recorded[0].policy.scaling.boot_seconds:g} s to come, as the policy says, "
            "unless --what-if boot= says otherwise.",
        ),
    )


def circumstances(wishes: Sequence[str], policy: Policy) -> Circumstances:
    """Raises CannotReplay for what is no wish. `policy`: what a wish for another one goes beyond."""
    different = Circumstances()
    for wish in wishes:
        name, _, value = wish.partition("=")
        try:
            match name:
                case "traffic":
                    different = replace(different, traffic=_number(value))
                case "boot":
                    different = replace(different, boot_seconds=_number(value))
                case "lose":
                    host_id, _, after = value.rpartition("@")
                    different = replace(different, losses=(*different.losses, Loss(_number(after), host_id)))
                case "policy":
                    merged = _merged(msgspec.to_builtins(policy), msgspec.json.decode(value))
                    different = replace(different, policy=msgspec.convert(merged, Policy))
                case _:
                    raise ValueError("it is none of traffic, boot, lose and policy")
        except (ValueError, TypeError) as error:
            raise CannotReplay(f"--what-if {wish}: {error}. See --help.") from error
    return different


def _known(losses: Sequence[Loss], recorded: Sequence[Tick]) -> None:
    """Raises CannotReplay for one that would make no difference."""
    lasted = recorded[-1].state.now - recorded[0].state.now
    hosts = {host.host_id for tick in recorded for host in tick.state.hosts}
    for loss in losses:
        if loss.host_id and loss.host_id not in hosts:
            there = ", ".join(sorted(hosts)[:_SHOWN_MAX]) or "none"
            raise CannotReplay(
                f"--what-if lose={loss.host_id}@…: there was no such host. Those there were: {there}."
            )
        if loss.after >= lasted:
            raise CannotReplay(f"--what-if lose=…@{loss.after:g}: only {lasted:.0f} seconds were recorded.")


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("a number of 0 or more is expected")
    return value


def _merged(policy: Any, changes: Any) -> Any:
    if not isinstance(policy, dict) or not isinstance(changes, dict):
        return changes
    return policy | {name: _merged(policy.get(name), value) for name, value in changes.items()}


def _row(course: Course, usual: float) -> tuple[str | float | int, ...]:
    known = course.name != "as it was"
    share = 100 / course.requests if course.requests else 0.0
    return (
        course.name,
        course.host_seconds / _HOUR,
        f"{course.host_seconds / usual:.2f} x" if usual else "",
        max((int(hosts) for _, hosts in course.hosts), default=0),
        course.changes,
        round(course.requests),
        f"{course.unserved * share:.3f} %",
        f"{course.late * share:.2f} %" if known else "",
        f"{course.cold * share:.2f} %" if known else "",
        f"{course.attained * 100:.2f} %" if known else "",
    )


def _hourly(course: Course) -> tuple[tuple[float, float], ...]:
    """Corners only: where the number of hosts changes."""
    points: list[tuple[float, float]] = []
    for at, hosts in course.hosts:
        if points and points[-1][1] != hosts:
            points.append((at / _HOUR, points[-1][1]))
        if not points or points[-1][1] != hosts or at == course.hosts[-1][0]:
            points.append((at / _HOUR, hosts))
    return tuple(points)


def _say(again: Replayed, recorded: Sequence[Tick], console: Console) -> None:
    first, last = recorded[0].decision, recorded[-1].decision
    console.print(
        f"{again.ticks} decisions, {first.id} to {last.id}, from {first.at:%F %T} to {last.at:%F %T}"
    )
    if not again.different:
        console.print("[green]Decided again, every one of them comes out as it was, bit for bit.[/green]")
        return
    shown = ", ".join(map(str, again.different[:_SHOWN_MAX]))
    more = " …" if len(again.different) > _SHOWN_MAX else ""
    console.print(
        f"[red]{len(again.different)} come out otherwise: {shown}{more}.[/red] "
        "Another release decided then, or something beside the recorded state decides with it."
    )


def _store(environ: Mapping[str, str]) -> MongoStore:
    """Raises CannotReplay."""
    url = environ.get("MODELROCKET_MONGO_URL")
    if url is not None:
        return MongoStore(url, database=environ.get("MODELROCKET_MONGO_DATABASE", DATABASE))
    settings = StackSettings.from_env(environ)
    if not (settings.home / FILE_NAME).exists():
        raise CannotReplay(f"There is no stack in {settings.home} yet: make up")
    layout = Layout(
        home=settings.home,
        ports=read_json(settings.home / PORTS_FILE),
        credentials=load_or_create(settings.home),
        external=settings.external,
    )
    return MongoStore(connections(layout).mongo_url, database=DATABASE)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=_hours, default=24.0, help="how much of the past: 24")
    parser.add_argument("--until", type=_moment, help="the end of it: now; 2026-05-01T12:00")
    parser.add_argument("--what-if", action="append", default=[], metavar="WISH", help="see below")
    parser.add_argument("--svg", type=Path, help="draw hosts over time into this file")
    chosen = parser.parse_args(arguments)
    if chosen.svg and not chosen.what_if:
        parser.error("--svg draws what --what-if finds")
    return chosen


def _hours(text: str) -> float:
    most = limits.DECISIONS_KEPT_SECONDS / _HOUR
    try:
        hours = _number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"a number of hours expected, got {text!r}") from error
    return min(hours, most)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"a time like 2026-05-01T12:00 expected, got {text!r}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
