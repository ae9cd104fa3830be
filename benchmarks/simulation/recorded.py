"""Days that a coordinator recorded: decided again, and played through under other circumstances.

To replay is to give every recorded state to the planner once more and to compare what it says with what
was done, bit for bit. To ask what if is to let the recorded demand flow through a fleet in virtual time
(`world`). What callers asked is known as far as it was counted: of requests that hosts answered, the
slots they filled; of those that found no host, how many there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import msgspec

from benchmarks.simulation.world import Machine, Offered, Outcome, World
from chalicelib.coordinator.planner import Policy, plan
from chalicelib.coordinator.state import FleetState, ModelDemand, ModelView
from chalicelib.decisions import Tick

_MILLI: Final = 1e-3
_GAP_SECONDS_MAX: Final = 60.0
"""A coordinator that said nothing for longer was away; nothing is known of that time."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """`different`: ids of decisions that come out otherwise now."""

    ticks: int
    different: tuple[int, ...]


def replayed(recorded: Iterable[Tick]) -> Replayed:
    count, different = 0, []
    for tick in recorded:
        count += 1
        again = plan(tick.state, tick.policy)
        decided = tick.decision.actions, tick.decision.reasons
        if msgspec.msgpack.encode((again.actions, again.reasons)) != msgspec.msgpack.encode(decided):
            different.append(tick.decision.id)
    return Replayed(count, tuple(different))


@dataclass(frozen=True, slots=True)
class Loss:
    """A host that is lost: `after` so many seconds, the named one, or the one that is there first."""

    after: float
    host_id: str = ""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is different. `traffic`: times the recorded one. `policy`: None for the recorded one."""

    traffic: float = 1.0
    policy: Policy | None = None
    losses: tuple[Loss, ...] = ()
    boot_seconds: float | None = None


@dataclass(slots=True)
class Course:
    """What came of it. Points are seconds since the beginning, and hosts paid for."""

    name: str
    hosts: list[tuple[float, float]] = field(default_factory=list)
    host_seconds: float = 0.0
    requests: float = 0.0
    unserved: float = 0.0
    late: float = 0.0
    cold: float = 0.0
    changes: int = 0

    @property
    def attained(self) -> float:
        """Share of the requests that were served within a second of waiting, by a model that was loaded."""
        return 1 - (self.unserved + self.late + self.cold) / self.requests if self.requests else 1.0

    def add(self, outcome: Outcome, *, seconds: float, began: float) -> None:
        if self.hosts and self.hosts[-1][1] != outcome.hosts_paid:
            self.changes += 1
        self.hosts.append((outcome.at - began, float(outcome.hosts_paid)))
        self.host_seconds += outcome.hosts_paid * seconds
        self.requests += outcome.requests
        self.unserved += outcome.unserved
        self.late += outcome.late
        self.cold += outcome.cold


def as_it_was(recorded: Sequence[Tick]) -> Course:
    """Hosts as they registered. Of what callers met, only who found no host is recorded."""
    course, began = Course("as it was"), recorded[0].state.now
    for tick, seconds in _spans(recorded):
        running = float(len(tick.state.hosts))
        if course.hosts and course.hosts[-1][1] != running:
            course.changes += 1
        course.hosts.append((tick.state.now - began, running))
        course.host_seconds += running * seconds
        for model in tick.state.models:
            if model.demand is not None:
                course.requests += model.demand.requests_per_second * seconds
                course.unserved += model.demand.unmet_per_second * seconds
    course.requests += course.unserved
    return course


def what_if(recorded: Sequence[Tick], different: Circumstances, *, name: str) -> Course:
    """The recorded demand, in virtual time."""
    first = recorded[0].state
    policy = different.policy or recorded[0].policy
    boot = policy.scaling.boot_seconds if different.boot_seconds is None else different.boot_seconds
    world = World(
        _plain(first.models),
        hosts=[host.host_id for host in first.hosts] or (["host-1"] if policy.scaling.hosts_min else []),
        machine=replace(machine_of(recorded), boot_seconds=boot),
        policy=policy,
        now=first.now,
    )
    course, losses = Course(name), sorted(different.losses, key=lambda loss: loss.after)
    for tick, seconds in _spans(recorded):
        while losses and losses[0].after <= world.now - first.now:
            lost = losses.pop(0)
            world.lose(lost.host_id or next(iter(world.hosts), ""))
        world.policy = different.policy or tick.policy
        world.follow(_plain(tick.state.models))
        course.add(
            world.tick(_offered(tick.state, different.traffic), seconds=seconds),
            seconds=seconds,
            began=first.now,
        )
    return course


def machine_of(recorded: Iterable[Tick]) -> Machine:
    """What hosts were, by the latest that were seen. `boot_seconds` are the policy's."""
    found = Machine(1.0, 2**30, 0.0)
    for tick in recorded:
        for host in tick.state.hosts:
            found = Machine(host.slots, host.memory_bytes_max, tick.policy.scaling.boot_seconds)
    return found


def _spans(recorded: Sequence[Tick]) -> Iterator[tuple[Tick, float]]:
    """Each tick with the seconds until the next: what it saw stands for those that followed."""
    for tick, following in pairwise(recorded):
        seconds = following.state.now - tick.state.now
        if seconds > 0:
            yield tick, min(seconds, _GAP_SECONDS_MAX)


def _plain(models: Iterable[ModelView]) -> tuple[ModelView, ...]:
    """Without what belonged to that moment."""
    return tuple(
        ModelView(model.model_id, model.tenant, model.active, pinned=model.pinned, new=model.new)
        for model in models
    )


def _offered(state: FleetState, traffic: float) -> Mapping[str, Offered]:
    found = {}
    for model in state.models:
        if model.demand is not None:
            offered = _asked(model.demand, model.active.run_ms)
            found[model.model_id] = Offered(offered.requests_per_second * traffic, offered.slots * traffic)
    return found


def _asked(demand: ModelDemand, run_ms: float) -> Offered:
    """Who found no host would have run for as long as the passport says."""
    return Offered(
        demand.requests_per_second + demand.unmet_per_second,
        demand.concurrency + demand.unmet_per_second * run_ms * _MILLI,
    )
