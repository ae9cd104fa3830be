"""`soak`: one model is uploaded 50 times under constant load at every door."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.others import Effort, Say
from benchmarks.report import FreeTable, invalid, number
from benchmarks.rocket import running_rocket
from tests.support.soak import Soaked, soak

_UPLOADS: Final = (50, 12)
_HOSTS: Final = 2
_COLUMNS: Final = ("door", "requests", "failed or mixed up", "p50 ms", "slowest ms")
_LENGTH_MAX: Final = 80


def soaking(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    uploads, _ = effort.choose(_UPLOADS, (0, 0))
    with running_rocket(folder / "stack", hosts=_HOSTS) as rocket:
        say(f"{uploads} uploads")
        soaked = soak(rocket.stack, rocket.client, uploads=uploads)
    return [FreeTable(_title(soaked), _COLUMNS, _lines(soaked))]


def _title(soaked: Soaked) -> str:
    median, slowest = statistics.median(soaked.seconds), max(soaked.seconds)
    return f"{len(soaked.seconds)} uploads, each active after {median:.1f} s (slowest {slowest:.1f})"


def _lines(soaked: Soaked) -> tuple[tuple[str, ...], ...]:
    problems = Counter(one[:_LENGTH_MAX] for one in soaked.problems())
    if problems:
        return (("all", *invalid(dict(problems.most_common(3)), cells=len(_COLUMNS) - 1)),)
    return tuple(
        (door, str(len(asked)), "0", *map(number, _milliseconds([one.seconds for one in asked])))
        for door, asked in soaked.asked.items()
    )


def _milliseconds(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds) * 1000, max(seconds) * 1000
