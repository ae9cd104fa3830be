"""What `upload` shows: live progress on a terminal, plain lines elsewhere, and then the result."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from modelrocket.comparison import OutputLoss
    from modelrocket.quantisation import Quantisation


@dataclass(frozen=True)
class Shown:
    """The facts of a finished upload."""

    name: str
    version: int
    created: bool
    model_id: str
    token: str | None
    url: str
    checked: str
    active: bool


class Display:
    """Shows nothing: what `progress=False` gets, and the interface of what shows something."""

    def step(self, text: str) -> None:
        """A stage has begun."""

    def bytes_sent(self, done: int, *, total: int) -> None:
        """So much of the model has been sent."""

    def quantisation(self, found: Quantisation) -> None:
        """What int8 weights cost and bring, before it is judged."""

    def result(self, shown: Shown) -> None:
        """The model is deployed."""


class PlainDisplay(Display):
    """One line per stage, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def step(self, text: str) -> None:
        if text != self._last:
            self._console.print(text, soft_wrap=True, markup=False)
        self._last = text

    def quantisation(self, found: Quantisation) -> None:
        self._console.print(quantisation_table(found))

    def result(self, shown: Shown) -> None:
        print_result(self._console, shown)


class LiveDisplay(Display):
    """A spinner with the stage, and a bar while bytes travel."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self.progress = progress
        self._task = progress.add_task("", total=None)

    def step(self, text: str) -> None:
        if text == self.progress.tasks[0].description:
            return
        self.progress.remove_task(self._task)
        self._task = self.progress.add_task(text, total=None)

    def bytes_sent(self, done: int, *, total: int) -> None:
        self.progress.update(self._task, total=total, completed=done)

    def quantisation(self, found: Quantisation) -> None:
        self._console.print(quantisation_table(found))

    def result(self, shown: Shown) -> None:
        self.progress.stop()
        print_result(self._console, shown)


@contextmanager
def shown_display() -> Iterator[Display]:
    """The display that fits where the output goes."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)  # bound now: exporters redirect it for a while
    if not console.is_terminal or console.is_jupyter:
        yield PlainDisplay(console)
        return
    with live_display(console) as live:
        yield live


@contextmanager
def live_display(console: Console) -> Iterator[LiveDisplay]:
    """On a terminal: what it shows is gone afterwards, but for the result."""
    with _progress(console) as progress:
        yield LiveDisplay(console, progress)


@contextmanager
def silent_display() -> Iterator[Display]:
    yield Display()


def print_result(console: Console, shown: Shown) -> None:
    """The result as lines that can be copied whole: nothing is wrapped or cut."""
    from rich.markup import escape

    news = "new model" if shown.created else "the same address and tokens as before"
    lines = {
        "model": shown.model_id,
        "token": f"[bold]{shown.token}[/bold]   [yellow]shown once, keep it[/yellow]"
        if shown.token
        else "[dim]the one from before keeps working[/dim]",
        "url": f"[bold]POST[/bold] {escape(shown.url)}",
        "checked": f"[dim]{shown.checked}[/dim]",
    }
    if not shown.active:
        which = f"{quote(shown.name)} --version {shown.version}"
        lines["traffic"] = f"none yet; give it some: modelrocket traffic {which} --percent 10"
    mark = "✓ " if console.encoding.startswith("utf") else ""
    console.print(
        f"[bold green]{mark}{shown.name}[/bold green] is {'live' if shown.active else 'ready'}: "
        f"version {shown.version}, {news}",
        soft_wrap=True,
    )
    for label, text in lines.items():
        console.print(f"  [cyan]{label:<8}[/cyan] {text}", soft_wrap=True)


def quantisation_table(found: Quantisation) -> Table:
    """Both forms side by side: size, speed, and how their outputs compare with the original's."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "float", "int8"):
        table.add_column(column, overflow="fold", justify="right" if column else "left")
    pair = (found.float, found.int8)
    table.add_row("size", *(f"{form.bytes / 1000:,.1f} kB" for form in pair))
    for count in found.float.run_ms:
        table.add_row(f"run, {_rows(count)}", *(f"{form.run_ms[count]:.3g} ms" for form in pair))
    sides = ([form.outputs for form in pair], [form.outputs_together for form in pair])
    for count, (of_float, of_int8) in zip(found.float.run_ms, sides, strict=False):
        for losses in zip(of_float, of_int8, strict=True):
            table.add_row(Text(f"{losses[0].name}, {_rows(count)} a run"), *map(_loss, losses))
    return table


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _loss(one: OutputLoss) -> str:
    error = f", error {one.rel_error_max:.1e}" if one.rel_error_max else ""
    return f"{one.agreement:.1%} agree{error}"


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TransferSpeedColumn as Speed
    from rich.table import Column

    class WithBytes(Progress):
        """The bar appears only while there is something to count."""

        def get_renderables(self):  # type: ignore[no-untyped-def]
            counting = any(task.total is not None for task in self.tasks)
            self.columns = (*stage, *bar) if counting else stage
            yield self.make_tasks_table(self.tasks)

    stage = (SpinnerColumn(), TextColumn("{task.description}", table_column=Column(no_wrap=True)))
    bar = (BarColumn(bar_width=30), DownloadColumn(), Speed())
    return WithBytes(*stage, console=console, transient=True)
