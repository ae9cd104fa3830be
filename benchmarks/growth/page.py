"""docs/scale.md from what was measured, what AWS allows and what is assumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from benchmarks.growth import load
from benchmarks.growth.breaking import Break, breaks, held, parts
from benchmarks.growth.figures import Measured
from benchmarks.growth.load import BASE, Deployed, Grows, Load
from benchmarks.growth.quotas import QUOTAS
from benchmarks.report import number
from infra.aws.costs import host_hour_usd, requests_usd
from infra.aws.prices import HOURS_A_MONTH
from infra.aws.profiles import PROFILES, Profile

FACTORS: Final = (10, 100, 1_000)
_SECONDS_A_MONTH: Final = HOURS_A_MONTH * 3600
_NOBODYS: Final = 100
"""Of the functions that an account may run at once: Lambda lets nobody reserve them."""
_MONGO_QUOTAS: Final = {
    "": "DocumentDB at half a unit, connections",
    "t4g.medium": "db.t4g.medium, connections",
}
_DIGITS: Final = 3
_PROCESSORS: Final = 4
"""Of an m7i.xlarge, and of a g4dn.xlarge."""


def markdown(measured: Measured) -> str:
    """The whole page."""
    found = {grows: breaks(parts(measured), grows) for grows in Grows}
    return "\n".join(
        (
            _INTRODUCTION.format(**_assumed()),
            *_first(found),
            *_where(found),
            *_at_once(measured),
            *_costs(),
            *_measured(measured),
            _LEFT_OUT,
        )
    )


def _assumed() -> dict[str, object]:
    return {
        "requests": number(BASE.requests),
        "models": number(BASE.models),
        "accounts": number(BASE.accounts),
        "hosts": Deployed(BASE).hosts,
        "run": number(load.RUN_MS),
        "memory": number(load.MODEL_BYTES / 1e6),
        "used": f"{load.USED:.0%}",
        "copies": load.COPIES,
        "keys": load.KEYS_USED,
        "busiest": f"{load.BUSIEST:.0%}",
        "cold": f"{load.COLD:.0%}",
    }


# The tables


def _first(found: dict[Grows, list[Break]]) -> Iterator[str]:
    yield "## What breaks first\n"
    yield from _head(("grows", *(f"{factor:,} x" for factor in FACTORS)))
    for grows, ones in found.items():
        cells = []
        for before, factor in zip((0, *FACTORS), FACTORS, strict=False):
            new = [one for one in ones if before < round(one.factor, _DIGITS) <= factor]
            said = "; ".join(f"{one.part.name} ({number(one.factor)} x)" for one in new)
            cells.append(f"{_load(grows, factor)}: {said or 'nothing more'}")
        yield _row((f"**{grows}**", *cells))
    yield ""


def _load(grows: Grows, factor: float) -> str:
    return f"*{_count(BASE.times(factor, grows), grows)}*"


def _count(at: Load, grows: Grows) -> str:
    value = {Grows.REQUESTS: at.requests, Grows.MODELS: at.models, Grows.ACCOUNTS: at.accounts}[grows]
    return f"{float(f'{value:.{_DIGITS}g}'):,.0f} {grows}"


def _where(found: dict[Grows, list[Break]]) -> Iterator[str]:
    yield "## Where each part ends\n"
    for grows, ones in found.items():
        yield f"### {grows.capitalize()}\n"
        yield from _head(
            ("breaks at", "x", "part", "asked of it at the base", "has", "source", "what moves it")
        )
        for one in ones:
            part = one.part
            yield _row(
                (
                    _count(one.at, grows),
                    number(one.factor),
                    part.name,
                    f"{number(part.wanted(Deployed(BASE)))} {part.unit}",
                    f"{number(part.there)} {part.unit}",
                    part.source,
                    part.change,
                )
            )
        yield ""


def _at_once(measured: Measured) -> Iterator[str]:
    yield _AT_ONCE
    yield from _head(("asked for", *PROFILES, "there are"))
    busy = {name: _busy(profile) for name, profile in PROFILES.items()}
    reserved = (f"{one.environments:.0f}" for one in busy.values())
    there = f"{QUOTAS['Lambda, at once in an account'].value - _NOBODYS:,.0f}; less in a new account"
    yield _row(("functions reserved", *reserved, there))
    mongo = [f"{held(measured, one, lambda connections: connections.mongo):.0f}" for one in busy.values()]
    have = [f"{QUOTAS[_MONGO_QUOTAS[one.profile.mongo.instance_type]].value:,.0f}" for one in busy.values()]
    yield _row(("connections to DocumentDB", *mongo, " / ".join(have)))
    redis = [
        held(measured, one, lambda connections: connections.redis)
        + one.profile.hosts.most * measured.host.redis
        for one in busy.values()
    ]
    clients = QUOTAS["ElastiCache, connections of a node"].value
    yield _row(("connections to Redis, with all hosts", *(f"{one:.0f}" for one in redis), f"{clients:,.0f}"))
    starts = QUOTAS["Lambda, environments in 10 s"].value
    largest = (f"{max(one.functions.inference, one.functions.management)}" for one in PROFILES.values())
    yield _row(("environments of one function, all started at once", *largest, f"{starts:,.0f} in 10 s"))
    processors = (f"{2 * max(1, one.hosts.fewest) * _PROCESSORS}" for one in PROFILES.values())
    yield _row(
        (
            "processors of the fewest hosts and their successors",
            *processors,
            "5 in a new account, 0 with a GPU (from memory, unverified)",
        )
    )
    yield ""


def _busy(profile: Profile) -> Deployed:
    """With every function at work."""
    return Deployed(replace(BASE, requests=profile.functions.inference * 1_000), profile)


def _costs() -> Iterator[str]:
    yield _COSTS
    yield from _head(("requests/s", "API Gateway", "Lambda", "logs", "CloudFront", "hosts", "in all"))
    for factor in (1, *FACTORS):
        at = BASE.times(factor, Grows.REQUESTS)
        one = Deployed(at)
        paid = requests_usd(at.requests * _SECONDS_A_MONTH, run_ms=load.RUN_MS)
        hosts = one.hosts * host_hour_usd(one.profile) * HOURS_A_MONTH
        functions = paid["Lambda, calls"] + paid["Lambda, time"]
        cells = (paid["API Gateway"], functions, paid["logs"], paid["CloudFront"], hosts)
        yield _row((number(at.requests), *(f"{usd:,.0f}" for usd in (*cells, sum(cells)))))
    yield ""


def _measured(measured: Measured) -> Iterator[str]:
    machine, hot, passes = measured.machine, measured.hot, measured.passes
    yield _MEASURED.format(
        command=measured.command,
        at=measured.at,
        machine=f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB, "
        f"{machine.kernel}, Python {machine.python}",
    )
    yield from _head(("what", "measured", ""))
    yield from map(
        _row,
        (
            ("the gateway's processor, a request", number(measured.gateway_cpu_us), "µs"),
            ("Redis's processor, a request", number(hot.request_us), "µs"),
            ("of it in scripts", number(hot.script_us), "µs"),
            ("what Redis sends, a request", number(hot.request_bytes), "bytes"),
            ("Redis's processor, a host more where a model is cold", number(hot.cold_host_us), "µs"),
            ("Redis's processor, a heartbeat", number(hot.beat_us), "µs"),
            (
                "Redis's memory, a model with its version, two replicas and a token",
                number(hot.model_bytes),
                "bytes",
            ),
            ("Redis's memory, a host", number(hot.host_bytes), "bytes"),
            ("Redis's memory, what a key used of a version in a minute", number(hot.counted_bytes), "bytes"),
            ("a model that a coordinator reads when it starts", number(passes.model_read_us), "µs"),
            ("of it its own processor", number(passes.model_read_cpu_us), "µs"),
            ("a token that it tells an emptied Redis", number(passes.token_read_us), "µs"),
            ("what a key used in a minute, written down", number(passes.rolled_up_us), "µs"),
            ("a host's memory, an account with a model there", number(measured.worker_mb), "MB"),
            *(
                (
                    f"a pass of the planner, {one.models:,} models on {one.hosts:,} hosts",
                    number(one.cpu_seconds),
                    "s",
                )
                for one in measured.ticks
            ),
            *(
                (f"connections to Redis and MongoDB, {name}", f"{one.redis} and {one.mongo}", "")
                for name, one in (
                    ("a function for inference", measured.inference),
                    ("one for managing", measured.management),
                    ("the coordinator", measured.coordinator),
                    ("a host", measured.host),
                )
            ),
        ),
    )
    yield ""


def _head(columns: Sequence[str]) -> Iterator[str]:
    yield _row(columns)
    yield "|" + "---|" * len(columns)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_INTRODUCTION: Final = """\
