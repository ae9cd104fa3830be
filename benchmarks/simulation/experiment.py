"""What an experiment answers, as values: one renderer shows them all and writes the page.

An experiment is a module of this package with `run(traces: Path, *, quick: bool) -> Experiment`, entered in
`benchmarks.simulate.EXPERIMENTS`. `traces` is the folder of trace files; `quick` takes less of them.
"""

from __future__ import annotations

from dataclasses import dataclass

Cell = str | int | float


class TraceMissing(Exception):
    """A file of the traces is not there. Says which, and where to say where they are."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """What was aimed at and what came of it. `limit` is said in full: `at most 1.7`."""

    name: str
    value: Cell
    limit: str
    met: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: points (x, y) in the order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over one another; `name` is unique in its experiment and fit to be a file's."""

    name: str
    title: str
    x_axis: str
    y_axis: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Experiment:
    """`question` is one sentence. `notes` define the words of the tables and say what is left out."""

    name: str
    question: str
    tables: tuple[Table, ...]
    goals: tuple[Goal, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
