"""Cells and tables as the command line prints them.

What comes from model files and from others is shown as text, whatever characters are in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

_MEGABYTE, _KILOBYTE = 1_000_000, 1_000
_TO_THE_SECOND = 19


def table(*columns: str) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def pairs(values: Mapping[str, Any]) -> Table:
    """Names and values; what is None is left out."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if value is not None:
            grid.add_row(text(name), text(value))
    return grid


def text(value: object) -> Text:
    """Without what would steer a terminal; a dash for nothing."""
    written = "-" if value is None or value == "" else str(value)
    return Text("".join(each if each.isprintable() or each == "\n" else "�" for each in written))


def time(iso: str) -> str:
    """To the second, UTC as the server says it."""
    return iso[:_TO_THE_SECOND].replace("T", " ")


def size(count: int | None) -> str | None:
    if count is None:
        return None
    return f"{count / _MEGABYTE:,.1f} MB" if count >= _MEGABYTE else f"{count / _KILOBYTE:,.1f} kB"