# Scale, on paper

What breaks first as requests, models or accounts grow, at which number, and what moves it. `make scale`
computes this page: from what our own parts cost, measured on real servers ([figures](#measured)), from
what AWS allows by default, and from the assumptions named here. Nothing of it has been seen on AWS:
DocumentDB, ElastiCache and Lambda are other machines than the one that was measured on, and a processor
of theirs is taken to be as fast.

**The base** is the profile *standard* at {requests} requests/s of {models} models of {accounts} accounts,
on {hosts} hosts. One of the three is multiplied and the others stay. The limits of a profile and of the
platform count as well: they are numbers in a file, and are there so that a mistake or a stranger does not
become a bill.

**Assumed**: a request takes a model {run} ms and a model {memory} MB of memory; within a minute {used} of
the models and of the accounts are used, each such model on {copies} hosts, by {keys} keys of each such
account; {busiest} of everything is the busiest account's; {cold} of requests find no host with their
model; all functions for managing are at work.
"""
_AT_ONCE: Final = """\
## A profile with all its functions at work

What the functions that are reserved would ask of what stands behind them, all at once:
"""
_COSTS: Final = """\
## What requests cost

USD a month, by API Gateway's tiers and the [prices](deploy.md#what-it-costs) of the rest, with as many
hosts as the load needs. Callers at the hosts' own door pay the column *hosts* alone.
"""
_MEASURED: Final = """\
## Measured

`{command}`, {at}, {machine}. Times of Redis and of the gateway are processor time; those of the
coordinator are of the clock, with the stores beside it.
"""
_LEFT_OUT: Final = """\
## Left out

* DocumentDB's own speed: writes a second, processor credits of a db.t4g.medium, the size of `audit` and
  `usage`. It answers no inference, but log-ins, uploads and the coordinator's passes wait for it.
* Passwords: a log-in takes a function's processor for as long as Argon2 is meant to, and eight of them at
  once in a process.
* What accounts do to each other on a host: docs/benchmarks.md measures it. Requests here are spread
  evenly.
* Functions that start: Lambda's time for that, the package's import (docs/deploy.md) and TLS to each
  store.
* Regions: one deployment is in one.
"""
