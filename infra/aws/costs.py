"""What a deployment costs, computed from its profile and AWS's prices, and written into docs/deploy.md.

    python -m infra.aws.costs [--write-docs]

It counts what stands when nothing is asked, and adds what requests cost. The templates have as many of each
thing as is counted here: tests compare the two.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Final

from chalicelib.gauges import Gauge
from infra.aws.prices import API_TIERS, HOURS_A_MONTH, PRICES, REGION, Per
from infra.aws.profiles import PROFILES, Profile
from infra.redisroles import RIGHTS

_ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = _ROOT / "docs" / "deploy.md"
BEGIN: Final = "<!-- costs -->"
END: Final = "<!-- /costs -->"
MEASURED: Final = _ROOT / "docs" / "scale" / "measured.json"
_CONFIG: Final = _ROOT / ".chalice" / "config.json"

ZONES: Final = 2
_NAT_DISK_GB: Final = 8
"""Amazon Linux's image."""
_DISK_GIB: Final = 77
"""Of a machine with 16 GiB: the system, two images, and five times the memory for models."""
_UNITS_MIN: Final = 0.5

SECRETS: Final = 1 + 1 + 2 * len(RIGHTS) + 1
"""The tickets' key, the edge's, each of Redis's roles with its password and its URL, the user that is off."""
MONGO_SECRETS: Final = 2
"""Of a DocumentDB: the password that AWS makes and the URI."""
URL_SECRETS: Final = 1
"""Where the site has no name of its own, functions find the one that it is given in a secret."""
KEYS: Final = 2
"""One for what is kept, one for what alarms say."""
ALARMS: Final = 24
ALARMS_A_REDIS_NODE: Final = 3
ALARMS_OF_MONGO: Final = 4
"""Metrics that alarms look at, each of which is paid like an alarm: some look at two."""
DASHBOARDS: Final = 1
BUDGETS: Final = 1

LAMBDA_MIB_PER_CPU: Final = 1_769
"""docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html: from so much on it is a whole processor."""
_MIB_PER_GIB: Final = 1_024
ROUND_TRIP_MS: Final = 0.5
"""Assumed, of Redis or a host in another zone."""
ROUND_TRIPS: Final = 2
"""That an inference waits for: one of Redis, one of a host."""
ANSWER_BYTES: Final = 1_000
"""Assumed, headers included."""
LOG_BYTES: Final = 900
"""Assumed, of one request: API Gateway's line (`control_plane._LOGGED`, 250 with its values), and what Lambda
itself writes of each call (its start, its end and its report)."""
_MICRO: Final = 1e6
_GB: Final = 1e9


class Part(StrEnum):
    """In the order of the table."""

    WAY_OUT = "way out of the network"
    REDIS = "Redis"
    MONGO = "MongoDB"
    HOSTS = "hosts that always run"
    DISKS = "their disks"
    SECRETS = "secrets, keys"
    WATCHING = "alarms, dashboard, metrics, budget"
    DOOR = "the hosts' own door"


