"""The autoscaler's decisions as timelines: load over time, hosts over time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import pytest

from chalicelib.coordinator.scaling import FleetLoad, ScalingDecision, ScalingMemory, ScalingPolicy, scale
from chalicelib.coordinator.windows import LoadSample

SLOTS = 8.0
GIB = 2**30
POLICY = ScalingPolicy(hosts_min=1, hosts_max=1000, target_utilisation=0.75)
"""6 requests in flight fill a host."""
SLOW = msgspec.structs.replace(POLICY, down_delay_seconds=300)


@dataclass
class World:
    """A fleet whose hosts serve at once when they are asked for, unless `stuck`."""

    policy: ScalingPolicy = POLICY
    hosts: int = 1
    ready: int = 1
    now: float = 1000.0
    stuck: bool = False
    memory: ScalingMemory | None = None

    def tick(self, concurrency: float, *, seconds: float = 10.0, **changes: object) -> ScalingDecision:
        """One decision `seconds` later; the rest of the fleet's load by name."""
        self.now += seconds
        load = FleetLoad(
            now=self.now,
            samples=(LoadSample(self.now, concurrency),),
            slots_per_host=SLOTS,
            hosts_ready=self.ready,
            hosts_desired=self.hosts,
        )
        decision = scale(replace(load, **changes), self.memory, self.policy)  # type: ignore[arg-type]
        self.hosts, self.memory = decision.hosts, decision.memory
        if not self.stuck:
            self.ready = self.hosts
        return decision

    def ticks(self, concurrency: float, *, seconds: float, every: float = 10.0) -> list[int]:
        """The hosts after each tick of so many seconds."""
        return [self.tick(concurrency, seconds=every).hosts for _ in range(int(seconds / every))]

    def settled(self, concurrency: float) -> World:
        """At this load for so long that nothing is remembered but it."""
        self.ticks(concurrency, seconds=1200)
        return self


def test_a_steady_load_has_the_hosts_its_requests_fill() -> None:
    world = World().settled(60)
    decision = world.tick(60)
    assert decision.hosts == 10
    assert decision.reasons[0] == ("60.0 requests in flight over the last 60 s need 10 at 75% of 8 slots")


def test_a_load_that_doubles_is_met_by_the_short_window_at_the_next_tick() -> None:
    world = World().settled(60)
    decision = world.tick(120)
    assert decision.hosts == 20
    assert "over the last 10 s, in panic," in decision.reasons[0]


def test_what_will_be_worked_off_in_time_counts_for_little() -> None:
    """300 wait, but 400 begin every second and take a fifth of one: 80 slots, and a moment's patience."""
    load = replace(_load(hosts=14), samples=(LoadSample(10.0, 380.0, waiting=300.0, begun=400.0),))
    assert scale(load, None, POLICY).hosts == 14


def test_what_waits_for_long_runs_counts_as_a_slot_each() -> None:
    load = replace(_load(hosts=14), samples=(LoadSample(10.0, 380.0, waiting=300.0, begun=4.0),))
    assert scale(load, None, POLICY).hosts == 14 + POLICY.up_hosts_max


@pytest.mark.parametrize(
    ("hosts", "most"),
    [
        pytest.param(0, 30, id="30 more"),
        pytest.param(3, 33, id="30 more than a few"),
        pytest.param(30, 60, id="twice"),
        pytest.param(100, 200, id="twice as many as many"),
    ],
)
def test_growth_is_bounded_by_the_step(hosts: int, most: int) -> None:
    world = World(hosts=hosts, ready=hosts)
    decision = world.tick(1e6)
    assert decision.hosts == most
    assert decision.reasons[-1] == f"at most {most} within 10 s of {hosts}"
    assert world.ticks(1e6, seconds=8, every=2) == [most] * 4
    assert world.tick(1e6, seconds=2).hosts == min(max(2 * most, most + 30), POLICY.hosts_max)


