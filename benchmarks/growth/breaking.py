"""Each thing that ends somewhere: what a load asks of it, how much there is, and where it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.growth.figures import Connections, Measured
from benchmarks.growth.load import (
    BASE,
    BUSIEST,
    COLD,
    KEYS_USED,
    LOAD_SECONDS,
    RUN_MS,
    SLOTS,
    Deployed,
    Grows,
    Load,
)
from benchmarks.growth.quotas import QUOTAS
from chalicelib.contract import limits
from infra.aws.costs import LAMBDA_MIB_PER_CPU, ROUND_TRIP_MS

FACTOR_MAX: Final = 10_000.0
"""What ends beyond it is not told apart from what never does."""
MEASURED: Final = "measured"
_COORDINATOR_MIB: Final = 512
"""As .chalice/config.json has it: a test compares them."""
_COORDINATOR_SECONDS: Final = 90.0
_TICK_SECONDS: Final = 10.0
_ROLL_UP_TRIPS: Final = 3
"""Of Redis, one after the other, for a minute of an account: read what it is, read it, forget it."""
_SECRETS: Final = 4
"""That an environment asks for when it starts."""
_ADDRESSES: Final = 4
"""A machine's and its host's, and of their successors while a deployment goes on."""
_USAGE_MINUTES: Final = 2
"""That are counted and not written down yet."""
_MICRO: Final = 1e6
_GIB: Final = 2**30
_BITS: Final = 8
_FACTOR_MIN: Final = 0.001
_PRECISION: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """`wanted`: what a load asks of it, in `unit`. `source`: of `there`, and of what `wanted` is made of."""

    name: str
    unit: str
    wanted: Callable[[Deployed], float]
    there: float
    source: str
    change: str


@dataclass(frozen=True, slots=True)
class Break:
    """`factor` times the base in what grows; infinity for never, and below 1 where it is broken already."""

    part: Part
    grows: Grows
    factor: float
    at: Load


def breaks(parts: Sequence[Part], grows: Grows, base: Load = BASE) -> list[Break]:
    """The first to break first; those that do not grow with it, or not before `FACTOR_MAX`, are left out."""
    factors = ((part, break_factor(part, grows, base)) for part in parts)
    found = (
        Break(part, grows, factor, base.times(factor, grows))
        for part, factor in factors
        if factor <= FACTOR_MAX
    )
    return sorted(found, key=lambda one: one.factor)


def break_factor(part: Part, grows: Grows, base: Load = BASE) -> float:
    """The greatest factor at which there is enough, by halving: what has broken stays so."""

    def enough(factor: float) -> bool:
        return part.wanted(Deployed(base.times(factor, grows))) <= part.there

    low, high = _FACTOR_MIN, FACTOR_MAX
    if enough(high):
        return math.inf
    if not enough(low):
        return 0.0
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def parts(measured: Measured) -> tuple[Part, ...]:
    """All there are."""
    return (
        *_of_the_profile(),
        *_of_accounts(),
        *_of_lambda(),
        *_of_redis(measured),
        *_of_mongo(measured),
        *_of_hosts(measured),
        *_of_the_coordinator(measured),
    )


def _of_the_profile() -> Iterator[Part]:
    functions, hosts = Deployed(BASE).profile.functions, Deployed(BASE).profile.hosts
    here = "infra/aws/profiles.py"
    yield Part(
        "the API's own throttle",
        "requests/s",
        lambda one: one.load.requests,
        functions.requests_per_second,
        here,
        "`requests_per_second` of the profile",
    )
    yield Part(
        "hosts that there may be",
        "hosts",
        lambda one: one.hosts,
        hosts.most,
        f"{here}; a host answers {1_000 / RUN_MS * SLOTS:.0f} requests/s when it is full, and has "
        f"{Deployed(BASE).models_bytes / 1e9:.0f} GB for models",
        "`most` of the profile, and the account's quota of processors (EC2: Running On-Demand instances)",
    )


def _of_accounts() -> Iterator[Part]:
    here = "chalicelib/contract/limits.py"
    yield Part(
        "models of the busiest account",
        "models",
        lambda one: one.load.models * BUSIEST,
        limits.ACCOUNT_MODELS_MAX,
        here,
        "`MODELROCKET_ACCOUNT_MODELS`",
    )
    yield Part(
        "requests of the busiest account",
        "requests/s",
        lambda one: one.load.requests * BUSIEST,
        limits.ACCOUNT_REQUESTS_PER_SECOND,
        here,
        "`MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND`",
    )


def _of_lambda() -> Iterator[Part]:
    functions = Deployed(BASE).profile.functions
    account = QUOTAS["API Gateway, requests/s of an account"]
    each = QUOTAS["Lambda, requests/s of an environment"]
    secrets = QUOTAS["Secrets Manager, values/s"]
    yield Part(
        "calls of the function for inference",
        "requests/s",
        lambda one: one.load.requests,
        each.value * functions.inference,
        f"{each.source}: {each.value:.0f} requests/s x {functions.inference} reserved",
        "`inference` of the profile, and the account's quota; then the hosts' own door",
    )
    yield Part(
        "inferences in functions at once",
        "functions",
        lambda one: one.at_once,
        functions.inference,
        f"infra/aws/profiles.py; {Deployed(BASE).function_seconds * 1_000:.0f} ms each",
        "`inference` of the profile, and the account's quota; then the hosts' own door",
    )
    yield Part(
        "API Gateway of the account",
        "requests/s",
        lambda one: one.load.requests,
        account.value,
        account.source,
        "a quota that is raised; another account; the hosts' own door, which has none",
    )
    yield Part(
        "secrets asked for when all functions start at once",
        "values/s",
        lambda one: one.environments * _SECRETS,
        secrets.value,
        secrets.source,
        "nothing: no profile has so many environments",
    )


def _of_redis(measured: Measured) -> Iterator[Part]:
    hot = measured.hot
    memory, share = QUOTAS["cache.m7g.large, GiB"], QUOTAS["ElastiCache, share of memory for data"]
    wire, clients = QUOTAS["cache.m7g.large, Gbit/s for long"], QUOTAS["ElastiCache, connections of a node"]
    yield Part(
        "Redis: the processor that runs scripts",
        "µs/s",
        lambda one: _redis_us(measured, one),
        _MICRO,
        f"{MEASURED}: {hot.request_us:.0f} µs a request, {hot.beat_us:.0f} a heartbeat, "
        f"{hot.cold_host_us:.1f} a host where a model is cold",
        "a deployment more (a cell: its own accounts, Redis and hosts); or accounts' tag in tokens and keys, "
        "which a cluster can shard by (decision 2)",
    )
    yield Part(
        "Redis: what it sends",
        "Gbit/s",
        lambda one: one.load.requests * hot.request_bytes * _BITS / 1e9,
        wire.value,
        f"{wire.source}; {MEASURED}: {hot.request_bytes:,.0f} bytes a request",
        "a larger node",
    )
    yield Part(
        "Redis: memory",
        "GiB",
        lambda one: _redis_bytes(measured, one) / _GIB,
        memory.value * share.value,
        f"{memory.source}; {MEASURED}: {hot.model_bytes:,.0f} bytes a model with its token, "
        f"{hot.counted_bytes:,.0f} a key's minute",
        "a larger node",
    )
    yield Part(
        "Redis: connections",
        "connections",
        lambda one: (
            held(measured, one, lambda connections: connections.redis) + one.hosts * measured.host.redis
        ),
        clients.value,
        f"{clients.source}; {MEASURED}: {measured.inference.redis} a function, {measured.host.redis} a host",
        "a deployment more",
    )


def _redis_us(measured: Measured, one: Deployed) -> float:
    hot = measured.hot
    request = hot.request_us + COLD * one.hosts * hot.cold_host_us
    return one.load.requests * request + one.hosts / limits.HEARTBEAT_SECONDS * hot.beat_us


def _redis_bytes(measured: Measured, one: Deployed) -> float:
    hot = measured.hot
    counted = one.accounts_used * KEYS_USED * _USAGE_MINUTES * hot.counted_bytes
    return one.load.models * hot.model_bytes + one.hosts * hot.host_bytes + counted


def held(measured: Measured, one: Deployed, of_store: Callable[[Connections], int]) -> float:
    """Connections of all functions."""
    managing = one.environments - one.inference_environments - 1
    return (
        one.inference_environments * of_store(measured.inference)
        + managing * of_store(measured.management)
        + of_store(measured.coordinator)
    )


def _of_mongo(measured: Measured) -> Iterator[Part]:
    clients = QUOTAS["db.t4g.medium, connections"]
    yield Part(
        "DocumentDB: connections, where a deployment follows on an emptied Redis",
        "connections",
        lambda one: 2 * held(measured, one, lambda connections: connections.mongo),
        clients.value,
        f"{clients.source}; {MEASURED}: {measured.inference.mongo} a function that has asked it once, which "
        "those for inference do only while Redis is being filled; old and new ones are there together",
        "a larger instance (db.r6g.large: 3,400), or fewer functions at once",
    )


def _of_hosts(measured: Measured) -> Iterator[Part]:
    instances, gets = QUOTAS["ECS, instances of a cluster"], QUOTAS["S3, GETs/s of a prefix"]
    addresses = QUOTAS["subnets of hosts, addresses"]
    beside = Deployed(BASE).host_bytes - Deployed(BASE).models_bytes
    yield Part(
        "workers on a host: memory beside models",
        "GB",
        lambda one: one.accounts_used * 2 / one.hosts * measured.worker_mb / 1_000,
        beside / 1e9,
        f"infra/aws/stacks/hosts.py; {MEASURED}: {measured.worker_mb:.1f} MB an account, on two hosts each",
        "more hosts at least (`fewest`): nothing adds one for accounts; then counting workers as memory",
    )
    yield Part(
        "addresses in the subnets of hosts",
        "addresses",
        lambda one: one.hosts * _ADDRESSES,
        addresses.value,
        f"{addresses.source}; two a host, and as many in a deployment",
        "larger subnets, in a network made anew",
    )
    yield Part(
        "instances of the cluster",
        "instances",
        lambda one: one.hosts,
        instances.value,
        instances.source,
        "a deployment more",
    )
    yield Part(
        "S3 when all hosts start at once",
        "GETs/s",
        lambda one: one.hosts * limits.LOAD_SLOTS / LOAD_SECONDS,
        gets.value,
        f"{gets.source}; {limits.LOAD_SLOTS} loads at once on a host, {LOAD_SECONDS:g} s each (assumed)",
        "nothing: S3 splits what is asked for much, hosts try again, and keys begin with the account",
    )


def _of_the_coordinator(measured: Measured) -> Iterator[Part]:
    passes, last = measured.passes, measured.ticks[-1]
    share = _COORDINATOR_MIB / LAMBDA_MIB_PER_CPU
    own = "its memory in .chalice/config.json, which is its share of a processor too"
    yield Part(
        "coordinator: one pass of the planner",
        "s",
        lambda one: tick_seconds(measured, one.load.models) / share,
        _TICK_SECONDS,
        f"{MEASURED}: {last.cpu_seconds:.2f} s for {last.models:,} models on {last.hosts:,} hosts, on a "
        f"whole processor; it has {share:.0%} of one",
        f"{own} (1,769 MB: a whole one); then a deployment more",
    )
    yield Part(
        "coordinator: memory",
        "MB",
        lambda one: tick_megabytes(measured, one.load.models),
        _COORDINATOR_MIB * 2**20 / 1e6,
        f"{MEASURED}: {last.memory_mb:.0f} MB for {last.models:,} models, of the planner and its state alone",
        own,
    )
    yield Part(
        "coordinator: reading everything when it starts",
        "s",
        lambda one: one.load.models * _read_seconds(measured, share),
        _COORDINATOR_SECONDS,
        f"{MEASURED}: {passes.model_read_us:.0f} µs a model and {passes.token_read_us:.0f} a token beside "
        "the stores; it is ended after 90 s and would begin again",
        f"{own}; then keeping how far it came",
    )
    yield Part(
        "coordinator: writing a minute of usage down",
        "s",
        lambda one: one.accounts_used * _roll_up_seconds(measured),
        _TICK_SECONDS,
        f"{MEASURED}: {passes.rolled_up_us:.0f} µs an account and key beside the stores, and "
        f"{_ROLL_UP_TRIPS} round trips of {ROUND_TRIP_MS:g} ms (assumed) an account",
        "reading many accounts in one round trip; then a function of its own",
    )


def tick_seconds(measured: Measured, models: float) -> float:
    """Between and beyond the fleets that were measured, as between the two next to it."""
    return _along([(tick.models, tick.cpu_seconds) for tick in measured.ticks], models)


def tick_megabytes(measured: Measured, models: float) -> float:
    """A line through the smallest and the largest fleet."""
    first, last = measured.ticks[0], measured.ticks[-1]
    slope = (last.memory_mb - first.memory_mb) / (last.models - first.models)
    return max(first.memory_mb, first.memory_mb + slope * (models - first.models))


def _along(points: Sequence[tuple[float, float]], x: float) -> float:
    """Straight lines where both axes are logarithmic: powers."""
    place = next((at for at, point in enumerate(points[1:-1], start=1) if x <= point[0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[place - 1], points[place]
    power = math.log(y1 / y0) / math.log(x1 / x0)
    return float(y0 * (x / x0) ** power)


def _read_seconds(measured: Measured, share: float) -> float:
    """Of a model and its token. Less of a processor makes its own work longer, not what it waits for."""
    passes = measured.passes
    waited = passes.model_read_us - passes.model_read_cpu_us
    return (waited + passes.model_read_cpu_us / share + passes.token_read_us / share) / _MICRO


def _roll_up_seconds(measured: Measured) -> float:
    """Of an account's minute."""
    own = KEYS_USED * measured.passes.rolled_up_us / _MICRO
    return own + _ROLL_UP_TRIPS * ROUND_TRIP_MS / 1_000
