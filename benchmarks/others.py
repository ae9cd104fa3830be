"""The benches that are not about one request: load, density, vanish. Each gives a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import density, loading, models, vanish
from benchmarks.report import FreeTable, number
from benchmarks.rocket import Gateway, HostDoor, Rocket, running_rocket

Say = Callable[[str], None]
_MB: Final = 1e6
_VANISH_ROUNDS: Final = 3
_DENSITY_STEPS: Final = (0, 50, 100)
_DENSITY_STEPS_QUICK: Final = (0, 10, 20)


def load(folder: Path, *, names: Sequence[str], rounds: int, say: Say) -> FreeTable:
    with running_rocket(folder / "stack", hosts=1) as rocket:
        lines = tuple(_load_line(rocket, name, folder, rounds, say) for name in names)
    columns = ("model", "", "plain ms", "first ms", "again ms", "again / plain")
    return FreeTable("Milliseconds until a model can run", columns, lines)


def _load_line(rocket: Rocket, name: str, folder: Path, rounds: int, say: Say) -> tuple[str, ...]:
    example = models.make(name, folder / "models")
    say(f"loading {name}")
    loads = loading.measure(rocket, example, rounds=rounds)
    plain, again = statistics.median(loads.plain), statistics.median(loads.again)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(loads.again, loads.plain, strict=True))
    return (name, example.title, *map(number, (plain, loads.first, again, ratio)))


def crowd(folder: Path, *, quick: bool, say: Say) -> FreeTable:
    """Many tiny models on one host."""
    steps = _DENSITY_STEPS_QUICK if quick else _DENSITY_STEPS
    with running_rocket(folder / "stack", hosts=1) as rocket:
        seen = density.measure(rocket, steps=steps, say=say)
    base = seen[0]
    lines = tuple(
        (
            str(one.resident),
            number(one.memory_bytes / _MB),
            number((one.memory_bytes - base.memory_bytes) / _MB),
            str(one.threads),
            str(one.processes),
        )
        for one in seen
    )
    columns = ("tiny models", "PSS MB", "over the empty host, MB", "threads", "processes")
    return FreeTable("A host's process tree", columns, lines)


def vanishing(folder: Path, *, say: Say) -> FreeTable:
    example = models.make("tiny", folder / "models")
    with running_rocket(folder / "stack", hosts=1) as rocket:
        lines = tuple(
            line
            for target in (Gateway(rocket), HostDoor(rocket))
            for line in _vanish_lines(target, example, say)
        )
    columns = ("target", "protocol", "calm ms", "first ms", "worst ms", "normal again ms", "problems")
    return FreeTable(f"{vanish.CALLERS} callers vanish in mid-flight", columns, lines)


def _vanish_lines(target: Gateway | HostDoor, example: models.Example, say: Say) -> Iterator[tuple[str, ...]]:
    with target.serving(example) as serving:
        lane = serving.lanes[0]
        for _ in range(_VANISH_ROUNDS):
            say(f"{target.name}: {vanish.CALLERS} callers vanish")
            seen = vanish.measure(lane)
            figures = map(number, (seen.calm, seen.first, seen.worst, seen.normal_again))
            yield (target.name, lane.protocol, *figures, str(seen.problems))
