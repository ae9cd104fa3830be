"""`routing`: how long requests take when gateways choose by what they see, and when one place sees all.

The choice is `chalicelib.contract.choice`, the health `chalicelib.contract.health`. The hot state is as the
scripts of `chalicelib.contract.hotstate.admission` keep it. Whatever crosses the network takes its time: what
a gateway sees is half a round trip old when it chooses, and others see its lease half a round trip later.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation import traces as public
from benchmarks.simulation.experiment import Cell, Experiment, Goal, Plot, Series, Table
from chalicelib.contract.choice import Weigh, destinations
from chalicelib.contract.health import Ejections
from chalicelib.contract.hotstate.admission import Latency, RouteView
from chalicelib.contract.messages import (
    Heartbeat,
    HostState,
    ModelRecord,
    Passport,
    Replica,
    ReplicaState,
    Signature,
    VersionRecord,
)

SEED: Final = 20_191
LOADS: Final = (0.5, 0.7, 0.8, 0.9)
JUDGED: Final = (0.7, 0.8)
P99_MAX: Final = 1.3
SHARE_MAX: Final = 1 / 3
SERVICE_SECONDS: Final = 0.05
"""The mean of every law of service times, at a host of full speed."""
LATENCY_SECONDS: Final = 5.0
"""Of the moving average, as in `hotstate.admission`."""
_REQUESTS: Final = 30_000
_QUICK_REQUESTS: Final = 4_000
_WARMING: Final = 0.1
"""Of all requests, the first ones are not counted."""
_SLOW_AFTER_SECONDS: Final = 20.0
_DRAINED_SECONDS: Final = 10.0
_WATCHED_SECONDS: Final = 20.0
_QUANTILES: Final = (0.5, 0.99, 0.999)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """Hosts with slots and a queue each; `slowness` multiplies service times, from `slow_after` on.

    `round_trips`: seconds from a gateway to the hot state, or a host, and back: the least and the most.
    """

    slowness: tuple[float, ...] = (3.0, *(1.0,) * 7)
    slots: int = 4
    gateways: int = 4
    round_trips: tuple[float, float] = (0.0005, 0.002)
    slow_after: float = 0.0

    @property
    def capacity(self) -> float:
        """Requests in a second, by the mean service time."""
        return sum(self.slots / slow for slow in self.slowness) / SERVICE_SECONDS


@dataclass(frozen=True, slots=True)
class Work:
    """Request i comes at `arrivals[i]` and runs `services[i]` seconds on a host of full speed."""

    arrivals: list[float]
    services: list[float]


@dataclass(frozen=True, slots=True)
class Seen:
    """Where each request went, and how long it took its caller; in order of arrival."""

    hosts: tuple[int, ...]
    seconds: Floats

    def quantiles(self) -> tuple[float, ...]:
        counted = self.seconds[int(_WARMING * len(self.seconds)) :]
        return tuple(float(value) for value in np.quantile(counted, _QUANTILES))


class Chooser(Protocol):
    """One gateway's way to choose. `delayed`: it asks the hot state first, which takes a round trip."""

    delayed: bool

    def choose(self, look: Look, *, now: float) -> int: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one round trip shows, and for oracles what is: requests at each host, waiting or running."""

    at: float
    leases: tuple[int, ...]
    latencies: Mapping[tuple[str, str], Latency]
    exact: Sequence[int]
    heartbeats: Sequence[int]


class Simulation:
    """One world, one law of choosing, one list of requests."""

    def __init__(self, world: World, work: Work, choosers: Sequence[Chooser], *, seed: int) -> None:
        self._world, self._work, self._choosers = world, work, choosers
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = count()
        self._now = 0.0
        hosts = len(world.slowness)
        self._present = [0] * hosts
        self._queues: list[list[tuple[int, float]]] = [[] for _ in range(hosts)]
        self._heads = [0] * hosts
        self._leases = [0] * hosts
        self._latencies: dict[tuple[str, str], Latency] = {}
        self._heartbeats = [0] * hosts
        self._went = [0] * len(work.arrivals)
        self._took = np.zeros(len(work.arrivals))
        self._left = len(work.arrivals)

    def run(self) -> Seen:
        self._at(0.0, self._heartbeat)
        self._at(self._work.arrivals[0], self._arrive, 0)
        while self._left:
            self._now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        return Seen(tuple(self._went), self._took)

    def _at(self, when: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (when, next(self._number), act, arguments))

    def _half_trip(self) -> float:
        return self._random.uniform(*self._world.round_trips) / 2

    def _heartbeat(self) -> None:
        self._heartbeats = list(self._present)
        self._at(self._now + 1.0, self._heartbeat)

    def _arrive(self, number: int) -> None:
        if number + 1 < len(self._work.arrivals):
            self._at(self._work.arrivals[number + 1], self._arrive, number + 1)
        if self._choosers[number % len(self._choosers)].delayed:
            self._at(self._now + self._half_trip(), self._look, number)
        else:
            self._choose(number, self._shown())

    def _look(self, number: int) -> None:
        self._at(self._now + self._half_trip(), self._choose, number, self._shown())

    def _shown(self) -> Look:
        return Look(self._now, tuple(self._leases), dict(self._latencies), self._present, self._heartbeats)

    def _choose(self, number: int, look: Look) -> None:
        host = self._choosers[number % len(self._choosers)].choose(look, now=self._now)
        self._went[number] = host
        self._at(self._now + self._half_trip(), self._lease, host, 1)
        self._at(self._now + self._half_trip(), self._begin, number, host, self._now)

    def _lease(self, host: int, change: int) -> None:
        self._leases[host] += change

    def _begin(self, number: int, host: int, sent: float) -> None:
        self._present[host] += 1
        if self._present[host] <= self._world.slots:
            self._serve(number, host, sent)
        else:
            self._queues[host].append((number, sent))

    def _serve(self, number: int, host: int, sent: float) -> None:
        slow = self._world.slowness[host] if self._now >= self._world.slow_after else 1.0
        self._at(self._now + slow * self._work.services[number], self._end, number, host, sent)

    def _end(self, number: int, host: int, sent: float) -> None:
        self._present[host] -= 1
        queue, head = self._queues[host], self._heads[host]
        if head < len(queue):
            self._heads[host] += 1
            self._serve(*(queue[head][0], host, queue[head][1]))
        self._at(self._now + self._half_trip(), self._answer, number, host, sent)

    def _answer(self, number: int, host: int, sent: float) -> None:
        self._left -= 1
        self._took[number] = self._now - self._work.arrivals[number]
        self._at(self._now + self._half_trip(), self._release, host, self._now - sent)

    def _release(self, host: int, seconds: float) -> None:
        self._leases[host] -= 1
        key = (VERSION.version_id, _host_id(host))
        self._latencies[key] = averaged(self._latencies.get(key), seconds, now=self._now)


def averaged(old: Latency | None, seconds: float, *, now: float) -> Latency:
    """What the release script of `hotstate.admission` makes of one more measurement."""
    if old is not None:
        kept = math.exp(-abs(now - old.at) / LATENCY_SECONDS)
        seconds = old.seconds * kept + seconds * (1 - kept)
    return Latency(seconds, now)


def _host_id(number: int) -> str:
    return f"host-{number}"


VERSION: Final = VersionRecord(
    version_id="version",
    model_id="model",
    tenant="tenant",
    number=1,
    sha256="",
    bytes=0,
    object_key="",
    signature=Signature((), ()),
    passport=Passport(
        load_ms=0.0, load_cold_ms=0.0, run_ms=1000 * SERVICE_SECONDS, memory_bytes=0, bytes_anonymous=0
    ),
)


class Gateway:
    """The real choice: the better of two by requests in flight and measured latency."""

    delayed = True

    def __init__(self, world: World, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._ejections = Ejections(self._random)
        ids = [_host_id(number) for number in range(len(world.slowness))]
        self._hosts = tuple(_heartbeat(host_id) for host_id in ids)
        self._ids = ids
        self._numbers = {host_id: number for number, host_id in enumerate(ids)}
        self._replicas = tuple(
            (VERSION.version_id, Replica(host.host_id, host.boot_id, ReplicaState.READY))
            for host in self._hosts
        )
        self._model = ModelRecord(VERSION.model_id, VERSION.tenant, 1, active=VERSION)

    def choose(self, look: Look, *, now: float) -> int:
        view = RouteView(
            now=look.at,
            token=None,
            model=self._model,
            hosts=self._hosts,
            replicas=self._replicas,
            in_flight=dict(zip(self._ids, look.leases, strict=True)),
            latency=look.latencies,
        )
        kept = self._ejections.kept(self._ids, now=now)
        weigh = Weigh(self._random, lambda host_id: self._ejections.share(host_id, now=now))
        hosts = [host for host in self._hosts if host.host_id in kept]
        return self._numbers[destinations(view, VERSION, hosts=hosts, weigh=weigh)[0].host_id]


def _heartbeat(host_id: str) -> Heartbeat:
    return Heartbeat(
        host_id=host_id,
        boot_id=f"boot-{host_id}",
        address="127.0.0.1",
        port=1,
        state=HostState.READY,
        memory_bytes_max=0,
        memory_bytes_used=0,
        in_flight=0,
        versions_ready=1,
    )


class Central:
    """The oracle: one place that sees what is, without delay, and knows how slow each host is."""

    delayed = False

    def __init__(self, world: World, *, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)

    def choose(self, look: Look, *, now: float) -> int:
        slow = self._world.slowness if now >= self._world.slow_after else (1.0,) * len(look.exact)
        waits = [
            factor * (1 + max(0, present + 1 - self._world.slots) / self._world.slots)
            for factor, present in zip(slow, look.exact, strict=True)
        ]
        return _least(waits, self._random)


class LeastLoaded:
    """By what hosts said last, up to a second ago."""

    delayed = False

    def __init__(self, world: World, *, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, look: Look, *, now: float) -> int:
        return _least(look.heartbeats, self._random)


class BestOfTwo:
    """Requests in flight alone, as of the same round trip."""

    delayed = True

    def __init__(self, world: World, *, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, look: Look, *, now: float) -> int:
        first, second = self._random.sample(range(len(look.leases)), 2)
        return first if look.leases[first] <= look.leases[second] else second


class AtRandom:
    delayed = False

    def __init__(self, world: World, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._hosts = len(world.slowness)

    def choose(self, look: Look, *, now: float) -> int:
        return self._random.randrange(self._hosts)


class RoundRobin:
    delayed = False

    def __init__(self, world: World, *, seed: int) -> None:
        self._hosts = len(world.slowness)
        self._next = seed % self._hosts

    def choose(self, look: Look, *, now: float) -> int:
        self._next = (self._next + 1) % self._hosts
        return self._next


def _least(values: Sequence[float], chance: random.Random) -> int:
    least = min(values)
    return chance.choice([number for number, value in enumerate(values) if value == least])


OURS, ORACLE = "gateways", "central JSQ"
CHOOSERS: Final[Mapping[str, Callable[..., Chooser]]] = {
    OURS: Gateway,
    ORACLE: Central,
    "best of two": BestOfTwo,
    "least loaded, 1 s old": LeastLoaded,
    "round robin": RoundRobin,
    "random": AtRandom,
}


def simulate(world: World, work: Work, name: str, *, seed: int = SEED) -> Seen:
    """What becomes of these requests if all gateways choose like this."""
    count_of = 1 if name == ORACLE else world.gateways
    choosers = [CHOOSERS[name](world, seed=seed + number) for number in range(count_of)]
    return Simulation(world, work, choosers, seed=seed).run()


def poisson(world: World, services: Floats, *, load: float, seed: int = SEED) -> Work:
    """Arrivals at `load` of what the world can do; `services` have mean `SERVICE_SECONDS`."""
    gaps = np.random.default_rng(seed).exponential(1 / (load * world.capacity), len(services))
    return Work(np.cumsum(gaps).tolist(), services.tolist())


def laws(folder: Path, requests: int) -> Mapping[str, Floats]:
    """Service times, each of mean `SERVICE_SECONDS`. Raises TraceMissing."""
    chance = np.random.default_rng(SEED)
    bimodal = np.where(chance.random(requests) < _LONG_SHARE, _LONG, 1.0)
    found = {"exponential": chance.exponential(1.0, requests), "bimodal": bimodal}
    for name, trace in _TRACES.items():
        measured = trace.load(folder, public.Shape()).service
        found[name] = chance.choice(measured, requests)
    return {name: SERVICE_SECONDS * values / values.mean() for name, values in found.items()}


_LONG_SHARE, _LONG = 0.1, 10.0
_TRACES: Final[Mapping[str, public.Trace]] = {
    "LLM conversation": public.Tokens("conversation", "azure_llm_2023_conv.csv", 1.0),
    "functions": public.Functions(
        "functions",
        "azure_functions_2019_invitro1350_inv.csv",
        "azure_functions_2019_invitro1350_run.csv",
        1.0,
    ),
}

Results = Mapping[tuple[str, float], Mapping[str, Seen]]


def run(traces: Path, *, quick: bool) -> Experiment:
    """All choosers over all loads and laws of service; with `quick` fewer requests and two loads."""
    world = World()
    services = laws(traces, _QUICK_REQUESTS if quick else _REQUESTS)
    found: Results = {
        (law, load): {name: simulate(world, poisson(world, values, load=load), name) for name in CHOOSERS}
        for law, values in services.items()
        for load in (JUDGED if quick else LOADS)
    }
    shares = {load: drained_share(load) for load in JUDGED}
    return Experiment(
        name="routing",
        question="How much longer do requests take than if one place saw every host as it is?",
        tables=(*(_table(found, at) for at in range(len(_QUANTILES))), _milliseconds(found), _share(shares)),
        goals=tuple(_goals(found, shares)),
        plots=() if quick else (_plot(found),),
        notes=_NOTES,
    )


_NOTES: Final = (
    "Eight hosts of four slots, the first of which takes three times as long; four gateways; round trips of "
    "0.5 to 2 ms; load is of what all hosts together can do. Service times have a mean of "
    f"{1000 * SERVICE_SECONDS:.0f} ms in every law; bimodal: one in ten takes ten times as long.",
    "Central JSQ sees every host as it is, without a round trip, and knows how slow each is: it sends to "
    "where the mean wait and run is least. Best of two goes by requests in flight alone.",
    "No request times out or is tried again, and hosts fail none: health ejects nobody.",
    "Share: of requests in 10 s that begin 10 s after a host became three times slower, over an eighth.",
)


def drained_share(load: float) -> float:
    """Of its fair share, what a host gets that has been three times slower for `_DRAINED_SECONDS`."""
    world = World(slow_after=_SLOW_AFTER_SECONDS)
    begin, end = _SLOW_AFTER_SECONDS + _DRAINED_SECONDS, _SLOW_AFTER_SECONDS + _WATCHED_SECONDS
    requests = int(load * world.capacity * (end + 1))
    services = np.random.default_rng(SEED).exponential(SERVICE_SECONDS, requests)
    work = poisson(world, services, load=load)
    seen = simulate(world, work, OURS)
    went = Counter(host for host, at in zip(seen.hosts, work.arrivals, strict=True) if begin <= at < end)
    return went[0] / went.total() * len(world.slowness)


def _table(found: Results, at: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (law, load), outcomes in found.items():
        least = outcomes[ORACLE].quantiles()[at]
        ratios = [round(seen.quantiles()[at] / least, 2) for name, seen in outcomes.items() if name != ORACLE]
        rows.append((law, f"{load:.0%}", *ratios))
    columns = ("service", "load", *(name for name in CHOOSERS if name != ORACLE))
    return Table(f"p{100 * _QUANTILES[at]:g} by that of {ORACLE}", columns, tuple(rows))


def _milliseconds(found: Results) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            law,
            f"{load:.0%}",
            *(round(1000 * value, 1) for name in (OURS, ORACLE) for value in outcomes[name].quantiles()),
        )
        for (law, load), outcomes in found.items()
    ]
    heads = [f"{name} p{100 * quantile:g}" for name in (OURS, ORACLE) for quantile in _QUANTILES]
    return Table("Milliseconds", ("service", "load", *heads), tuple(rows))


def _share(shares: Mapping[float, float]) -> Table:
    rows = tuple((f"{load:.0%}", round(share, 3)) for load, share in shares.items())
    return Table("A host that became three times slower", ("load", "of its fair share"), rows)


def _goals(found: Results, shares: Mapping[float, float]) -> Iterator[Goal]:
    for (law, load), outcomes in found.items():
        if load in JUDGED:
            ratio = outcomes[OURS].quantiles()[1] / outcomes[ORACLE].quantiles()[1]
            yield Goal(
                f"p99 by central JSQ's, {law}, {load:.0%}",
                round(ratio, 3),
                f"at most {P99_MAX}",
                ratio <= P99_MAX,
            )
    for load, share in shares.items():
        yield Goal(
            f"share of a slow host after 10 s, {load:.0%}", round(share, 3), "at most 1/3", share <= SHARE_MAX
        )


def _plot(found: Results) -> Plot:
    law = "exponential"
    series = tuple(
        Series(
            name,
            tuple(
                (100 * load, 1000 * outcomes[name].quantiles()[1])
                for (of, load), outcomes in found.items()
                if of == law
            ),
        )
        for name in CHOOSERS
        if name not in ("random", "round robin")
    )
    return Plot("routing-p99", f"p99 with one slow host, {law} service", "load, %", "ms", series)