@dataclass(frozen=True, slots=True)
class Line:
    """So many of what has a price."""

    part: Part
    what: str
    count: float

    @property
    def month_usd(self) -> float:
        return self.count * PRICES[self.what].month_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What changes the bill beside the profile."""

    mongo_is_outside: bool = False
    has_domain: bool = False
    has_door: bool = False


def lines(profile: Profile, chosen: Choices = Choices()) -> tuple[Line, ...]:
    """All that stands when nothing is asked."""
    found = (
        *_way_out(profile, chosen),
        Line(Part.REDIS, profile.redis.node_type, profile.redis.nodes),
        *(() if chosen.mongo_is_outside else _mongo(profile)),
        Line(Part.HOSTS, profile.hosts.instance_type, profile.hosts.fewest),
        Line(Part.DISKS, "gp3 disk", profile.hosts.fewest * _DISK_GIB),
        Line(Part.SECRETS, "secret", _secrets(chosen)),
        Line(Part.SECRETS, "KMS key", KEYS),
        Line(Part.WATCHING, "alarm on a metric", _alarms(profile, chosen)),
        Line(Part.WATCHING, "metric of our own", len(Gauge)),
        Line(Part.WATCHING, "dashboard", DASHBOARDS),
        Line(Part.WATCHING, "budget", BUDGETS),
        Line(Part.DOOR, "load balancer", int(chosen.has_door)),
    )
    return tuple(line for line in found if line.count)


def month_usd(lines: Iterable[Line]) -> float:
    return sum(line.month_usd for line in lines)


def _way_out(profile: Profile, chosen: Choices) -> Iterator[Line]:
    if not profile.endpoints:
        yield Line(Part.WAY_OUT, "t4g.nano", 1)
        yield Line(Part.WAY_OUT, "gp3 disk", _NAT_DISK_GB)
        yield Line(Part.WAY_OUT, "public IPv4 address", 1)
        return
    yield Line(Part.WAY_OUT, "endpoint in a zone", len(profile.endpoints) * ZONES)
    if chosen.mongo_is_outside:
        yield Line(Part.WAY_OUT, "NAT gateway", 1)
        yield Line(Part.WAY_OUT, "public IPv4 address", 1)


def _mongo(profile: Profile) -> Iterator[Line]:
    mongo = profile.mongo
    if mongo.instance_type:
        yield Line(Part.MONGO, f"db.{mongo.instance_type}", mongo.instances)
    else:
        yield Line(Part.MONGO, "DocumentDB unit", _UNITS_MIN * mongo.instances)


def _secrets(chosen: Choices) -> int:
    return (
        SECRETS
        + (0 if chosen.mongo_is_outside else MONGO_SECRETS)
        + (0 if chosen.has_domain else URL_SECRETS)
    )


def _alarms(profile: Profile, chosen: Choices) -> int:
    of_mongo = 0 if chosen.mongo_is_outside else ALARMS_OF_MONGO
    return ALARMS + ALARMS_A_REDIS_NODE * profile.redis.nodes + of_mongo


# What requests cost


def function_ms(run_ms: float) -> float:
    """How long Lambda counts one inference: its own work, what it waits for, and the host's. It rounds up."""
    work_ms = _gateway_cpu_us() / 1_000 * LAMBDA_MIB_PER_CPU / _function_mib()
    return ceil(work_ms + ROUND_TRIPS * ROUND_TRIP_MS + run_ms)


def requests_usd(requests: float, *, run_ms: float) -> dict[str, float]:
    """So many in a month through the API, by what is paid."""
    millions = requests / _MICRO
    gib_seconds = requests * function_ms(run_ms) / 1_000 * _function_mib() / _MIB_PER_GIB
    return {
        "API Gateway": api_usd(requests),
        "Lambda, calls": millions * PRICES["Lambda calls"].usd,
        "Lambda, time": gib_seconds * PRICES["Lambda time"].usd,
        "logs": requests * LOG_BYTES / _GB * PRICES["logs"].usd,
        "CloudFront": millions * PRICES["CloudFront requests"].usd
        + requests * ANSWER_BYTES / _GB * PRICES["CloudFront transfer"].usd,
    }


def api_usd(requests: float) -> float:
    """A month's calls of API Gateway, by its tiers."""
    paid, before = 0.0, 0.0
    for until, usd in API_TIERS:
        paid += (min(requests, until) - min(requests, before)) / _MICRO * usd
        before = until
    return paid


def host_hour_usd(profile: Profile) -> float:
    """One host that came with demand, its disk included."""
    disk = _DISK_GIB * PRICES["gp3 disk"].month_usd / HOURS_A_MONTH
    return PRICES[profile.hosts.instance_type].usd + disk


def _gateway_cpu_us() -> float:
    return float(json.loads(MEASURED.read_text())["gateway_cpu_us"])


def _function_mib() -> int:
    return int(json.loads(_CONFIG.read_text())["lambda_functions"]["api_handler"]["lambda_memory_size"])


# The page

_DOOR: Final = Choices(has_door=True)
_RUNS_MS: Final = (0.2, 50.0)
"""A tiny model, and one of a twentieth of a second."""


def document(profiles: Mapping[str, Profile] = PROFILES) -> str:
    """What stands between the markers."""
    return "\n".join(
        (
            _INTRODUCTION,
            *_standing(profiles),
            _OPTIONS.format(**_options(profiles["standard"])),
            *_used(profiles),
            _SOURCES,
            *_sources(),
        )
    )


