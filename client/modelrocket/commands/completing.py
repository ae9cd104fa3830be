"""The command that prints what a shell needs to complete the others."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from modelrocket.commands.interface import Command, Outcome

_SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "ROWS")
"""What arguments that are files are called in usage lines."""


def _completion(parsed: argparse.Namespace) -> Iterator[Outcome]:
    import shtab

    for action in _actions(parsed.root):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            _describe(action)
    script = shtab.complete(parsed.root, shell=parsed.shell)
    yield Outcome({"shell": parsed.shell, "script": script}, lambda: script)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for one in set(action.choices.values()):
                yield from _actions(one)


def _describe(commands: Any) -> None:
    """Each by its line in the list of commands, which is short enough for a menu."""
    for one in commands._choices_actions:
        for name, parser in commands.choices.items():
            if name in one.metavar or name == one.dest:
                parser.description = one.help


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


COMMANDS = (
    Command(
        "completion",
        "print a script for your shell",
        "Commands, options and files are then completed with the tab key.",
        (
            "source <(modelrocket completion bash)      # in ~/.bashrc",
            'modelrocket completion zsh > "${fpath[1]}/_modelrocket"',
            "modelrocket completion fish > ~/.config/fish/completions/modelrocket.fish",
        ),
        _arguments,
        _completion,
    ),
)