def test_no_host_goes_within_five_minutes_of_one_added_while_the_load_stays() -> None:
    """What had to wait is worked off, and more hosts are there than it takes."""
    world = World().settled(120)
    crowded = LoadSample(world.now + 10, 240.0, waiting=120.0, begun=1.0)
    assert world.tick(0, samples=(crowded,)).hosts == 40
    assert set(world.ticks(120, seconds=290)) == {40}
    assert "none goes within 300 s of one added at this load" in world.tick(120, seconds=1).reasons[-1]
    assert world.ticks(120, seconds=200)[-1] == 20


def test_hosts_go_a_minute_after_the_load_has_fallen() -> None:
    world = World().settled(60)
    assert set(world.ticks(120, seconds=60)) == {20}
    assert min(world.ticks(30, seconds=60)) > 15
    assert world.ticks(30, seconds=130)[-1] == 5


def test_hosts_shrink_only_to_the_most_that_was_wanted_within_the_delay() -> None:
    world = World(SLOW).settled(120)
    world.ticks(60, seconds=200)
    world.ticks(90, seconds=90)
    assert world.hosts == 20
    shrunk = world.ticks(30, seconds=260)
    assert min(shrunk) == 15
    assert world.ticks(30, seconds=300)[-1] == 5


def test_at_most_half_goes_within_a_minute() -> None:
    world = World(hosts=100, ready=100)
    assert set(world.ticks(0, seconds=300)) == {100}
    assert [world.ticks(0, seconds=60) for _ in range(7)] == [
        [hosts] * 6 for hosts in (50, 25, 13, 7, 4, 2, 1)
    ]


@pytest.mark.parametrize("hosts_min", [0, 1, 7])
def test_without_demand_the_floor_is_reached_within_twenty_minutes(hosts_min: int) -> None:
    world = World(msgspec.structs.replace(POLICY, hosts_min=hosts_min), hosts=1000, ready=1000)
    assert world.ticks(0, seconds=1200)[-1] == hosts_min


def test_nothing_goes_in_panic() -> None:
    """Half of the hosts do not come, and the load fills those that do."""
    world = World().settled(120)
    world.stuck, world.ready = True, 10
    assert set(world.ticks(60, seconds=900)) == {20}
    assert "none goes in panic, last 0 s ago" in world.tick(60).reasons
    world.ready = 20
    assert world.ticks(60, seconds=70)[-1] == 10


def test_an_unknown_load_holds() -> None:
    world = World().settled(120)
    for _ in range(100):
        decision = world.tick(0, known=False)
    assert decision.hosts == 20
    assert decision.reasons == ("the load is not known, so the hosts stay as they are",)


def test_after_an_unknown_load_hosts_stay_for_another_five_minutes() -> None:
    world = World(SLOW).settled(120)
    world.ticks(12, seconds=250)
    world.tick(0, known=False)
    assert set(world.ticks(12, seconds=290)) == {20}
    assert world.ticks(12, seconds=10) == [10]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"samples": ()}, id="no sample"),
        pytest.param({"samples": (LoadSample(0.0, 0.0),)}, id="an old sample"),
        pytest.param({"samples": (LoadSample(1e9, 0.0),)}, id="a sample of the future"),
        pytest.param({"slots_per_host": 0.0}, id="hosts of no known size"),
    ],
)
def test_what_cannot_be_reckoned_with_is_unknown(changes: dict[str, object]) -> None:
    load = replace(_load(hosts=9, now=1000.0), **changes)  # type: ignore[arg-type]
    assert scale(load, None, POLICY).hosts == 9


def test_the_floor_needs_no_measurement() -> None:
    decision = scale(replace(_load(hosts=0), known=False), None, msgspec.structs.replace(POLICY, hosts_min=3))
    assert decision.hosts == 3


