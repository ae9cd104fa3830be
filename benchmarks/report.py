"""Results for people, as tables in the terminal; for programs, as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Row, Spread
from benchmarks.machine import Machine

COLUMNS: Final = (
    "target",
    "protocol",
    "conn.",
    "CPU µs/request",
    "x raw",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "PSS MB",
    "beside µs",
)
TEXT_COLUMNS: Final = 2
INVALID: Final = "INVALID"
_MB: Final = 1e6


class Result(msgspec.Struct, frozen=True):
    """One run of one bench, as it is kept. `rows` are of `serve`; `tables` of all the others."""

    bench: str
    at: str
    command: str
    machine: Machine
    rows: tuple[Row, ...] = ()
    tables: tuple[FreeTable, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether every line has figures."""
        lines = (line for table in self.tables for line in table.lines)
        return all(row.valid for row in self.rows) and not any(map(_is_invalid, lines))


class FreeTable(msgspec.Struct, frozen=True):
    """A table whose cells are text already."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def show(result: Result, console: Console) -> None:
    for table in (*row_tables(result.rows), *result.tables):
        _show_table(table, console)
    for note in result.notes:
        console.print(f"  {note}")


def save(result: Result, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.bench}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    return path


def load_all(folder: Path) -> list[Result]:
    """The last run of every bench."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(folder.glob("*.json"))]


def row_tables(rows: Sequence[Row]) -> list[FreeTable]:
    """One per model."""
    return [
        FreeTable(model, COLUMNS, tuple(line(row) for row in of_model))
        for model, of_model in groupby(rows, key=lambda row: row.model)
    ]


def line(row: Row) -> tuple[str, ...]:
    """The cells of one row. An invalid one shows what was wrong in place of figures."""
    name = (row.target, row.protocol, str(row.connections))
    if not row.valid:
        return (*name, *invalid(row.problems, cells=len(COLUMNS) - len(name)))
    return (
        *name,
        _with_range(row.cpu_us),
        number(row.ratio.median),
        number(row.throughput.median),
        number(row.p50_ms.median),
        number(row.p99_ms.median),
        number(row.memory_bytes / _MB),
        ", ".join(f"{name} {number(used)}" for name, used in row.beside_us.items()),
    )


def _show_table(content: FreeTable, console: Console) -> None:
    table = Table(title=content.title, title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for number, column in enumerate(content.columns):
        table.add_column(column, justify="left" if number < TEXT_COLUMNS else "right")
    for cells in content.lines:
        table.add_row(*cells, style="bold red" if _is_invalid(cells) else "")
    console.print(table)
    console.print()


def _is_invalid(cells: Sequence[str]) -> bool:
    return any(cell.startswith(INVALID) for cell in cells)


def invalid(problems: Mapping[str, int], *, cells: int) -> tuple[str, ...]:
    """In place of so many cells of figures."""
    return (f"{INVALID}: {counted(problems)}", *("",) * (cells - 1))


def counted(problems: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in problems.items())


def _with_range(spread: Spread) -> str:
    if spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def number(value: float | None) -> str:
    """Three digits are what a benchmark can tell."""
    if value is None or math.isnan(value):
        return "-"
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"
