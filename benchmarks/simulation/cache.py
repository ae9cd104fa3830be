"""`cache`: seconds of loading under the host's own cache, the usual policies, and one that knows the future.

Requests are those of Azure Functions; bytes are the trace's, and loading takes what models of so many bytes
were measured to take. Virtual time: a load takes none, so that all policies see the same requests; a request
that the host's cache refuses comes again when it was told to, and what it waits is counted.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.simulation.experiment import Cell, Experiment, Goal, Plot, Series, Table
from benchmarks.simulation.traces import Floats, Ints, is_minute, rows_of
from host_container.cache import Cache, Item, Refused

SEED: Final = 20_191
CAPACITIES: Final = (0.1, 0.2, 0.3, 0.5)
"""Of the bytes of all functions."""
JUDGED_AT: Final = 0.3
BELADY_MAX: Final = 1.6
LRU_MAX: Final = 1.05
LOAD_SECONDS: Final = 0.00088
LOAD_SECONDS_PER_BYTE: Final = 2.33e-9
"""Least squares through 55 measured models: load and own memory of the passports in docs/benchmarks.md."""
_HOUR: Final = 3600
_MINUTE: Final = 60
_QUICK_MINUTES: Final = 90
_MB: Final = 1_000_000
_RETRIES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Trace:
    """Files of counts per minute and of memory, joined by the column `key`."""

    name: str
    counts: str
    memory: str
    key: str


TRACES: Final = (
    Trace(
        "1,350 functions, a day",
        "azure_functions_2019_invitro1350_inv.csv",
        "azure_functions_2019_invitro1350_mem.csv",
        "HashApp",
    ),
    Trace(
        "500 functions, 8 hours",
        "azure_functions_2019_dirigent500_invocations.csv",
        "azure_functions_2019_dirigent500_memory.csv",
        "HashFunction",
    ),
)


@dataclass(frozen=True, slots=True)
class Requests:
    """In order of `times`, in seconds. `bytes` and `seconds` of load are by function."""

    functions: list[int]
    times: list[float]
    bytes: list[int]
    seconds: list[float]

    @property
    def bytes_total(self) -> int:
        return sum(self.bytes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`loads`: times and seconds of each. `waited`: seconds that refused requests waited besides."""

    loads: tuple[tuple[float, float], ...]
    refused: int = 0
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """What requests waited because something was not there."""
        return sum(seconds for _, seconds in self.loads) + self.waited

    def by_hour(self, hours: int) -> list[float]:
        found = [0.0] * hours
        for at, seconds in self.loads:
            found[min(hours - 1, int(at // _HOUR))] += seconds
        return found


Policy = Callable[[Requests, int], Outcome]


def run(traces: Path, *, quick: bool) -> Experiment:
    """All policies on both traces; with `quick` the first hour and a half, at two capacities."""
    capacities = (JUDGED_AT, 0.5) if quick else CAPACITIES
    found: dict[tuple[str, float], Mapping[str, Outcome]] = {}
    bounds: dict[tuple[str, float], float] = {}
    hours = {}
    for trace in TRACES:
        requests = read(traces, trace, minutes_max=_QUICK_MINUTES if quick else None)
        hours[trace.name] = int(requests.times[-1] // _HOUR) + 1
        for share in capacities:
            bytes_max = int(requests.bytes_total * share)
            found[trace.name, share] = {name: ask(requests, bytes_max) for name, ask in POLICIES.items()}
            bounds[trace.name, share] = lower_bound(requests, bytes_max)
    judged = TRACES[0].name, JUDGED_AT
    return Experiment(
        name="cache",
        question="How much more loading do requests wait for than if the host knew what comes next?",
        tables=(_seconds(found, bounds), _ratios(found), _regret(found[judged], hours[judged[0]])),
        goals=tuple(_goals(found)),
        plots=(_plot(found[judged], hours[judged[0]]),),
        notes=_NOTES,
    )


_NOTES: Final = (
    "Capacity is a share of the bytes of all functions. Cold seconds are the load times of all misses, and "
    "what requests waited that found no room because of the churn guard.",
    f"A load takes {1000 * LOAD_SECONDS:.2f} ms and {1e9 * LOAD_SECONDS_PER_BYTE:.2f} ms for each MB: a line "
    "through the measured loads and memory of 55 models (docs/benchmarks.md, passports).",
    "Arrivals are drawn uniformly in their minute with a fixed seed. Runs take no time: nothing is pinned.",
    "Belady: whatever is used last next, times bytes / load time, goes first. With sizes the best offline "
    "schedule is NP-hard to find; this one must hold what it runs, as a host must. The bound is below any "
    "schedule: bytes x requests that holding something until its next use takes, the best of them first, as "
    "long as they fit on average (PFOO-L; Berger, Beckmann and Harchol-Balter, 2018).",
)


def read(folder: Path, trace: Trace, *, minutes_max: int | None = None) -> Requests:
    """Raises TraceMissing."""
    sizes = {row[trace.key]: float(row["AverageAllocatedMb"]) for row in rows_of(folder / trace.memory)}
    counts, bytes_of = [], []
    for row in rows_of(folder / trace.counts):
        by_minute = [int(float(value or 0)) for name, value in row.items() if is_minute(name)]
        counts.append(by_minute[:minutes_max])
        bytes_of.append(max(1, int(sizes[row[trace.key]] * _MB)))
    return drawn(np.array(counts, dtype=np.int64), bytes_of)


def drawn(counts: Ints, bytes_of: list[int]) -> Requests:
    """Requests of counts [function, minute]."""
    functions, minutes = np.nonzero(counts)
    each = counts[functions, minutes]
    offsets = np.random.default_rng(SEED).random(int(each.sum())) * _MINUTE
    times = np.repeat(minutes * float(_MINUTE), each) + offsets
    order = np.argsort(times, kind="stable")
    return Requests(
        functions=np.repeat(functions, each)[order].tolist(),
        times=times[order].tolist(),
        bytes=bytes_of,
        seconds=[LOAD_SECONDS + LOAD_SECONDS_PER_BYTE * size for size in bytes_of],
    )


def host(requests: Requests, bytes_max: int) -> Outcome:
    """`host_container.cache`, as replicas of a host use it."""
    return _Host(requests, bytes_max).outcome()


class _Host:
    def __init__(self, requests: Requests, bytes_max: int) -> None:
        self._requests = requests
        self._cache = Cache(bytes_max)
        self._items = [
            Item(str(number), bytes=size, cost_seconds=seconds)
            for number, (size, seconds) in enumerate(zip(requests.bytes, requests.seconds, strict=True))
        ]
        self._again: list[tuple[float, int, int]] = []
        self._loads: list[tuple[float, float]] = []
        self._refused = 0
        self._waited = 0.0

    def outcome(self) -> Outcome:
        for function, now in zip(self._requests.functions, self._requests.times, strict=True):
            self._come_back_until(now)
            self._ask(function, now, 0)
        self._come_back_until(math.inf)
        return Outcome(tuple(self._loads), self._refused, self._waited)

    def _come_back_until(self, end: float) -> None:
        while self._again and self._again[0][0] <= end:
            at, tries, function = heapq.heappop(self._again)
            self._ask(function, at, tries)

    def _ask(self, function: int, now: float, tries: int) -> None:
        item = self._items[function]
        if item.key not in self._cache:
            try:
                self._cache.reserve(item, now=now)
            except Refused as error:
                self._refuse(function, now, tries, error)
                return
            self._cache.commit(item.key, now=now)
            self._loads.append((now, item.cost_seconds))
        self._cache.use(item.key, now=now)

    def _refuse(self, function: int, now: float, tries: int, error: Refused) -> None:
        self._refused += 1
        if error.retry_after is not None and tries < _RETRIES_MAX:
            self._waited += error.retry_after
            heapq.heappush(self._again, (now + error.retry_after, tries + 1, function))


def least_recently_used(requests: Requests, bytes_max: int) -> Outcome:
    held: OrderedDict[int, None] = OrderedDict()
    used, loads = 0, []
    for function, now in zip(requests.functions, requests.times, strict=True):
        if function in held:
            held.move_to_end(function)
            continue
        loads.append((now, requests.seconds[function]))
        used += requests.bytes[function]
        while used > bytes_max:
            used -= requests.bytes[held.popitem(last=False)[0]]
        held[function] = None
    return Outcome(tuple(loads))


def least_frequently_used(requests: Requests, bytes_max: int) -> Outcome:
    """By all requests so far; of equals the one that was loaded first goes."""
    held: dict[int, None] = {}
    asked: Counter[int] = Counter()
    used, loads = 0, []
    for function, now in zip(requests.functions, requests.times, strict=True):
        asked[function] += 1
        if function in held:
            continue
        loads.append((now, requests.seconds[function]))
        used += requests.bytes[function]
        while used > bytes_max:
            victim = min(held, key=asked.__getitem__)
            del held[victim]
            used -= requests.bytes[victim]
        held[function] = None
    return Outcome(tuple(loads))


def at_random(requests: Requests, bytes_max: int) -> Outcome:
    chance = random.Random(SEED)
    held: list[int] = []
    there: set[int] = set()
    used, loads = 0, []
    for function, now in zip(requests.functions, requests.times, strict=True):
        if function in there:
            continue
        loads.append((now, requests.seconds[function]))
        used += requests.bytes[function]
        while used > bytes_max:
            drawn_at = chance.randrange(len(held))
            held[drawn_at], held[-1] = held[-1], held[drawn_at]
            victim = held.pop()
            there.discard(victim)
            used -= requests.bytes[victim]
        held.append(function)
        there.add(function)
    return Outcome(tuple(loads))


def belady(requests: Requests, bytes_max: int) -> Outcome:
    """What is next used last goes first, weighed by the bytes that it frees for each second of load."""
    following = next_uses(requests.functions).tolist()
    weights = np.array(requests.bytes) / np.array(requests.seconds)
    held = np.full(len(requests.bytes), -np.inf)  # when it is used next
    used, loads = 0, []
    for number, (function, now) in enumerate(zip(requests.functions, requests.times, strict=True)):
        if held[function] == -np.inf:
            loads.append((now, requests.seconds[function]))
            used += requests.bytes[function]
            scores = (held - number) * weights if used > bytes_max else held
            while used > bytes_max:
                victim = int(scores.argmax())
                used -= requests.bytes[victim]
                held[victim] = scores[victim] = -np.inf
        held[function] = following[number]
    return Outcome(tuple(loads))


def lower_bound(requests: Requests, bytes_max: int) -> float:
    """Seconds of load that no schedule gets below."""
    functions = np.array(requests.functions)
    following = next_uses(requests.functions)
    seconds, sizes = np.array(requests.seconds), np.array(requests.bytes, dtype=np.float64)
    again = np.isfinite(following)
    held_for = following[again] - np.flatnonzero(again)
    taken, gained = held_for * sizes[functions[again]], seconds[functions[again]]
    order = np.argsort(taken / gained, kind="stable")
    filled = np.cumsum(taken[order])
    room = float(bytes_max) * len(functions)
    whole = int(np.searchsorted(filled, room, side="right"))
    saved = float(gained[order][:whole].sum())
    if whole < len(order):
        before = filled[whole - 1] if whole else 0.0
        saved += float(gained[order][whole] * (room - before) / taken[order][whole])
    return float(seconds[functions].sum()) - saved


def next_uses(functions: list[int]) -> Floats:
    """Of each request: the number of the next one for the same function; infinite if it is the last."""
    asked = np.array(functions)
    order = np.argsort(asked, kind="stable")
    same = asked[order][1:] == asked[order][:-1]
    found = np.full(len(asked), np.inf)
    found[order[:-1][same]] = order[1:][same]
    return found


HOST, LRU, BELADY = "host", "LRU", "Belady"
POLICIES: Final[Mapping[str, Policy]] = {
    HOST: host,
    LRU: least_recently_used,
    "LFU": least_frequently_used,
    "random": at_random,
    BELADY: belady,
}


Found = Mapping[tuple[str, float], Mapping[str, Outcome]]


def _seconds(found: Found, bounds: Mapping[tuple[str, float], float]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            f"{share:.0%}",
            *(round(outcome.seconds) for outcome in outcomes.values()),
            round(bounds[name, share]),
            outcomes[HOST].refused,
        )
        for (name, share), outcomes in found.items()
    ]
    columns = ("trace", "capacity", *POLICIES, "bound", "refused by the host")
    return Table("Cold seconds", columns, tuple(rows))


def _ratios(found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (name, share), outcomes in found.items():
        ours = outcomes[HOST].seconds
        others = [round(ours / outcome.seconds, 3) for other, outcome in outcomes.items() if other != HOST]
        rows.append((name, f"{share:.0%}", *others))
    columns = ("trace", "capacity", *(f"host / {name}" for name in POLICIES if name != HOST))
    return Table("Cold seconds of the host, by those of others", columns, tuple(rows))


def _regret(outcomes: Mapping[str, Outcome], hours: int) -> Table:
    best = outcomes[BELADY].by_hour(hours)
    regrets = [
        [seconds - least for seconds, least in zip(outcomes[name].by_hour(hours), best, strict=True)]
        for name in (HOST, LRU)
    ]
    rows = tuple(
        (hour + 1, round(best[hour], 1), *(round(regret[hour], 1) for regret in regrets))
        for hour in range(hours)
    )
    title = f"Regret by hour: cold seconds beyond Belady's, {TRACES[0].name}, {JUDGED_AT:.0%}"
    return Table(title, ("hour", BELADY, f"{HOST}, beyond", f"{LRU}, beyond"), rows)


def _goals(found: Found) -> Iterator[Goal]:
    for trace in TRACES:
        outcomes = found[trace.name, JUDGED_AT]
        value = outcomes[HOST].seconds / outcomes[BELADY].seconds
        yield Goal(
            f"cold seconds by Belady's, {trace.name}, {JUDGED_AT:.0%}",
            round(value, 3),
            f"at most {BELADY_MAX}",
            value <= BELADY_MAX,
        )
    worst = max(outcomes[HOST].seconds / outcomes[LRU].seconds for outcomes in found.values())
    yield Goal(
        "cold seconds by LRU's, the worst of all", round(worst, 3), f"at most {LRU_MAX}", worst <= LRU_MAX
    )


def _plot(outcomes: Mapping[str, Outcome], hours: int) -> Plot:
    series = [
        Series(name, tuple((float(hour), seconds) for hour, seconds in enumerate(outcome.by_hour(hours))))
        for name, outcome in outcomes.items()
    ]
    title = f"Cold seconds by hour, {TRACES[0].name}, {JUDGED_AT:.0%} of all bytes"
    return Plot("cache-hours", title, "hour", "seconds of load", tuple(series))
