"""The command that tells of the hosts, and of where models are on them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelrocket.commands.interface import MODEL, Command, Outcome, count, with_client

if TYPE_CHECKING:
    from modelrocket.client import Client

_ENTRIES = 20


def _fleet(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import fleetprinting

    if parsed.explain:
        placed = client.fleet.explain(parsed.explain, entries=parsed.entries)
        return Outcome(placed, lambda: fleetprinting.placed(placed))
    if parsed.decisions:
        decisions = client.fleet.decisions(entries=parsed.entries)
        return Outcome(decisions, lambda: fleetprinting.decisions(decisions))
    state = client.fleet.state()
    return Outcome(state, lambda: fleetprinting.fleet(state))


def _arguments(parser: argparse.ArgumentParser) -> None:
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--decisions", action="store_true", help="what was decided, and why")
    told = f"where this model is, why, and which models share its hosts: {MODEL}"
    shown.add_argument("--explain", metavar="MODEL", help=told)
    parser.add_argument(
        "--entries", metavar="N", type=count, default=_ENTRIES, help=f"of decisions; {_ENTRIES} by default"
    )


COMMANDS = (
    Command(
        "fleet",
        "show the hosts, and why they are as they are",
        "The hosts with their load and memory, how many there should be, and why; for operators. With "
        "--decisions, what the coordinator did and its reasons, the newest first. With --explain, where one "
        "of your models is loaded, why there and so often, and which models share its hosts: your own by "
        "name, others as a number.",
        (
            "modelrocket fleet",
            "modelrocket fleet --decisions --entries 5",
            "modelrocket fleet --explain digits",
        ),
        _arguments,
        with_client(_fleet),
    ),
)
