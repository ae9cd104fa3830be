"""A fleet in virtual time, from one tick of the coordinator to the next, under the real planner.

Demand flows: of each model so many requests a second and so many slots, spread evenly over the hosts that
hold it. What a host's slots do not take waits there for at most the time that callers wait; what would
wait longer is unserved. A model that no host holds is loaded by the first host that is asked. A host is
paid for from the moment it is asked for until it is told to go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.choice import rendezvous
from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, ForgetHost, Policy, SetCapacity, plan
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelDemand,
    ModelView,
    VersionView,
)
from chalicelib.coordinator.windows import LoadSample

_MILLI: Final = 1e-3
LATE_SECONDS: Final = 1.0
"""Who waits longer than this was not served well."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What hosts are, and how long one takes to come: seconds from being asked for to being ready."""

    slots: float
    memory_bytes: int
    boot_seconds: float


@dataclass(frozen=True, slots=True)
class Offered:
    """What callers ask of one model: requests a second, and the slots they fill if none waits."""

    requests_per_second: float
    slots: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one tick. Requests, and hosts at its end. None is counted twice of those that are unserved, or
    `cold`: served, and came while their model was being loaded, or else `late`: served after more than
    `LATE_SECONDS`. `state`: what was decided on.
    """

    at: float
    hosts_paid: int
    hosts_ready: int
    requests: float
    unserved: float
    late: float
    cold: float
    state: FleetState


@dataclass(slots=True)
class _Host:
    host_id: str
    ready_at: float
    machine: Machine
    assigned: tuple[str, ...] = ()
    loaded_at: dict[str, float] = field(default_factory=dict)
    waiting: float = 0.0
    """Slot-seconds of work that has come and not begun."""
    load: float = 0.0


class World:
    """Hosts that come and go as the planner says. `now` is in seconds.

    `hosts`: those there at the beginning, ready and holding nothing.
    """

    def __init__(
        self,
        models: Iterable[ModelView],
        *,
        hosts: Sequence[str],
        machine: Machine,
        policy: Policy,
        now: float,
    ) -> None:
        self.now = now
        self.policy = policy
        self._machine = machine
        self._models = {model.model_id: model for model in models}
        self._hosts = {host_id: _Host(host_id, now, machine) for host_id in hosts}
        self._named = len(hosts)
        self._desired = len(hosts)
        self._memory: Memory | None = None
        self._seen: dict[str, ModelDemand] = {}
        self._sample: LoadSample | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Ids of all that are paid for."""
        return tuple(self._hosts)

    def follow(self, models: Iterable[ModelView]) -> None:
        """These are the models from now on."""
        self._models = {model.model_id: model for model in models}

    def lose(self, host_id: str) -> bool:
        """A host is gone without a word, and its provider starts another. False where there is none."""
        return self._hosts.pop(host_id, None) is not None

    def tick(self, offered: Mapping[str, Offered], *, seconds: float) -> Outcome:
        """Decide on what was seen, then let so many seconds pass."""
        self._replace_lost()
        state = self._state()
        decided = plan(state, self.policy)
        self._memory = decided.memory
        for action in decided.actions:
            self._apply(action)
        return self._pass(offered, state, seconds=seconds)

    def _state(self) -> FleetState:
        return FleetState(
            now=self.now,
            hosts=tuple(self._view(host) for host in self._hosts.values() if host.ready_at <= self.now),
            models=tuple(self._model_view(model) for model in self._models.values()),
            capacity=CapacityView(self._desired, tuple(self._hosts)),
            demand_known=True,
            samples=(self._sample,) if self._sample else (),
            memory=self._memory,
        )

    def _view(self, host: _Host) -> HostView:
        return HostView(
            host.host_id,
            f"boot {host.host_id}",
            HostState.READY,
            Freshness.FRESH,
            host.machine.slots,
            host.machine.memory_bytes,
            host.load,
            host.assigned,
        )

    def _model_view(self, model: ModelView) -> ModelView:
        held = tuple(sorted(host.host_id for host in self._holders(model.active)))
        return ModelView(
            model.model_id,
            model.tenant,
            model.active,
            pinned=model.pinned,
            held_on=held,
            demand=self._seen.get(model.model_id),
        )

    def _holders(self, version: VersionView) -> list[_Host]:
        return [
            host
            for host in self._hosts.values()
            if host.ready_at <= self.now and host.loaded_at.get(version.version_id, self.now + 1) <= self.now
        ]

    def _apply(self, action: Assign | ForgetHost | SetCapacity) -> None:
        match action:
            case Assign(host_id, version_ids):
                self._assign(self._hosts[host_id], version_ids)
            case SetCapacity(hosts, ending):
                for host_id in ending:
                    self._hosts.pop(host_id, None)
                self._desired = hosts
                self._replace_lost()
            case ForgetHost():  # who is gone is not in the views
                pass

    def _assign(self, host: _Host, version_ids: tuple[str, ...]) -> None:
        """It loads what is new, one after the other."""
        sizes = {model.active.version_id: model.active for model in self._models.values()}
        ready = self.now
        for version_id in version_ids:
            if version_id not in host.loaded_at and version_id in sizes:
                ready += sizes[version_id].load_ms * _MILLI
                host.loaded_at[version_id] = ready
        for version_id in set(host.loaded_at).difference(version_ids):
            del host.loaded_at[version_id]
        host.assigned = version_ids

    def _replace_lost(self) -> None:
        """The provider runs as many as it was told."""
        while len(self._hosts) < self._desired:
            self._named += 1
            name = f"host-{self._named}"
            self._hosts[name] = _Host(name, self.now + self._machine.boot_seconds, self._machine)

    def _pass(self, offered: Mapping[str, Offered], state: FleetState, *, seconds: float) -> Outcome:
        ready = [host for host in self._hosts.values() if host.ready_at <= self.now]
        for host in ready:
            host.load = 0.0
        placed, loading, requests, unmet = {}, {}, 0.0, {}
        for model_id, wish in offered.items():
            model = self._models.get(model_id)
            if model is None:
                continue
            requests += wish.requests_per_second * seconds
            holders, waited = self._asked(model, ready)
            if not holders:
                unmet[model_id] = wish.requests_per_second
                continue
            placed[model_id], loading[model_id] = holders, min(1.0, waited / seconds)
            for host in holders:
                host.load += wish.slots / len(holders)
        shares = {host.host_id: self._work(host, seconds) for host in ready}
        unserved = late = cold = 0.0
        for model_id, holders in placed.items():
            each = offered[model_id].requests_per_second * seconds / len(holders)
            for host in holders:
                lost, waits = shares[host.host_id]
                unserved += each * lost
                served = each * (1 - lost)
                cold += served * loading[model_id]
                late += served * (1 - loading[model_id]) if waits > LATE_SECONDS else 0.0
        unserved += sum(unmet.values()) * seconds
        self.now += seconds
        self._see(offered, placed, unmet, ready)
        return Outcome(self.now, len(self._hosts), len(ready), requests, unserved, late, cold, state)

    def _asked(self, model: ModelView, ready: Sequence[_Host]) -> tuple[list[_Host], float]:
        """Who answers, and how long the first caller waits for it to be loaded."""
        holders = self._holders(model.active)
        if holders or not ready:
            return holders, 0.0
        by_id = {host.host_id: host for host in ready}
        first = by_id[rendezvous(model.model_id, by_id)[0]]
        load = model.active.load_ms * _MILLI
        first.loaded_at[model.active.version_id] = self.now + load
        return [first], load

    def _work(self, host: _Host, seconds: float) -> tuple[float, float]:
        """The share of its requests that is unserved, and how long the others wait."""
        slots = host.machine.slots
        come = host.load * seconds
        waiting = max(0.0, host.waiting + come - slots * seconds)
        most = slots * limits.DEADLINE_SECONDS_DEFAULT
        lost = max(0.0, waiting - most)
        waits = (host.waiting + min(waiting, most)) / 2 / slots
        host.waiting = min(waiting, most)
        return (min(1.0, lost / come) if come else 0.0), waits

    def _see(
        self,
        offered: Mapping[str, Offered],
        placed: Mapping[str, Sequence[_Host]],
        unmet: Mapping[str, float],
        ready: Sequence[_Host],
    ) -> None:
        """What the coordinator is told of it."""
        rates = {model_id: wish.requests_per_second for model_id, wish in offered.items()}
        self._seen = {
            model_id: ModelDemand(
                rates[model_id] if model_id in placed else 0.0,
                offered[model_id].slots if model_id in placed else 0.0,
                unmet.get(model_id, 0.0),
            )
            for model_id in {*placed, *unmet}
            if rates[model_id]
        }
        begun = sum(rates[model_id] for model_id in placed)
        running = sum(min(host.load, host.machine.slots) for host in ready)
        busy = sum(host.load for host in ready)
        waits = sum(host.waiting for host in ready)
        waiting = waits * begun / busy if busy else 0.0
        self._sample = LoadSample(self.now, running + waiting, waiting, begun)
