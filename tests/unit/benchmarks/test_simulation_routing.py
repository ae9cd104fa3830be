"""The routing experiment against what queueing theory says, and against itself."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.simulation.routing import (
    CHOOSERS,
    LATENCY_SECONDS,
    ORACLE,
    OURS,
    SERVICE_SECONDS,
    SHARE_MAX,
    VERSION,
    Gateway,
    Look,
    Simulation,
    Work,
    World,
    averaged,
    drained_share,
    poisson,
    simulate,
)
from chalicelib.contract.hotstate import admission
from chalicelib.contract.hotstate.admission import Latency

AT_ONCE = (0.0, 0.0)


def exponential(world: World, *, load: float, requests: int) -> Work:
    services = np.random.default_rng(5).exponential(SERVICE_SECONDS, requests)
    return poisson(world, services, load=load)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_one_host_of_one_slot_is_an_m_m_1_queue(load: float) -> None:
    world = World(slowness=(1.0,), slots=1, gateways=1, round_trips=AT_ONCE)
    seen = simulate(world, exponential(world, load=load, requests=40_000), "random")
    assert seen.seconds.mean() == pytest.approx(SERVICE_SECONDS / (1 - load), rel=0.05)


def test_hosts_chosen_at_random_are_m_m_1_queues_each() -> None:
    world = World(slowness=(1.0,) * 4, slots=1, gateways=2, round_trips=AT_ONCE)
    seen = simulate(world, exponential(world, load=0.5, requests=40_000), "random")
    assert seen.seconds.mean() == pytest.approx(SERVICE_SECONDS / (1 - 0.5), rel=0.05)


def test_a_slow_host_alone_takes_as_many_times_longer() -> None:
    world = World(slowness=(3.0,), slots=1, gateways=1, round_trips=AT_ONCE)
    seen = simulate(world, Work([0.0, 10.0], [0.05, 0.1]), "random")
    assert seen.seconds.tolist() == pytest.approx([0.15, 0.3])


def test_what_finds_all_slots_taken_waits_its_turn() -> None:
    world = World(slowness=(1.0,), slots=2, gateways=1, round_trips=AT_ONCE)
    seen = simulate(world, Work([0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 1.0, 1.0]), "random")
    assert seen.seconds.tolist() == pytest.approx([1.0, 2.0, 2.0, 3.0])


def test_a_request_pays_for_the_round_trips_it_makes() -> None:
    world = World(slowness=(1.0,), slots=1, gateways=1, round_trips=(0.01, 0.01))
    work = Work([0.0], [1.0])
    assert simulate(world, work, ORACLE).seconds.tolist() == pytest.approx([1.01])
    with_look = World(slowness=(1.0, 1.0), slots=1, gateways=1, round_trips=(0.01, 0.01))
    assert simulate(with_look, work, OURS).seconds.tolist() == pytest.approx([1.02])


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_nobody_does_better_than_who_sees_everything(load: float) -> None:
    world = World()
    work = exponential(world, load=load, requests=4_000)
    mean = {name: simulate(world, work, name).seconds.mean() for name in CHOOSERS}
    assert min(mean, key=mean.__getitem__) == ORACLE
    assert mean[OURS] < mean["round robin"]


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    world = World()
    work = exponential(world, load=0.7, requests=500)
    first, again, other = (simulate(world, work, OURS, seed=seed) for seed in (1, 1, 2))
    assert first.hosts == again.hosts and first.seconds.tolist() == again.seconds.tolist()
    assert first.hosts != other.hosts


def test_gateways_choose_by_leases_and_measured_latency() -> None:
    world = World(slowness=(1.0, 1.0))

    def went(leases: tuple[int, int], *seconds: float) -> Counter[int]:
        latencies = {
            (VERSION.version_id, f"host-{number}"): Latency(taken, 0.0)
            for number, taken in enumerate(seconds)
        }
        look = Look(0.0, leases, latencies, exact=(9, 9), heartbeats=(9, 9))
        gateway = Gateway(world, seed=1)
        return Counter(gateway.choose(look, now=0.0) for _ in range(20))

    assert went((3, 1), 0.05, 0.05) == {1: 20}
    assert went((1, 3), 0.05, 0.05) == {0: 20}
    assert went((1, 1), 0.15, 0.05) == {1: 20}
    assert went((1, 3), 0.15, 0.05) == {1: 20}
    assert went((0, 3), 0.15, 0.05) == {0: 20}


class Watching:
    """Sends everything to the first host, and remembers what it saw."""

    delayed = True

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def choose(self, look: Look, *, now: float) -> int:
        self.looks.append(look)
        return 0


def test_gateways_see_leases_while_requests_are_under_way_and_latency_once_they_are_over() -> None:
    watching = Watching()
    world = World(slowness=(1.0, 1.0), slots=1, gateways=1)
    Simulation(world, Work([0.0, 0.5, 10.0], [1.0, 1.0, 1.0]), [watching], seed=1).run()
    assert [look.leases for look in watching.looks] == [(0, 0), (1, 0), (0, 0)]
    assert [len(look.latencies) for look in watching.looks] == [0, 0, 1]
    assert [look.heartbeats[0] for look in watching.looks] == [0, 0, 0]


def test_of_two_that_come_at_once_neither_sees_the_other() -> None:
    watching = Watching()
    world = World(slowness=(1.0, 1.0), gateways=1)
    Simulation(world, Work([0.0, 0.0], [1.0, 1.0]), [watching], seed=1).run()
    assert [look.leases for look in watching.looks] == [(0, 0), (0, 0)]


def test_the_moving_average_is_that_of_the_hot_state() -> None:
    assert LATENCY_SECONDS == admission._LATENCY_SECONDS
    first = averaged(None, 0.2, now=10.0)
    assert first == Latency(0.2, 10.0)
    much_later = averaged(first, 0.1, now=1_000.0)
    assert much_later.seconds == pytest.approx(0.1)
    at_once = averaged(first, 0.1, now=10.0)
    assert at_once.seconds == 0.2


def test_f30_a_host_that_becomes_slow_is_drained_within_ten_seconds() -> None:
    assert drained_share(0.7) <= SHARE_MAX