@pytest.mark.parametrize(("concurrency", "hosts"), [(0, 20), (180, 30)])
def test_a_lost_memory_lets_hosts_come_but_not_go(concurrency: float, hosts: int) -> None:
    world = World().settled(120)
    world.memory = None
    assert world.tick(concurrency).hosts == hosts
    assert set(world.ticks(0, seconds=290)) == {hosts}
    assert min(world.ticks(0, seconds=200)) < hosts


def test_a_clock_that_goes_back_is_a_lost_memory() -> None:
    world = World(SLOW).settled(120)
    world.ticks(0, seconds=250)
    world.now -= 10_000
    assert set(world.ticks(0, seconds=300)) == {20}
    world.now -= 10_000
    assert world.tick(180).hosts == 30


@pytest.mark.parametrize(("concurrency", "hosts"), [(0.0, 20), (6e6, 50)])
def test_the_first_tick_after_ten_minutes_takes_a_bounded_step(concurrency: float, hosts: int) -> None:
    world = World().settled(120)
    assert world.tick(concurrency, seconds=600).hosts == hosts


def test_hosts_that_do_not_start_are_not_asked_for_again() -> None:
    world = World(stuck=True)
    asked = world.ticks(60, seconds=600)
    assert asked[-1] == 10
    assert max(asked) == 10


def test_models_in_use_must_fit_in_the_fleet() -> None:
    world = World().settled(6)
    decision = world.tick(6, memory_bytes_hot=41 * GIB, memory_bytes_per_host=10 * GIB)
    assert decision.hosts == 6
    assert decision.reasons == ("41.0 GiB of models in use need 6 at 80% of 10.0 GiB",)


def test_a_long_boot_is_met_by_the_trend() -> None:
    """From 60 on by 1 a second: what is in flight when a host asked for now has booted."""
    worlds = [World(msgspec.structs.replace(POLICY, boot_seconds=boot)).settled(60) for boot in (20.0, 120.0)]
    for world in worlds:
        for step in range(1, 7):
            decision = world.tick(60 + 10 * step)
    short, long = (world.hosts for world in worlds)
    assert short == 20
    assert long == 32
    assert "expected when a host has booted, in 120 s" in decision.reasons[0]


def test_noise_is_no_trend() -> None:
    world = World(msgspec.structs.replace(POLICY, boot_seconds=120.0)).settled(60)
    for number in range(60):
        world.tick(60 + 3 * (-1) ** number)
    assert world.hosts <= 11


def test_people_are_told_when_it_is_the_floor_or_the_ceiling() -> None:
    policy = msgspec.structs.replace(POLICY, hosts_min=2, hosts_max=4)
    idle, busy = World(policy, hosts=2).settled(0), World(policy).settled(600)
    assert idle.tick(0).reasons[1:] == ("the floor is 2",)
    assert busy.tick(600).reasons[1:] == ("the ceiling is 4",)


def test_the_ceiling_holds_and_a_fleet_above_it_shrinks_by_steps_at_once() -> None:
    world = World(msgspec.structs.replace(POLICY, hosts_max=12)).settled(600)
    assert world.hosts == 12
    world.policy = msgspec.structs.replace(POLICY, hosts_max=4)
    assert world.tick(600).hosts == 6
    assert world.ticks(600, seconds=60)[-1] == 4


def _load(*, hosts: int, now: float = 10.0) -> FleetLoad:
    return FleetLoad(now, (LoadSample(now, 0.0),), SLOTS, hosts_ready=hosts, hosts_desired=hosts)


@pytest.mark.parametrize(
    "text",
    [
        '{"hosts_mx": 3}',
        '{"hosts_min": 5, "hosts_max": 3}',
        '{"hosts_min": -1}',
        '{"target_utilisation": 1.5}',
        '{"panic_seconds": 0}',
        '{"stable_seconds": "long"}',
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ScalingPolicy)


def test_a_policy_may_name_one_number_only() -> None:
    assert msgspec.json.decode('{"hosts_max": 3}', type=ScalingPolicy) == ScalingPolicy(hosts_max=3)
