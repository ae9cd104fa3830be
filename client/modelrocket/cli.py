"""The command `modelrocket`: parses, runs one command, prints what it found; the commands are in `commands`.

Written with argparse alone: where `click` is installed, importing httpx takes half as long again.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from modelrocket import __version__
from modelrocket.commands import COMMANDS, GROUPS
from modelrocket.commands.interface import OK, REFUSED, UNREACHABLE, USAGE, Command, Outcome
from modelrocket.errors import ConfigurationError, ConnectionFailed, ModelRocketError, Timeout

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 200
_HELP_WIDTH = 90
_EPILOG = """\
The endpoint and its API key come from MODELROCKET_ENDPOINT and MODELROCKET_API_KEY,
else from your configuration file, which `modelrocket login` and `make up` write.

exit codes: 0 done, 1 refused or failed, 2 wrong usage or no endpoint or key known,
3 no answer, or not in time
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parsed = command_line().parse_args(arguments)
    if parsed.command is None:
        parsed.parser.print_help()
        return USAGE
    wrong = parsed.command.check(parsed)
    if wrong:
        parsed.parser.error(wrong)
    try:
        return _run(parsed)
    except (ConnectionFailed, Timeout) as error:
        return _failed(error, UNREACHABLE)
    except ConfigurationError as error:
        return _failed(error, USAGE)
    except ModelRocketError as error:
        return _failed(error, REFUSED)
    except KeyboardInterrupt:
        return 128 + 2  # as shells report Ctrl-C


def _run(parsed: argparse.Namespace) -> int:
    """With --json, what frameworks and models print themselves goes to standard error."""
    command: Command = parsed.command
    console, code = _console(), OK
    with redirect_stdout(sys.stderr) if parsed.json else nullcontext():
        for outcome in command.run(parsed):
            _print(console, outcome, as_json=parsed.json)
            code = outcome.code
    return code


def _failed(error: ModelRocketError, code: int) -> int:
    print(f"modelrocket: {error}", file=sys.stderr)
    return code


def _print(console: Console, outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        import json

        content = json.dumps(plain(outcome.content), indent=None if outcome.dense else 2)
        console.out(content, highlight=False)
    elif outcome.shown is not None:
        shown = outcome.shown()
        if isinstance(shown, str):
            console.out(shown, highlight=False)
        else:
            console.print(shown)
    console.file.flush()  # what follows may be long in coming


def _console() -> Console:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH  # nobody's screen: nothing is to be cut
    return console


def plain(value: Any) -> Any:
    """Dataclasses as dicts of their shown fields, and what is in them; plain JSON values as they are."""
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.repr}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def command_line() -> argparse.ArgumentParser:
    """What is typed, as it is understood: `command` and `parser` say which command, None for none."""
    parser = argparse.ArgumentParser(
        prog="modelrocket",
        description="Deploy trained models, ask them, and look after them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"modelrocket {__version__}")
    parser.set_defaults(command=None, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    groups: dict[str, Any] = {"": commands}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group not in groups:
            groups[group] = _group(commands, group, GROUPS[group])
        _add(groups[group], name, command)
    parser.set_defaults(root=parser)
    return parser


def _group(commands: Any, name: str, told: str) -> Any:
    """Commands of two words, as `token create`."""
    parser = commands.add_parser(name, help=told, description=f"{told.capitalize()}.")
    parser.set_defaults(command=None, parser=parser)
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def _add(commands: Any, name: str, command: Command) -> None:
    examples = "\n  ".join(("examples:", *command.examples))
    one = commands.add_parser(
        name,
        aliases=command.aliases,
        help=command.help,
        description=_wrapped(command.more),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(one)
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(command=command, parser=one)


def _wrapped(text: str) -> str:
    """Paragraphs as they are, each broken into lines."""
    return "\n\n".join(textwrap.fill(one, _HELP_WIDTH) for one in text.split("\n\n"))
