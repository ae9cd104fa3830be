"""The command that looks for what would keep the others from working."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from modelrocket.commands.interface import OK, REFUSED, Command, Outcome, no_arguments, now


def _doctor(_: argparse.Namespace) -> Iterator[Outcome]:
    from modelrocket import printing
    from modelrocket.doctor import checks

    found = tuple(checks(now))
    broken = any(check.state == "broken" for check in found)
    yield Outcome(found, lambda: printing.checks(found), code=REFUSED if broken else OK)


COMMANDS = (
    Command(
        "doctor",
        "look for what is wrong",
        "Checks Python, the package, which frameworks convert here, onnxruntime, room for temporary files, "
        "the endpoint, the clock, the API key. ✗ is broken, - is not installed; what to do stands below. "
        "The exit code is 1 where something is broken.",
        ("modelrocket doctor", "modelrocket doctor --json"),
        no_arguments,
        _doctor,
    ),
)
