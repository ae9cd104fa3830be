"""The simulated fleet does what a plain account of every request says; nobody beats foresight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.fleet import SLOTS, Seen, load_of, simulate
from benchmarks.simulation.foresight import paid_by_second
from benchmarks.simulation.traces import Demand
from chalicelib.contract import limits

SECONDS = 90


@dataclass
class Scripted:
    """So many hosts, whatever happens; keeps what it was shown."""

    script: list[int]
    tick_seconds: int = 5
    seen: Seen = field(default_factory=Seen)

    def hosts(self, seen: Seen) -> int:
        self.seen = seen
        return self.script[seen.now // self.tick_seconds % len(self.script)]


@dataclass
class Plain:
    """Every request by itself: when it came, how long it runs. Runs are whole seconds."""

    unserved: int = 0
    late: int = 0
    in_flight: list[int] = field(default_factory=list)

    def play(self, demand: Demand, hosts: list[int]) -> None:
        waiting: list[tuple[int, int]] = []
        ends: list[int] = []
        requests = list(zip(demand.second.tolist(), demand.service.astype(int).tolist(), strict=True))
        for now in range(demand.seconds):
            ends = [end for end in ends if end > now]
            given_up = [one for one in waiting if now - one[0] >= limits.DEADLINE_SECONDS_DEFAULT]
            waiting = [*waiting[len(given_up) :], *(one for one in requests if one[0] == now)]
            room = max(hosts[now] * SLOTS - len(ends), 0)
            begun, waiting = waiting[:room], waiting[room:]
            kept = [one for one in waiting if one[0] < now]
            space = max(limits.TENANT_QUEUE_MAX * hosts[now] - len(kept), 0)
            new = [one for one in waiting if one[0] == now]
            waiting = kept + new[:space]
            self.unserved += len(given_up) + len(new[space:])
            self.late += sum(now - came > 1 for came, _ in begun)
            ends += [now + runs for _, runs in begun]
            self.in_flight.append(len(ends) + len(waiting))


def demand_of(requests: list[tuple[int, int]], *, seconds: int = SECONDS) -> Demand:
    """Requests as pairs of the second they come in and the seconds they run."""
    came, runs = np.array(sorted(requests), dtype=np.int64).reshape(-1, 2).T
    return Demand("drawn", seconds, came, runs.astype(np.float64))


def bursts() -> st.SearchStrategy[list[tuple[int, int]]]:
    """Clumps of alike requests."""
    clump = st.tuples(st.integers(0, SECONDS - 1), st.integers(1, 25), st.sampled_from([1, 5, 30, 600]))
    clumps = st.lists(clump, min_size=1, max_size=8)
    return clumps.map(lambda drawn: [(came, runs) for came, runs, many in drawn for _ in range(many)])


@given(bursts(), st.lists(st.integers(0, 6), min_size=1, max_size=18))
def test_requests_wait_run_and_are_given_up_as_in_a_plain_account(
    requests: list[tuple[int, int]], script: list[int]
) -> None:
    demand, scripted = demand_of(requests), Scripted(script)
    outcome = simulate(load_of(demand), scripted, boot_seconds=0, hosts_at_first=script[0])
    hosts = [script[now // scripted.tick_seconds % len(script)] for now in range(SECONDS)]
    plain = Plain()
    plain.play(demand, hosts)
    assert scripted.seen.in_flight == plain.in_flight
    assert (int(outcome.unserved.sum()), outcome.late) == (plain.unserved, plain.late)
    assert outcome.paid.tolist() == hosts


def test_a_part_of_a_second_takes_a_part_of_a_slot() -> None:
    demand = Demand("halves", 10, np.zeros(16, np.int64), np.full(16, 2.5))
    scripted = Scripted([2], tick_seconds=1)
    simulate(load_of(demand), scripted, boot_seconds=0, hosts_at_first=2)
    assert scripted.seen.in_flight[:5] == [16, 16, 8, 0, 0]


def test_a_host_is_paid_while_it_boots_and_serves_when_it_has() -> None:
    """Asked for in second 5, ready in second 12."""
    demand = demand_of([(11, 2)] * SLOTS + [(12, 2)] * SLOTS, seconds=40)
    outcome = simulate(load_of(demand), Scripted([1]), boot_seconds=7, hosts_at_first=0)
    assert outcome.paid.tolist() == [0] * 5 + [1] * 35
    assert {second: int(lost) for second, lost in enumerate(outcome.unserved) if lost} == {11: SLOTS}


def test_the_youngest_that_boot_are_the_first_to_go() -> None:
    """3 asked for in second 5, 2 more in second 10, 4 told to go in second 15: one comes, in second 17."""
    demand = demand_of([(16, 1), (17, 1)], seconds=40)
    outcome = simulate(load_of(demand), Scripted([0, 3, 5, 1, 1, 1, 1, 1]), boot_seconds=12, hosts_at_first=0)
    assert outcome.paid.tolist() == [0] * 5 + [3] * 5 + [5] * 5 + [1] * 25
    assert np.flatnonzero(outcome.unserved).tolist() == [16]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=7), st.integers(0, 4))
def test_no_schedule_that_serves_at_once_is_cheaper_than_foresight(need: list[int], boot: int) -> None:
    before = boot + 1
    demanded = [0] * before + need
    paid = paid_by_second(np.array(demanded) * float(SLOTS), slots=SLOTS, boot_seconds=boot, hosts_min=0)
    assert int(paid.sum()) == min(_costs(need, boot))


def _costs(need: list[int], boot: int) -> Iterator[int]:
    """What every schedule of ready hosts costs that is never short: its seconds, and a boot for each rise."""
    for ready in product(range(3), repeat=len(need)):
        if all(hosts >= needed for hosts, needed in zip(ready, need, strict=True)):
            rises = sum(max(now - last, 0) for last, now in zip((0, *ready), ready, strict=False))
            yield sum(ready) + boot * rises
