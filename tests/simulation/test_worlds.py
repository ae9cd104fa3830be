"""Whatever goes wrong, in whatever order: what a coordinator must never do, and that all is well in the end.

Every seed is a world of its own. MODELROCKET_WORLDS=2000 looks at more of them, MODELROCKET_WORLD=17 at one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from math import ceil
from typing import Final

import pytest

from chalicelib.coordinator.planner import Plan
from chalicelib.coordinator.state import FleetState
from chalicelib.records import Decision
from tests.simulation.world import BEAT_SECONDS, MEMORY_BYTES, SLOTS, Host, Killed, World
from tests.unit.coordinator.test_properties import (
    HOSTS_MAX,
    POLICY,
    bounded,
    careful,
    orderly,
    served,
    sticky,
)
from tests.unit.coordinator.worlds import active, applied, model

WORLDS: Final = int(os.environ.get("MODELROCKET_WORLDS", "40"))
SEEDS: Final = (
    [int(os.environ["MODELROCKET_WORLD"])] if "MODELROCKET_WORLD" in os.environ else range(1, WORLDS + 1)
)
STEPS: Final = 25
TICK_SECONDS: Final = 10.0
LATE_SECONDS: Final = 600.0
TICKS_TO_CONVERGE: Final = 150
TICKS_QUIET: Final = 40
WRITES_MAX: Final = 14
SILENT_TICKS: Final = 14
IDLE_SECONDS_MAX: Final = 20 * 60.0


def stays(state: FleetState, made: Plan) -> set[str]:
    """Hosts that were to leave and stay after all: what is asked for no longer has them on top."""
    left = {*made.memory.leaving, *made.memory.ending}
    return {
        host.host_id for host in state.hosts if state.memory and host.host_id in state.memory.leaving
    } - left


class Run:
    """One world, and what is checked of it at every step."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        views = [
            model(
                f"m{number}",
                memory_bytes=self.chance.choice([10, 100, 300]),
                pinned=self.chance.random() < 0.2,
            )
            for number in range(1, self.chance.randint(3, 8))
        ]
        self.world = World(views, POLICY, hosts=self.chance.randint(0, 4))
        self.world.show = self.look
        self.coordinator = self.world.coordinator()
        self.heals: list[Callable[[], None]] = []
        self.story: list[str] = []

    # Each tick.

    def look(self, state: FleetState, made: Plan) -> None:
        after = applied(state, made)
        served(made, after)
        if not stays(state, made):
            careful(state, made, after)
        sticky(state, made, after)
        bounded(state, made, after)
        orderly(state, made)

    def tick(self) -> Decision | None:
        copies, epoch = self.copies(), self.world.store.standing().epoch
        decision = self.coordinator.tick()
        assert self.world.store.standing().epoch >= epoch
        self.kept(copies)
        return decision

    def copies(self) -> dict[str, set[str]]:
        """Model ids that are asked for or pinned, each with the living hosts that are assigned it."""
        names = {host.name for host in self.world.serving()}
        held = self.world.hot.assignments(sorted(names))
        return {
            view.model_id: {name for name in names if view.active.version_id in held[name]}
            for view in self.world.models.views()
            if view.pinned or self.world.demand.get(view.model_id)
        }

    def kept(self, before: dict[str, set[str]]) -> None:
        """No model in use loses its last copy, wherever a tick ended."""
        wish = self.world.hot.capacity_wish()
        ending = set(wish.ending if wish else ())
        for model_id, copies in self.copies().items():
            assert copies or not before.get(model_id, set()) - ending, f"{model_id} lost its last copy"

    # What happens.

    def step(self) -> None:
        what = self.chance.choice(self.EVENTS)
        self.story.append(f"{self.world.now:.0f} {what.__name__}")
        what(self)
        if self.heals and self.chance.random() < 0.5:
            self.heals.pop(self.chance.randrange(len(self.heals)))()
        self.world.go_on(self.chance.choice([BEAT_SECONDS, TICK_SECONDS, TICK_SECONDS, 3 * TICK_SECONDS]))
        self.tick()

    def calm(self) -> None:
        pass

    def demand(self) -> None:
        for view in self.world.models.views():
            if self.chance.random() < 0.5:
                self.world.demand[view.model_id] = self.chance.choice([0.0, 0.0, 0.1, 1.0, 3.0, 9.0])

    def crash(self) -> None:
        if self.world.hosts:
            name = self.chance.choice(sorted(self.world.hosts))
            self.world.crash(name, gone_seconds=self.chance.choice([1.0, 30.0]))

    def crash_all(self) -> None:
        for name in sorted(self.world.hosts):
            self.world.crash(name, gone_seconds=30.0)

    def flap(self) -> None:
        if self.world.hosts:
            name = self.chance.choice(sorted(self.world.hosts))
            for _ in range(4):
                if name in self.world.hosts:
                    self.world.crash(name)
                self.world.go_on(5 * BEAT_SECONDS)
                self.tick()

    def hang(self) -> None:
        host = self._host()
        if host is not None and not host.hangs:
            host.hangs = True
            self.heals.append(lambda: self.world.go_on_after_hanging(host))

    def mute(self) -> None:
        host = self._host()
        if host is not None:
            host.mute = True
            self.heals.append(lambda: setattr(host, "mute", False))

    def mute_all(self) -> None:
        for host in self.world.hosts.values():
            host.mute = True
            self.heals.append(lambda host=host: setattr(host, "mute", False))  # type: ignore[misc]

    def say_nothing(self) -> None:
        """Hosts that are busy say that they live, and for minutes not with what: they are not idle."""
        for host in self.world.hosts.values():
            host.silent = True
        for _ in range(SILENT_TICKS):
            self.world.go_on(3 * TICK_SECONDS)
            self.tick()
        for host in self.world.hosts.values():
            host.silent = False

    def provider_away(self) -> None:
        self._provider("away", True, False)

    def provider_starts_nothing(self) -> None:
        self._provider("starts_nothing", True, False)

    def provider_slow(self) -> None:
        self._provider("boot_seconds", 60.0, self.world.provider.boot_seconds)

    def provider_starts_too_many(self) -> None:
        """Those it started beyond what it was told it ends itself."""
        self.world.provider.starts_too_many = True
        self.heals.append(self.world.end_surplus)

    def provider_starts_too_few(self) -> None:
        self._provider("too_few", 1, 0)

    def flush(self) -> None:
        self.world.hot.flush()

    def new_coordinator(self) -> None:
        self.coordinator = self.world.coordinator()

    def twice(self) -> None:
        """The second tick of the same moment, by another coordinator, has nothing to do."""
        self.tick()
        self.new_coordinator()
        self.tick()

    def late(self) -> None:
        self.world.go_on(LATE_SECONDS)

    def die(self) -> None:
        """Before any of a tick's writes."""

        def killed() -> None:
            raise Killed

        copies = self.copies()
        with self.world.interrupted(self.chance.randint(1, WRITES_MAX), killed):
            try:
                self.coordinator.tick()
            except Killed:
                self.coordinator = self.world.coordinator()
        self.kept(copies)

    def overlap(self) -> None:
        """It is stopped before any of a tick's writes, and goes on when another has had its turn.

        Where its own turn had begun it changes nothing; else it has a new one, with all that it sees now.
        """
        other, after, epoch = self.world.coordinator(), None, 0

        def overtaken() -> None:
            nonlocal after, epoch
            self.world.go_on(2 * TICK_SECONDS)
            decision = other.tick()
            assert decision is not None
            after, epoch = (self.world.hot.written(), self.world.store.standing().decisions), decision.epoch

        with self.world.interrupted(self.chance.randint(1, WRITES_MAX), overtaken):
            decision = self.coordinator.tick()
        if after is not None and (decision is None or decision.epoch <= epoch):
            assert after == (self.world.hot.written(), self.world.store.standing().decisions)

    EVENTS = (
        calm,
        demand,
        demand,
        demand,
        crash,
        crash_all,
        flap,
        hang,
        mute,
        mute_all,
        say_nothing,
        provider_away,
        provider_starts_nothing,
        provider_slow,
        provider_starts_too_many,
        provider_starts_too_few,
        flush,
        new_coordinator,
        twice,
        late,
        die,
        die,
        overlap,
        overlap,
    )

    def _host(self) -> Host | None:
        return self.world.hosts[self.chance.choice(sorted(self.world.hosts))] if self.world.hosts else None

    def _provider(self, name: str, value: object, healed: object) -> None:
        setattr(self.world.provider, name, value)
        self.heals.append(lambda: setattr(self.world.provider, name, healed))

    # In the end.

    def heal(self) -> None:
        while self.heals:
            self.heals.pop()()

    def converge(self) -> None:
        """Until nothing is planned any more for a while, and what is there is what should be."""
        quiet = 0
        for _ in range(TICKS_TO_CONVERGE):
            self.world.go_on(3 * TICK_SECONDS)
            decision = self.tick()
            quiet = quiet + 1 if decision is not None and not decision.actions else 0
            if quiet == TICKS_QUIET:
                return
        raise AssertionError(f"still planning after {TICKS_TO_CONVERGE} ticks: {decision}")

    def is_well(self) -> None:
        wish, status = self.world.hot.capacity_wish(), self.world.hot.capacity_status()
        assert status is not None
        wanted = wish.hosts if wish else len(status.running)  # a flushed wish is told again when it changes
        assert set(status.running) == {host.name for host in self.world.serving()}, (
            "all that run are heard of"
        )
        assert {beat.host_id for beat in self.world.hot.hosts()[1]} == set(status.running), "and no other"
        surplus = len(status.running) - wanted
        # What runs beyond the wish is its provider's to end: it is named only when the fleet shrinks further.
        assert 0 <= surplus <= len(self.world.unasked), "as many run as are wanted"
        provider = self.world.provider
        assert provider.started - provider.stopped == len(status.running)
        assert min(HOSTS_MAX, self.load() / SLOTS) <= wanted <= self.needed(), "as many as are needed"
        for model_id, copies in self.copies().items():
            loaded = {host.name for host in self.world.serving() if active(model_id) in host.loaded}
            assert copies and copies <= loaded, f"{model_id} is where it is to be"

    def load(self) -> float:
        return sum(self.world.demand.values())

    def needed(self) -> int:
        """Hosts for the load, or for the memory of what is in use, and one at least."""
        scaling, placement = POLICY.scaling, POLICY.placement
        used = 0
        for view in self.world.models.views():
            asked = self.world.demand.get(view.model_id, 0.0)
            if asked or view.pinned:
                copies = max(1, ceil(asked / (placement.utilisation * SLOTS)))
                used += view.active.memory_bytes * copies
        by_load = ceil(self.load() / (scaling.target_utilisation * SLOTS))
        by_memory = ceil(used / (scaling.memory_utilisation_max * MEMORY_BYTES))
        return min(HOSTS_MAX, max(scaling.hosts_min, by_load, by_memory))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fleet_survives(seed: int) -> None:
    run = Run(seed)
    try:
        for _ in range(STEPS):
            run.step()
        run.heal()
        run.converge()
        run.is_well()
    except AssertionError as error:
        error.add_note(f"MODELROCKET_WORLD={seed}\n" + "\n".join(run.story))
        raise


