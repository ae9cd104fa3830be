"""docs/benchmarks.md from the last run of every bench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.report import TEXT_COLUMNS, FreeTable, Result, row_tables


def markdown(results: Sequence[Result]) -> str:
    """The whole of docs/benchmarks.md."""
    return "\n".join(_page(results)) + "\n"


def _page(results: Sequence[Result]) -> Iterable[str]:
    yield _INTRODUCTION
    for result in results:
        machine = result.machine
        packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
        yield f"## {_TITLES.get(result.bench, result.bench)}\n"
        yield f"`{result.command}`, {result.at}, {machine.processor}, {machine.cores} cores,"
        yield f"{machine.memory_bytes / 2**30:.0f} GiB, {machine.kernel}, Python {machine.python},"
        yield f"{packages}.\n"
        for table in (*row_tables(result.rows), *result.tables):
            yield from _markdown_table(table)
        yield from (f"* {note}" for note in result.notes)
        if result.notes:
            yield ""


_TITLES: Final[Mapping[str, str]] = {
    "serve": "Requests",
    "load": "Loading a model",
    "density": "Many models in memory",
    "vanish": "Clients that vanish",
}

_INTRODUCTION: Final = """# Benchmarks

Written by `python -m benchmarks … --write-docs`; do not edit. Reproduce it with

```
make bench                       # everything of ours, about six minutes
make bench QUICK=1               # a first look
make bench PEERS=fastapi,litserve,mlserver,bentoml ONLY=tiny
```

*CPU µs/request* is user and system time of the server's whole process tree, ended children included,
divided by the good answers of the same time. The load generator is not part of it; *beside* is what the
hot state used on top. *x raw* is that over `session.run` in a process of its own with one thread,
measured in the same round: it is what carries over to another machine. Each figure is the median over
the rounds, in brackets the lowest and the highest; a round takes every line of a table in turn. *PSS*
divides pages that processes share between them. Load generator and server share the machine's cores. A
line with a single wrong answer is invalid and says so.
"""


def _markdown_table(table: FreeTable) -> Iterable[str]:
    yield f"### {table.title}\n"
    yield "| " + " | ".join(table.columns) + " |"
    yield "|" + "|".join("---" if i < TEXT_COLUMNS else "--:" for i in range(len(table.columns))) + "|"
    for cells in table.lines:
        yield "| " + " | ".join(cells) + " |"
    yield ""