def written(page: str) -> str:
    """The page with the tables as they are now. Raises ValueError where it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{document()}\n{END}{after}"


def _standing(profiles: Mapping[str, Profile]) -> Iterator[str]:
    counted = {name: lines(profile) for name, profile in profiles.items()}
    yield from _table_head(("USD a month", *counted, "what that is"), right=len(counted))
    for part in Part:
        of_part = {name: [line for line in found if line.part is part] for name, found in counted.items()}
        if any(of_part.values()):
            yield _row((part, *(f"{month_usd(found):.0f}" for found in of_part.values()), _what(of_part)))
    yield _row(("**in all**", *(f"**{month_usd(found):.0f}**" for found in counted.values()), ""))
    yield ""


def _what(of_part: Mapping[str, Sequence[Line]]) -> str:
    """What each profile has of it, said once where it is the same."""
    said = {name: ", ".join(_counted(line) for line in found) or "none" for name, found in of_part.items()}
    alike: dict[str, list[str]] = {}
    for name, text in said.items():
        alike.setdefault(text, []).append(name)
    if len(alike) == 1:
        return next(iter(alike))
    return "; ".join(f"{'/'.join(names)}: {text}" for text, names in alike.items())


def _counted(line: Line) -> str:
    unit = " GB" if PRICES[line.what].per is Per.GB_MONTH else " x"
    return f"{line.count:g}{unit} {line.what}"


def _options(profile: Profile) -> dict[str, str]:
    plain = month_usd(lines(profile))
    outside = lines(profile, Choices(mongo_is_outside=True))
    mongo = month_usd(line for line in lines(profile) if line.part is Part.MONGO)
    nat = month_usd(line for line in outside if line.what in {"NAT gateway", "public IPv4 address"})
    return {
        "door": f"{month_usd(lines(profile, _DOOR)) - plain:.0f}",
        "mongo": f"{mongo:.0f}",
        "nat": f"{nat:.0f}",
    }


def _used(profiles: Mapping[str, Profile]) -> Iterator[str]:
    yield from _table_head(
        ("a million inferences through the API, USD", *(f"model of {one:g} ms" for one in _RUNS_MS)), right=2
    )
    by_run = [requests_usd(_MICRO, run_ms=run_ms) for run_ms in _RUNS_MS]
    for what in by_run[0]:
        yield _row((what, *(f"{one[what]:.2f}" for one in by_run)))
    totals = (f"**{sum(one.values()):.2f}**" for one in by_run)
    yield _row(("**in all**", *totals))
    yield ""
    yield from _table_head(("beside it", "USD", ""), right=1)
    yield _row(("a GB out of CloudFront", f"{PRICES['CloudFront transfer'].usd:g}", "of answers and pages"))
    yield _row(("a GB kept in S3, a month", f"{PRICES['S3'].usd:g}", "models; deleted ones for 37 days more"))
    yield _row(("a GB of logs", f"{PRICES['logs'].usd:g}", "kept for a month"))
    for instance_type, profile in {one.hosts.instance_type: one for one in profiles.values()}.items():
        price = f"{host_hour_usd(profile):.3f}"
        yield _row((f"an hour of one more host, {instance_type}", price, "its disk included"))
    yield ""


def _sources() -> Iterator[str]:
    yield from _table_head(("price", "USD", "per", "read at", "of"), right=1)
    for what, price in PRICES.items():
        yield _row((what, f"{price.usd:.10g}", price.per, price.source, price.as_of or "-"))


def _table_head(columns: Sequence[str], *, right: int) -> Iterator[str]:
    """The first column names the row; so many after it are numbers."""
    yield _row(columns)
    yield "|" + "|".join("--:" if 1 <= number <= right else "---" for number in range(len(columns))) + "|"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_INTRODUCTION: Final = f"""\
`make costs` computes and writes these tables: prices are those of {REGION}, on demand, without taxes,
discounts or free tiers, and each is named below with where it was read and of when. Nobody has compared
them with a bill. What stands when nothing is asked, in a month of {HOURS_A_MONTH} hours:
"""
_OPTIONS: Final = """\
The hosts' own door, where there is a certificate for one, is {door} more. Where MongoDB runs elsewhere
its row is gone ({mongo} of standard), and the larger profiles get a NAT gateway ({nat}) by which
functions reach it. On top comes what is used:
"""
_SOURCES: Final = f"""\
A function is paid for as long as it waits for the model: {ROUND_TRIPS} round trips (assumed:
{ROUND_TRIP_MS:g} ms each), its own processor time (measured, [docs/scale](scale/measured.json)) at the
share of a processor that its memory gives, and the run. Answers of {ANSWER_BYTES:,} bytes and logs of
{LOG_BYTES} bytes a request are assumed too. Callers at the hosts' own door pay none of it.
"""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.aws.costs", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write them into docs/deploy.md")
    if parser.parse_args(arguments).write_docs:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        print(document())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
