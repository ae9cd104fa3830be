"""docs/benchmarks.md from the last run of every bench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.report import TEXT_COLUMNS, FreeTable, Result, row_tables


@dataclass(frozen=True, slots=True)
class _Section:
    """`about`: what is done, how to read it, and what is aimed at."""

    title: str
    about: str


def markdown(results: Sequence[Result]) -> str:
    """The whole of docs/benchmarks.md."""
    return "\n".join(_page(results)) + "\n"


def _page(results: Sequence[Result]) -> Iterable[str]:
    yield _INTRODUCTION
    by_bench = {result.bench: result for result in results}
    for bench, section in SECTIONS.items():
        if bench in by_bench:
            yield from _section(section, by_bench[bench])


def _section(section: _Section, result: Result) -> Iterable[str]:
    machine = result.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    yield f"## {section.title}\n"
    yield section.about
    yield f"`{result.command}`, {result.at}, {machine.processor}, {machine.cores} cores,"
    yield f"{machine.memory_bytes / 2**30:.0f} GiB, {machine.kernel}, Python {machine.python},"
    yield f"{packages}.\n"
    for table in (*row_tables(result.rows), *result.tables):
        yield from _markdown_table(table)
    yield from (f"* {note}" for note in result.notes)
    if result.notes:
        yield ""


def _markdown_table(table: FreeTable) -> Iterable[str]:
    yield f"### {table.title}\n"
    yield "| " + " | ".join(table.columns) + " |"
    yield "|" + "|".join("---" if i < TEXT_COLUMNS else "--:" for i in range(len(table.columns))) + "|"
    for cells in table.lines:
        yield "| " + " | ".join(cells) + " |"
    yield ""


SECTIONS: Final[Mapping[str, _Section]] = {
    "serve": _Section(
        "Requests",
        """\
Aimed at: 80 µs for *tiny* in JSON at 32 connections and 90 µs for *mlp* in binary, tokens checked and
accounts isolated; for *mobilenet* at most 1.06 x raw in binary and 1.9 x raw in JSON.
""",
    ),
    "load": _Section(
        "Loading a model",
        """\
*Plain* is `InferenceSession(path)` in a fresh process; *again* is in a host that has just come back and
has the model's prepared form on its disk. Aimed at: 0.2 x plain.
""",
    ),
    "cold": _Section(
        "When a cold model will be ready",
        """\
Four models at a time that nobody has loaded, asked for by callers with no time to wait; each hears when to
come back, and the host is watched until it is ready. After two rounds, in which a host learns what loads take
on its machine. Aimed at: nine of ten told within 25 % of what it then took.
""",
    ),
    "density": _Section(
        "Many models in memory",
        """\
Different models of one account on one host, each loaded by a request. Aimed at: 150 MB for 1,000 of them,
and threads that do not grow with them.
""",
    ),
    "churn": _Section(
        "Memory after many loads and evictions",
        """\
Versions picked at random, of which only some fit. The start is when a fifth of the evictions are over and
every prepared form is there. *No room now* are answers with `Retry-After`: what was used a moment ago is
not evicted. *RSS* is the sum over the host's processes, *anonymous* the part of their PSS that no file backs.
Aimed at: growth of at most 2 %.
""",
    ),
    "scan": _Section(
        "A scan beside hot models",
        """\
Hot models are asked for at a fixed pace, whatever the answers do; the host has memory for a quarter more
than them; someone asks for each cold model once. *Here*: at the same host. *Elsewhere*: at another host
process of this machine, which takes as much of its processors and of its S3 server; what is left between
the two is the host's own doing. Phases take turns. Aimed at: p99 here at most 1.2 x alone.
""",
    ),
    "batching": _Section(
        "Requests that share runs",
        """\
*Alone* is the same model with its input's shape as one more output, which no certificate covers: each
request runs by itself. Binary v2. Where sharing would not pay, both columns run alone.
""",
    ),
    "fairness": _Section(
        "A steady account beside a flooding one",
        """\
One account asks for two models at a fixed pace, whatever the answers do (*tiny* 50 times a second, *mlp*
20 times). Another asks on many connections, each again as soon as it is answered or refused, from a
process of lower priority. *Here*: the same host. *Elsewhere*: the same flood at another host process of
this machine, which takes as much of its processors; what is left between the two is the host's own doing.
A request without a good answer counts as ten seconds. Aimed at: p99 here at most 1.2 x alone.
""",
    ),
    "gateway": _Section(
        "What routing costs",
        """\
The Chalice object called in process as Lambda calls it, on a real hot state, before a stand-in for hosts
that answers at once; and a Chalice route that does nothing, called in turn. CPU time of the calling thread.
*Least* is the round that others on the machine disturbed least. *Hot state* is the CPU time of Redis.
Aimed at: 120 µs beyond Chalice, one reply awaited, and no more with much registered than with little.
""",
    ),
    "logins": _Section(
        "Inference beside a flood of log-ins",
        """\
A paced caller infers at the gateway, whatever the answers do, while strangers try passwords, each on a new
connection from another address and for another account, so that no limit on either ends it. *Refused
requests* come as often and are refused with no password to look at: what is left between the two is what the
passwords cost those who infer. *Gateway CPU* is of one processor. Phases take turns. Aimed at: p99 beside
log-ins at most 1.2 x beside refused requests.
""",
    ),
    "vanish": _Section(
        "Clients that vanish",
        """\
Each sends a whole request and resets its connection; then callers come one after the other.
""",
    ),
    "passports": _Section(
        "What a passport says, and what a host sees",
        """\
Each model is prepared as any upload, by a host that then loads it into a fresh worker, and four times more
after restarts; medians. *Load* is processor time in onnxruntime, in the process that measured and in the
workers. The passport's is with nothing in the processor's caches, which costs a small model 0.3 ms that it
does not take where others were loaded just before. *Ready* is all that a caller who hears `model_loading`
waits for, beside whatever else ran: told beforehand by the host's forecast, which adds to the passport what
every load takes and corrects it by the loads before. *Own MB* is what the process grew by that no file
backs, with freed memory given back. Memory comes in pages of 4 KB, of which small models take few, and fill
some that are there already: *beyond two pages* counts what differs by more. *Certificate*: whether rows of
different callers may share a run. Aimed at: load time within 25 %, memory within 10 %.
""",
    ),
    "soak": _Section(
        "New versions under load",
        """\
One model is uploaded again and again through the public API, each version once the one before has taken
over, while callers at the gateway and at each host's own door ask all the time. Each answer says which
version gave it and repeats the number it was asked with. *Failed or mixed up*: another status than 200,
an answer to something else, a version that is not the one the header names, or an older one after a newer
one at the same caller. Aimed at: none.
""",
    ),
}
"""In the order of the page."""

_INTRODUCTION: Final = """# Benchmarks

Written by `python -m benchmarks … --write-docs`; do not edit. Reproduce it with

```
make bench                       # everything of ours, about 25 minutes
make bench QUICK=1               # a first look
make bench BENCH=fairness        # one of them
make bench PEERS=fastapi,litserve,mlserver,bentoml ONLY=tiny
```

*CPU µs/request* is user and system time of the server's whole process tree, ended children included,
divided by the good answers of the same time. The load generator is not part of it; *beside* is what the
hot state used on top. *x raw* is that over `session.run` in a process of its own with one thread,
measured in the same round: it is what carries over to another machine. Each figure is the median over
the rounds, in brackets the lowest and the highest; a round takes every line of a table in turn. *PSS*
divides pages that processes share between them; it is that of a host's whole process tree. Load generator
and server share the machine's cores. A line with a single wrong answer is invalid and says so.
"""
