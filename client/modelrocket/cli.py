"""The command `modelrocket`: each command parses, makes one call, and says what came of it.

Written with argparse alone: where `click` is installed, importing httpx takes half as long again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from modelrocket import __version__
from modelrocket.errors import ConfigurationError, ConnectionFailed, ModelRocketError, Timeout

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from modelrocket.client import Client
    from modelrocket.rollout import Traffic

OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
_PIPE_WIDTH = 200
_ALL = 100
_MODEL = "a model's name or id"
_EPILOG = """\
The endpoint and its API key come from MODELROCKET_ENDPOINT and MODELROCKET_API_KEY,
else from your configuration file, which `make up` writes.

exit codes: 0 done, 1 refused or failed, 2 wrong usage or no endpoint or key known,
3 no answer, or not in time
"""


@dataclass(frozen=True)
class Outcome:
    """What a command found: `content` for --json, `shown` for people, made only when it is wanted."""

    content: Any
    shown: Callable[[], RenderableType]


@dataclass(frozen=True)
class Command:
    """`run` takes a client and the parsed arguments; `help` is its line, `more` its description.

    `check` says what is wrong with arguments that argparse took one by one, None when nothing is.
    """

    name: str
    help: str
    more: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], Outcome]
    check: Callable[[argparse.Namespace], str | None] = lambda _: None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return USAGE
    wrong = parsed.command.check(parsed)
    if wrong:
        parsed.parser.error(wrong)
    try:
        outcome = _run(parsed)
    except (ConnectionFailed, Timeout) as error:
        return _failed(error, UNREACHABLE)
    except ConfigurationError as error:
        return _failed(error, USAGE)
    except ModelRocketError as error:
        return _failed(error, REFUSED)
    except KeyboardInterrupt:
        return 128 + 2  # as shells report Ctrl-C
    _print(outcome, as_json=parsed.json)
    return OK


def _run(parsed: argparse.Namespace) -> Outcome:
    from modelrocket.client import Client

    with Client() as client:
        command: Command = parsed.command
        return command.run(client, parsed)


def _failed(error: ModelRocketError, code: int) -> int:
    print(f"modelrocket: {error}", file=sys.stderr)
    return code


def _print(outcome: Outcome, *, as_json: bool) -> None:
    console = _console()
    if not as_json:
        console.print(outcome.shown())
        return
    import json

    console.out(json.dumps(plain(outcome.content), indent=2), highlight=False)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
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


def _models(client: Client, _: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    models = client.models()
    return Outcome(models, lambda: printing.models(models))


def _versions(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    versions = client.model(parsed.model).versions()
    return Outcome(versions, lambda: printing.versions(versions))


def _report(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import reporting

    model = client.model(parsed.model)
    report = model.report(parsed.version)
    return Outcome(report.content, lambda: reporting.report(model.name, report))


def _traffic(client: Client, parsed: argparse.Namespace) -> Outcome:
    model = client.model(parsed.model)
    if parsed.clear:
        return _of_traffic(model.clear_traffic())
    if parsed.version is None:
        return _of_traffic(model.traffic())
    return _of_traffic(
        model.set_traffic(parsed.version, percent=parsed.percent or 0, mirror_percent=parsed.mirror or 0)
    )


def _activate(client: Client, parsed: argparse.Namespace) -> Outcome:
    return _of_traffic(client.model(parsed.model).activate(parsed.version))


def _rollback(client: Client, parsed: argparse.Namespace) -> Outcome:
    return _of_traffic(client.model(parsed.model).rollback(parsed.version))


def _of_traffic(traffic: Traffic) -> Outcome:
    from modelrocket import printing

    return Outcome(traffic, lambda: printing.traffic(traffic))


def _delete(client: Client, parsed: argparse.Namespace) -> Outcome:
    model = client.model(parsed.model)
    named = f"version {parsed.version} of " if parsed.version else ""
    what = f"{named}{model.name} ({model.id})"
    all_of_it = "" if parsed.version else ", all its versions and tokens"
    if not parsed.yes and not _confirmed(f"Delete {what}{all_of_it}? [y/N] "):
        raise ModelRocketError("Nothing was deleted.")
    model.delete(parsed.version)
    return Outcome({"deleted": {"model": model.id, "version": parsed.version}}, lambda: f"Deleted {what}.")


def _confirmed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _no_arguments(_: argparse.ArgumentParser) -> None:
    pass


def _model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument(
        "version",
        metavar="VERSION",
        type=_number,
        nargs="?",
        help="by default the active one, else the newest",
    )


def _activate_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument("version", metavar="VERSION", type=_number, help="a version that is ready")


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument("--version", metavar="N", type=_number, help="go to this one; safe to repeat")


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument("--version", metavar="N", type=_number, help="only this one, which has no traffic")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _traffic_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument("--version", metavar="N", type=_number, help="the candidate: a version that is ready")
    parser.add_argument(
        "--percent", metavar="P", type=_percent, help="of callers, answered by it; 100 activates it"
    )
    parser.add_argument(
        "--mirror", metavar="M", type=_percent, help="percent of requests it runs too, to be compared"
    )
    parser.add_argument("--clear", action="store_true", help="take the candidate away")


def _wrong_with_split(parsed: argparse.Namespace) -> str | None:
    shares = parsed.percent is not None or parsed.mirror is not None
    if parsed.clear and (parsed.version or shares):
        return "--clear takes the candidate away, whichever it is: leave the others out"
    if not parsed.clear and shares != (parsed.version is not None):
        return "a split takes --version and at least one of --percent and --mirror"
    return None


def _wrong_with_delete(parsed: argparse.Namespace) -> str | None:
    asked = parsed.yes or sys.stdin.isatty()
    return None if asked else "deleting is asked about on a terminal; without one, say --yes"


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"versions are numbered 1, 2, 3, …, got {text!r}")
    return int(text)


def _percent(text: str) -> int:
    if not text.isdecimal() or int(text) > _ALL:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {_ALL} expected, got {text!r}")
    return int(text)


_COMMANDS = (
    Command("models", "list your models", "Lists your models.", _no_arguments, _models),
    Command(
        "versions",
        "list a model's versions",
        "Lists a model's versions, the failed ones too.",
        _model_argument,
        _versions,
    ),
    Command(
        "report",
        "show what is known of a version",
        "Signature, passport (what was measured), certificate (whether requests may share a run), what the "
        "file is made of, how the converted model compares with the original, hashes; or why it failed.",
        _report_arguments,
        _report,
    ),
    Command(
        "traffic",
        "show or change who answers",
        "Without options: the versions that have traffic, what was counted of a candidate, and the history. "
        "With --version: put it on trial beside the active one.",
        _traffic_arguments,
        _traffic,
        _wrong_with_split,
    ),
    Command(
        "activate",
        "give a version all the traffic",
        "Returns when it has it: hosts load it first, and no request fails.",
        _activate_arguments,
        _activate,
    ),
    Command(
        "rollback",
        "go back at once",
        "Without --version: the candidate goes, else what is about to take over stays out, else the version "
        "before comes back.",
        _rollback_arguments,
        _rollback,
    ),
    Command(
        "delete",
        "delete a model, or one of its versions",
        "What is in flight is answered. A model's tokens are revoked, and its name is free again.",
        _delete_arguments,
        _delete,
        _wrong_with_delete,
    ),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelrocket",
        description="Look after deployed models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"modelrocket {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.more)
        command.add_arguments(one)
        one.add_argument("--json", action="store_true", help="print JSON")
        one.set_defaults(command=command, parser=one)
    return parser
