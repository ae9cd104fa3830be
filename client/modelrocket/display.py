"""What `upload` shows: live on a terminal and in a notebook, plain lines elsewhere, and then the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from modelrocket.agreement import Agreement
    from modelrocket.comparison import OutputLoss
    from modelrocket.convert import Converted
    from modelrocket.quantisation import Quantisation


LONG_SECONDS = 2.0
"""From here on it is said how long a stage takes."""


@dataclass(frozen=True)
class Shown:
    """The facts of a finished upload. `notes`: what its owner should know of the conversion."""

    name: str
    version: int
    created: bool
    model_id: str
    token: str | None
    url: str
    checked: str
    active: bool
    notes: tuple[str, ...] = ()


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
    """One line per stage, for logs and pipes; of a long one also how far it is, and how long it took."""

    bytes_every_seconds = 5.0

    def __init__(self, console: Console, *, now: Callable[[], float] = monotonic) -> None:
        self._console = console
        self._now = now
        self._stage = ""
        self._begun = self._said = now()
        self._bytes_before: int | None = None

    def step(self, text: str) -> None:
        if text == self._stage:
            return
        self._end()
        self._stage, self._bytes_before = text, None
        self._begun = self._said = self._now()
        self._line(text)

    def bytes_sent(self, done: int, *, total: int) -> None:
        """What had arrived before, of an upload that broke off, does not count as fast."""
        if self._bytes_before is None:
            self._bytes_before = done
        now = self._now()
        if now - self._said >= self.bytes_every_seconds:
            self._said = now
            rate = (done - self._bytes_before) / 1e6 / (now - self._begun)
            self._passing_line(f"  {done / 1e6:,.1f} of {total / 1e6:,.1f} MB, {rate:,.1f} MB/s")

    def quantisation(self, found: Quantisation) -> None:
        self._console.print(quantisation_table(found))

    def result(self, shown: Shown) -> None:
        self._end()
        print_result(self._console, shown)

    def _end(self) -> None:
        took = self._now() - self._begun
        if self._stage and took >= LONG_SECONDS:
            self._line(f"  took {took:,.0f} s")

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

    def _passing_line(self, text: str) -> None:
        """One that is out of date when the next comes."""
        self._line(text)


class NotebookDisplay(PlainDisplay):
    """The same lines below a notebook's cell, where those that pass give way to the next.

    `write` replaces all of the text by another: nothing of ipywidgets, which few have, is needed.
    """

    bytes_every_seconds = 0.2

    def __init__(
        self, console: Console, write: Callable[[str], None], *, now: Callable[[], float] = monotonic
    ) -> None:
        super().__init__(console, now=now)
        self._write = write
        self._lines: list[str] = []

    def _line(self, text: str) -> None:
        self._lines.append(text)
        self._write("\n".join(self._lines))

    def _passing_line(self, text: str) -> None:
        self._write("\n".join((*self._lines, text)))


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
    if console.is_jupyter:
        yield NotebookDisplay(console, _notebook_text())
        return
    if not console.is_terminal:
        yield PlainDisplay(console)
        return
    with live_display(console) as live:
        yield live


def _notebook_text() -> Callable[[str], None]:
    """A text below the cell that runs, and how to change it."""
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)


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
        "token": _token(shown),
        "url": f"[bold]POST[/bold] {escape(shown.url)}",
        "checked": f"[dim]{escape(shown.checked)}[/dim]",
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
    for note in shown.notes:
        console.print(f"  [cyan]{'note':<8}[/cyan] {escape(note)}", soft_wrap=True)


def _token(shown: Shown) -> str:
    if shown.token:
        return f"[bold]{shown.token}[/bold]   [yellow]shown once, keep it[/yellow]"
    if shown.created:
        make = f"modelrocket token create {quote(shown.name)}"
        return f"[yellow]none: this API key may make no keys. Who may makes one with {make}[/yellow]"
    return "[dim]the one from before keeps working[/dim]"


def checked(converted: Converted) -> str:
    """How the uploaded model was found to be right, in one line."""
    agreement = converted.agreement
    if agreement is not None and agreement.mismatch:
        first = str(agreement.mismatch[0])
        return f"does NOT answer like the original, which was allowed and its receipt says: {first}"
    if converted.quantisation is not None:
        return "int8, measured as shown above"
    if agreement is None:
        return "onnxruntime loads and runs it"
    judged = [one for one in agreement.kinds if one.judged]
    rows = sum(one.rows for one in judged)
    sample = sum(one.rows for one in judged if one.kind == "sample")
    yours = f", {min(sample, agreement.sample_rows)} of yours among them" if sample else ""
    return f"answers like the original on {rows} rows{yours} (largest difference {agreement.difference:.1e})"


def notes(converted: Converted) -> tuple[str, ...]:
    """What the converter has to say, and on which rows the two go apart without being judged for it."""
    told = () if converted.agreement is None else tuple(_apart(converted.agreement))
    return (*converted.notes, *told)


def _apart(agreement: Agreement) -> Iterator[str]:
    differing = [one.kind for one in agreement.kinds if one.differences and not one.judged]
    if differing:
        kinds = ", ".join(differing)
        yield f"It answers otherwise than the original on {kinds} values; see modelrocket report."
    refused = [one for one in agreement.kinds if one.refused]
    if refused:
        kinds = ", ".join(one.kind for one in refused)
        yield f"The original raises an error on {kinds} rows, where the uploaded model may answer."


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
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
    )
    from rich.progress import TransferSpeedColumn as Speed
    from rich.table import Column
    from rich.text import Text

    class Elapsed(ProgressColumn):
        """Of a stage that takes long."""

        def render(self, task: Task) -> Text:
            seconds = task.elapsed or 0
            return Text(f"{seconds:,.0f} s" if seconds >= LONG_SECONDS else "", style="dim")

    class WithBytes(Progress):
        """The bar appears only while there is something to count."""

        def get_renderables(self):  # type: ignore[no-untyped-def]
            counting = any(task.total is not None for task in self.tasks)
            self.columns = (*stage, *bar) if counting else stage
            yield self.make_tasks_table(self.tasks)

    text = TextColumn("{task.description}", table_column=Column(no_wrap=True))
    stage = (SpinnerColumn(), text, Elapsed())
    bar = (BarColumn(bar_width=30), DownloadColumn(), Speed())
    return WithBytes(*stage, console=console, transient=True)
