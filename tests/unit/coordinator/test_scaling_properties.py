"""What the autoscaler never does, whatever the load, the ticks and the provider do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.coordinator.scaling import FleetLoad, ScalingDecision, ScalingMemory, ScalingPolicy, scale
from chalicelib.coordinator.windows import LoadSample

POLICY = ScalingPolicy(hosts_min=1, hosts_max=500)
MEMORY_BYTES_MAX = 8192


@dataclass(frozen=True, slots=True)
class Tick:
    """`ready`: the share of the hosts asked for that serve."""

    seconds: float
    concurrency: float
    waiting: float
    begun: float
    ready: float
    known: bool


@dataclass(frozen=True, slots=True)
class Decided:
    load: FleetLoad
    before: ScalingMemory | None
    decision: ScalingDecision


levels = st.one_of(st.just(0.0), st.floats(0, 50), st.floats(0, 20_000))
ticks = st.builds(
    Tick,
    seconds=st.sampled_from([0.25, 1.0, 2.0, 10.0, 10.0, 10.0, 60.0, 400.0]),
    concurrency=levels,
    waiting=st.floats(0, 1),
    begun=st.sampled_from([0.0, 0.0, 5.0, 1000.0]),
    ready=st.sampled_from([0.0, 0.5, 1.0, 1.0]),
    known=st.sampled_from([True, True, True, False]),
)
days = st.lists(ticks, max_size=40)
policies = st.builds(
    ScalingPolicy,
    hosts_min=st.integers(0, 5),
    hosts_max=st.integers(5, 400),
    boot_seconds=st.sampled_from([20.0, 120.0]),
    target_utilisation=st.sampled_from([0.5, 0.7, 0.9]),
)


def lived(day: list[Tick], policy: ScalingPolicy = POLICY, *, hosts: int = 3) -> Iterator[Decided]:
    """The decisions of a day; the provider is told each of them. The memory passes through JSON."""
    memory, now = None, 50_000.0
    for tick in day:
        now += tick.seconds
        sample = LoadSample(now, tick.concurrency, tick.waiting * tick.concurrency, tick.begun)
        load = FleetLoad(now, (sample,), 8.0, int(tick.ready * hosts), hosts, known=tick.known)
        decision = scale(load, memory, policy)
        yield Decided(load, memory, decision)
        memory = msgspec.json.decode(msgspec.json.encode(decision.memory), type=ScalingMemory)
        hosts = decision.hosts


@given(days, policies)
def test_it_never_leaves_the_floor_and_the_ceiling(day: list[Tick], policy: ScalingPolicy) -> None:
    for one in lived(day, policy, hosts=policy.hosts_min):
        assert policy.hosts_min <= one.decision.hosts <= policy.hosts_max


@given(days)
def test_steps_are_bounded(day: list[Tick]) -> None:
    changes = [(one.load.now, one.load.hosts_desired, one.decision.hosts) for one in lived(day)]
    for number, (started, before, _) in enumerate(changes):
        for now, _, after in changes[number:]:
            if now - started < POLICY.up_step_seconds:
                assert after <= max(2 * before, before + POLICY.up_hosts_max)
            if now - started < POLICY.down_step_seconds:
                assert after >= before - max(before // 2, 1)


@given(days)
def test_no_host_goes_within_five_minutes_of_an_unknown_load(day: list[Tick]) -> None:
    since = 50_000.0
    for one in lived(day):
        assert one.decision.hosts >= one.load.hosts_desired or one.load.now - since >= 300
        if not one.load.known:
            since = one.load.now


@given(days, st.floats(1, 500))
def test_at_a_constant_load_no_host_goes_within_five_minutes_of_one_added(
    day: list[Tick], concurrency: float
) -> None:
    """However much waits meanwhile."""
    constant = [
        replace(tick, concurrency=concurrency / (1 - min(tick.waiting, 0.9)), waiting=min(tick.waiting, 0.9))
        for tick in day
    ]
    since = -1e9
    for one in lived(constant):
        assert one.decision.hosts >= one.load.hosts_desired or one.load.now - since >= 300
        if one.decision.hosts > one.load.hosts_desired:
            since = one.load.now


@given(days)
def test_an_unknown_load_changes_nothing(day: list[Tick]) -> None:
    for one in lived(day):
        assert one.load.known or one.decision.hosts == one.load.hosts_desired


@given(days, policies)
def test_asked_again_it_says_the_same(day: list[Tick], policy: ScalingPolicy) -> None:
    for one in lived(day, policy):
        told = replace(one.load, hosts_desired=one.decision.hosts)
        again = scale(told, one.decision.memory, policy)
        assert again.hosts == one.decision.hosts
        assert scale(replace(told, samples=()), again.memory, policy).hosts == one.decision.hosts
        assert again.memory == one.decision.memory


@given(days, st.floats(0, 1000))
def test_more_load_never_means_fewer_hosts(day: list[Tick], more: float) -> None:
    for one in lived(day):
        sample = one.load.samples[0]
        raised = msgspec.structs.replace(sample, concurrency=sample.concurrency + more)
        heavier = scale(replace(one.load, samples=(raised,)), one.before, POLICY)
        assert heavier.hosts >= one.decision.hosts


@given(days, st.floats(1, 3), st.floats(0, 1), st.sampled_from([0.0, 5.0, 1000.0]))
def test_a_fleet_that_is_full_for_ten_seconds_grows(
    day: list[Tick], full: float, waiting: float, begun: float
) -> None:
    """However much of what is beyond its slots will be worked off soon."""
    for one in lived(day):
        now, hosts = one.load.now + 10, one.decision.hosts
        running = 8.0 * hosts
        sample = LoadSample(now, running * full, waiting * running * (full - 1), begun)
        load = FleetLoad(now, (sample,), 8.0, hosts_ready=hosts, hosts_desired=hosts)
        assert hosts == POLICY.hosts_max or scale(load, one.decision.memory, POLICY).hosts > hosts


@given(days)
def test_a_capacity_provider_that_was_not_told_is_told_the_same_number(day: list[Tick]) -> None:
    """The pass died between deciding and telling: the next one asks for no more on top."""
    for one in lived(day):
        again = scale(one.load, one.decision.memory, POLICY)
        assert again.hosts == one.decision.hosts


@settings(max_examples=8)
@given(st.lists(ticks, min_size=1, max_size=4), st.sampled_from([0.01, 0.3, 1.1, 7.0]))
def test_the_memory_stays_small(day: list[Tick], seconds: float) -> None:
    """However often it is asked: some 600 ticks of a load that never settles."""
    often = [replace(day[number % len(day)], seconds=seconds) for number in range(600)]
    often = [replace(tick, concurrency=tick.concurrency + number) for number, tick in enumerate(often)]
    sizes = [len(msgspec.json.encode(one.decision.memory)) for one in lived(often)]
    assert max(sizes) < MEMORY_BYTES_MAX
