"""Why something was decided, in sentences for people. Models and hosts go by their ids here."""

from __future__ import annotations

from typing import Final

import msgspec

FLEET: Final = "fleet"
_MINUTE: Final = 60
_ORDINALS: Final = {0: "a copy", 1: "a second copy", 2: "a third copy", 3: "a fourth copy"}


class Reason(msgspec.Struct, frozen=True):
    """`subject`: "fleet", or the id of a model or a host. `text`: a sentence with the numbers."""

    subject: str
    text: str


def another_copy(copies: int) -> str:
    """Beside the `copies` that there are."""
    return _ORDINALS.get(copies, f"copy number {copies + 1}")


def counted(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return counted(round(seconds), "second")
    return counted(round(seconds / _MINUTE), "minute")
