"""What runs where: the table for people, `stack.json` for programs. Neither carries a secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from infra.local.files import write_private

STATE_FILE: Final = "stack.json"

State = Literal["starting", "ready"]


@dataclass(frozen=True, slots=True)
class Row:
    """`pid` is None between a death and the restart."""

    name: str
    address: str
    pid: int | None
    log_file: Path | None


def say(line: str) -> None:
    """Print, unless nobody reads any more: a closed terminal must not keep the stack from stopping."""
    try:
        print(line, flush=True)
    except OSError:
        return


def write_state(home: Path, *, state: State, pid: int, url: str, rows: Sequence[Row]) -> None:
    content: dict[str, Any] = {
        "state": state,
        "pid": pid,
        "url": url,
        "home": str(home),
        "children": {
            row.name: {"pid": row.pid, "address": row.address, "log": str(row.log_file)} for row in rows
        },
    }
    write_private(home / STATE_FILE, json.dumps(content, indent=1) + "\n")


def show_table(rows: Sequence[Row]) -> None:
    """With colours on a terminal, else as plain columns."""
    cells = [(row.name, row.address or "-", str(row.pid or "-"), _short(row.log_file)) for row in rows]
    if sys.stdout.isatty():
        _show_rich(cells)
        return
    titles = ("what", "address", "pid", "log")
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for line in (titles, *cells):
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _show_rich(cells: Sequence[tuple[str, str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for title, style in (("what", "bold"), ("address", "cyan"), ("pid", "dim"), ("log", "dim")):
        table.add_column(title, style=style, overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def _short(path: Path | None) -> str:
    """Relative to where the person is, when that is shorter."""
    if path is None:
        return "-"
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
