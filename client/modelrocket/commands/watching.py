"""The command that tells what happened to a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from modelrocket.commands.interface import Command, Outcome, model_argument, now

if TYPE_CHECKING:
    from modelrocket.events import Event


def _events(parsed: argparse.Namespace) -> Iterator[Outcome]:
    from modelrocket import events, printing
    from modelrocket.api import Clock
    from modelrocket.client import Client

    with Client() as client:
        model = client.model(parsed.model)
        if parsed.follow:
            yield from _followed(events.following(model, Clock(), lambda: now().isoformat()))
            return
        found = events.events(model)
        yield Outcome(found, lambda: printing.events(found))


def _followed(batches: Iterator[tuple[Event, ...]]) -> Iterator[Outcome]:
    """Each event by itself, so that --json gives one line for each."""
    from modelrocket import printing

    for number, event in enumerate(chain.from_iterable(batches)):
        yield Outcome(event, partial(printing.events, [event], titled=number == 0), dense=True)


def _arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    told = "go on as things happen, until Ctrl-C; with --json one line for each"
    parser.add_argument("--follow", "-f", action="store_true", help=told)


COMMANDS = (
    Command(
        "events",
        "show what happened to a model",
        "Uploads with what became of them, and every change of traffic with who did it and why; the newest "
        "is the last.",
        ("modelrocket events digits", "modelrocket logs digits --follow"),
        _arguments,
        _events,
        aliases=("logs",),
    ),
)
