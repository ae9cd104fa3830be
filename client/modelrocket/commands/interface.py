"""What a command is, what it gives back, and what several of them take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import RenderableType

    from modelrocket.client import Client

OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
MODEL = "a model's name or id"
_ALL = 100


@dataclass(frozen=True)
class Outcome:
    """What a command found: `content` for --json, `shown` for people, made only when it is wanted.

    shown: None for what people saw while it happened.
    dense: the JSON stands on one line, as one of many or because it is long.
    code: what the process exits with.
    """

    content: Any
    shown: Callable[[], RenderableType] | None
    dense: bool = False
    code: int = OK


Run: TypeAlias = Callable[[argparse.Namespace], Iterator[Outcome]]
"""Gives what it finds as it finds it: one outcome, or several for a command that goes on."""


@dataclass(frozen=True)
class Command:
    """`name` may be two words; `help` is its line, `more` its description, `examples` lines to type.

    `check` says what is wrong with arguments that argparse took one by one, None when nothing is.
    """

    name: str
    help: str
    more: str
    examples: tuple[str, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Run
    check: Callable[[argparse.Namespace], str | None] = lambda _: None
    aliases: tuple[str, ...] = ()


def with_client(run: Callable[[Client, argparse.Namespace], Outcome]) -> Run:
    """For a command that makes its calls at the user's endpoint and has one outcome."""

    def found(parsed: argparse.Namespace) -> Iterator[Outcome]:
        from modelrocket.client import Client

        with Client() as client:
            yield run(client, parsed)

    return found


def no_arguments(_: argparse.ArgumentParser) -> None:
    pass


def model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)


def version_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"versions are numbered 1, 2, 3, …, got {text!r}")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 expected, got {text!r}")
    return int(text)


def percent(text: str) -> int:
    if not text.isdecimal() or int(text) > _ALL:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {_ALL} expected, got {text!r}")
    return int(text)


def quantity(text: str) -> float:
    """0 or more; inf and nan are no quantities."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0 expected, got {text!r}")
    return number


def now() -> datetime:
    """The time, for what compares it with the server's."""
    return datetime.now(UTC)  # noqa: TID251 - the command line composes
