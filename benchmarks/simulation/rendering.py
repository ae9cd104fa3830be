"""An experiment in the terminal, and all of them as the page docs/scaling.md with its plots beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table as TerminalTable

from benchmarks.simulation import svg
from benchmarks.simulation.experiment import Cell, Experiment, Goal, Table

_GOALS: Final = ("goal", "value", "limit", "")
_INTRODUCTION: Final = """\
# Scaling, simulated

`make simulate` runs the platform's own decisions in virtual time, on public traces, beside oracles that know
what comes and beside other schedulers with their published defaults. The traces are not part of this project:
`MODELROCKET_TRACES` says which folder holds them. Everything random is seeded: whoever runs it again gets the
same figures. `make simulate ARGS=--write-docs` wrote this page.
"""


def show(experiment: Experiment, console: Console) -> None:
    console.rule(f"[bold]{experiment.name}")
    console.print(f"{experiment.question}\n")
    for table in (*experiment.tables, *_goals(experiment.goals)):
        _show_table(table, console)
    for note in experiment.notes:
        console.print(f"  {note}")


def write_page(experiments: Sequence[Experiment], page: Path) -> None:
    """The page, and its plots in the folder of its name; plots of no experiment go."""
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        f"{experiment.name}-{plot.name}.svg": svg.drawn(plot)
        for experiment in experiments
        for plot in experiment.plots
    }
    for path in folder.glob("*.svg"):
        if path.name not in plots:
            path.unlink()
    for name, text in plots.items():
        (folder / name).write_text(text)
    page.write_text("\n".join(_page(experiments, folder.name)) + "\n")


def _page(experiments: Iterable[Experiment], folder: str) -> Iterator[str]:
    yield _INTRODUCTION
    for experiment in experiments:
        yield f"## {experiment.name.capitalize()}\n"
        yield f"{experiment.question}\n"
        for table in _goals(experiment.goals):
            yield from _markdown_table(table)
        for plot in experiment.plots:
            yield f"![{plot.title}]({folder}/{experiment.name}-{plot.name}.svg)\n"
        for table in experiment.tables:
            yield from _markdown_table(table)
        yield from (f"* {note}" for note in experiment.notes)
        yield ""


def _goals(goals: Sequence[Goal]) -> Iterator[Table]:
    if goals:
        rows = ((goal.name, goal.value, goal.limit, "met" if goal.met else "missed") for goal in goals)
        yield Table("Goals", _GOALS, tuple(rows))


def _show_table(content: Table, console: Console) -> None:
    table = TerminalTable(
        title=content.title, title_justify="left", title_style="bold", box=None, padding=(0, 1)
    )
    for number, column in enumerate(content.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in content.rows:
        table.add_row(*map(text, row), style="red" if row[-1] == "missed" else "")
    console.print(table)
    console.print()


def _markdown_table(content: Table) -> Iterator[str]:
    yield f"### {content.title}\n"
    yield "| " + " | ".join(content.columns) + " |"
    yield "|" + "|".join("--:" if number else "---" for number in range(len(content.columns))) + "|"
    for row in content.rows:
        yield "| " + " | ".join(map(text, row)) + " |"
    yield ""


def text(cell: Cell) -> str:
    """Three digits are what a simulation can tell; counts are told in full."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:  # noqa: PLR2004
        return f"{cell:,.0f}"
    return f"{cell:.3g}"