def busy(concurrency: float) -> World:
    """One model under this load, on as many hosts as that takes, an hour on."""
    world = World([model("m1", memory_bytes=10)], POLICY, hosts=1)
    world.demand["m1"] = concurrency
    run_for(world, 3600.0)
    return world


def run_for(world: World, seconds: float) -> list[Decision]:
    coordinator, made = world.coordinator(), []
    until = world.now + seconds
    while world.now < until:
        world.go_on(TICK_SECONDS)
        decision = coordinator.tick()
        assert decision is not None
        made.append(decision)
    return made


def wanted(world: World) -> int:
    wish = world.hot.capacity_wish()
    return wish.hosts if wish else len(world.hosts)


def test_l7_more_than_the_fleet_can_take_is_answered_with_hosts_in_the_next_tick() -> None:
    world = busy(1.0)
    assert wanted(world) == 1
    world.demand["m1"] = 3 * SLOTS
    run_for(world, TICK_SECONDS)
    assert wanted(world) > 1


def test_l7_a_fleet_that_nobody_asks_anything_is_at_its_least_within_twenty_minutes() -> None:
    world = busy(3 * SLOTS)
    assert wanted(world) > 3
    world.demand.clear()
    run_for(world, IDLE_SECONDS_MAX)
    assert wanted(world) == POLICY.scaling.hosts_min
    assert len(world.hosts) == POLICY.scaling.hosts_min


def test_busy_hosts_that_do_not_say_with_what_are_kept() -> None:
    world = busy(3 * SLOTS)
    before = wanted(world)
    for host in world.hosts.values():
        host.silent = True
    run_for(world, IDLE_SECONDS_MAX)
    assert (wanted(world), len(world.hosts)) == (before, before)
