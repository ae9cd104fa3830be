"""`serve`: what one request costs, ours and others' beside raw onnxruntime, turn by turn.

Every round measures every cell once, forwards and then backwards, so that a
machine that slows down slows all of them. Ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from benchmarks import inprocess, models, peering
from benchmarks.cells import Cell, ServerCell, Serving, Timing, in_process
from benchmarks.figures import Measurement, Place, Row, row
from benchmarks.models import Example
from benchmarks.report import FreeTable
from benchmarks.rocket import CannotServe, Gateway, HostDoor, running_rocket
from benchmarks.wire import Tensors

RAW: Final = "onnxruntime, 1 thread"
RAW_THREADED: Final = "onnxruntime, its own threads"
FLOOR: Final = "in process: JSON + run + JSON"
TARGETS: Final = ("gateway", "host")
PROTOCOLS: Final = ("json", "v2-json", "v2-binary")
PROTOCOLS_DEFAULT: Final = ("json", "v2-binary")


class Target(Protocol):
    """A server that can be started for a model."""

    @property
    def name(self) -> str: ...

    def serving(self, example: Example) -> AbstractContextManager[Serving]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. Empty `connections`: each model's own."""

    models: Sequence[str]
    targets: Sequence[str]
    peers: Sequence[str]
    connections: Sequence[int]
    protocols: Sequence[str]
    rounds: int
    timing: Timing
    hosts: int
    folder: Path


@dataclass(slots=True)
class Outcome:
    """What a bench found."""

    rows: list[Row] = field(default_factory=list)
    tables: list[FreeTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Servers that did not start: the others are measured all the same."""


def run(plan: Plan, *, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome()
    with ExitStack() as running:
        targets: list[Target] = []
        if plan.targets:
            say("Starting ModelRocket")
            rocket = running.enter_context(running_rocket(plan.folder / "stack", hosts=plan.hosts))
            ours: Mapping[str, Target] = {"gateway": Gateway(rocket), "host": HostDoor(rocket)}
            targets += [ours[name] for name in plan.targets]
        targets += peering.peers(list(plan.peers), plan.folder / "peers")
        for name in plan.models:
            example = models.make(name, plan.folder / "models")
            _measure_model(plan, example, targets, outcome, say=say)
    return outcome


def _measure_model(
    plan: Plan, example: Example, targets: Sequence[Target], outcome: Outcome, *, say: Callable[[str], None]
) -> None:
    expected = expected_outputs(example)
    with ExitStack() as running:
        cells: list[Cell] = [running.enter_context(cell) for cell in _in_process_cells(example)]
        for target in targets:
            say(f"{example.name}: starting {target.name}")
            try:
                serving = running.enter_context(target.serving(example))
            except CannotServe as error:
                outcome.failures.append(f"{example.name}: {target.name} is left out: {error}")
                continue
            cells += _server_cells(plan, example, target.name, serving, expected)
            outcome.notes += [
                f"{example.name}: {target.name} does not speak {protocol} ({answer})"
                for protocol, answer in serving.unavailable.items()
            ]
        outcome.rows += measure(cells, rounds=plan.rounds, timing=plan.timing, say=say)


def measure(cells: Sequence[Cell], *, rounds: int, timing: Timing, say: Callable[[str], None]) -> list[Row]:
    """One row per cell; the first cell is what the ratios refer to."""
    seen: dict[Place, list[Measurement]] = {cell.place: [] for cell in cells}
    for number in range(rounds):
        say(f"{cells[0].place.model}: round {number + 1} of {rounds}, {len(cells)} cells")
        for cell in cells if number % 2 == 0 else reversed(cells):
            seen[cell.place].append(cell.measure(timing))
    raw = seen[cells[0].place]
    return [row(cell.place, seen[cell.place], raw=raw) for cell in cells]


def expected_outputs(example: Example) -> list[Tensors]:
    """Raw onnxruntime's, one per input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(example.path), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(one)), strict=True)) for one in example.inputs]


def _in_process_cells(example: Example) -> Iterator[AbstractContextManager[Cell]]:
    yield in_process(example, target=RAW, work=inprocess.RUN, threads=1)
    if example.heavy:
        yield in_process(example, target=RAW_THREADED, work=inprocess.RUN, threads=0)
    yield in_process(example, target=FLOOR, work=inprocess.JSON, threads=1)


def _server_cells(
    plan: Plan, example: Example, target: str, serving: Serving, expected: Sequence[Tensors]
) -> Iterator[Cell]:
    for lane in serving.lanes:
        if lane.protocol.partition(",")[0] not in plan.protocols:
            continue
        for connections in plan.connections or example.connections:
            place = Place(example.name, target, lane.protocol, connections)
            yield ServerCell(place, serving, lane, expected)
