"""What the fleet looks like now: read from the hot state, the provider of hosts and the catalogue of models.

Whatever does not decode reads as absent: what another release remembered is nothing to this one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chalicelib.catalogue import Catalogue
from chalicelib.contract import limits
from chalicelib.contract.hotstate import Demand, HotState
from chalicelib.contract.messages import Heartbeat, HostState, ReplicaState
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelDemand,
    ModelView,
)
from chalicelib.load import Told, fleet_sample, model_demands, told
from chalicelib.ports import Capacity

_SCHEMA: Final = 1
"""Of what is remembered: another one is not read."""
_TOLD_SECONDS: Final = 2 * limits.HEARTBEAT_SECONDS * 1.2
"""In so long every host has told of its load."""
_AT_ONCE: Final = 500


class Remembered(msgspec.Struct, frozen=True):
    """What one tick leaves to the next. `demand_at`: up to when demand has been read."""

    schema: int
    demand_at: float
    memory: Memory


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. `demand_at`: as in `Remembered`, for the next. `unmet`: requests that found no host."""

    state: FleetState
    demand_at: float
    unmet: int


class World:
    """Reads; writes nothing but what is remembered."""

    def __init__(
        self, *, hot: HotState, catalogue: Catalogue, capacity: Capacity | None, drain_seconds: float
    ) -> None:
        self._hot = hot
        self._catalogue = catalogue
        self._capacity = capacity
        self._drain_seconds = drain_seconds

    def look(self) -> Sight:
        remembered = read_remembered(self._hot.memory())
        capacity = self._capacity.status() if self._capacity else None
        _, beats = self._hot.hosts()
        demand = self._hot.demand_since(remembered.demand_at if remembered else 0.0)
        now, loads = demand.now, told(demand.samples, model_of=self._catalogue.model_of)
        beats = tuple(sorted(beats, key=lambda beat: beat.host_id))
        known = _demand_known(beats, loads, demand, remembered, capacity)
        hosts = self._host_views(beats, loads, now)
        memory = remembered.memory if remembered else None
        slots = {beat.host_id: beat.slots for beat in beats}
        demands = model_demands(loads, slots, demand, drain_seconds=self._drain_seconds)
        silent = _silent(beats, loads, demand)
        state = FleetState(
            now=now,
            hosts=hosts,
            models=self._models(
                demands, self._held_on(self._unsettled(hosts, demands, memory, capacity), hosts)
            ),
            capacity=capacity,
            demand_known=known,
            samples=(fleet_sample(loads, silent, slots, demand),) if known else (),
            jobs_waiting=self._hot.jobs_unfinished(),
            memory=memory,
        )
        latest = max((sample.at for sample in demand.samples), default=now)
        return Sight(state, max(now, latest), sum(demand.unmet.values()))

    def remember(self, memory: Memory, *, demand_at: float, epoch: int) -> None:
        """Raises StaleEpoch."""
        whole = msgspec.msgpack.encode(Remembered(_SCHEMA, demand_at, memory))
        self._hot.put_memory(zlib.compress(whole), epoch=epoch)

    def _host_views(
        self, beats: Sequence[Heartbeat], loads: Mapping[str, Told], now: float
    ) -> tuple[HostView, ...]:
        assigned = self._hot.assignments(beat.host_id for beat in beats)
        return tuple(
            HostView(
                host_id=beat.host_id,
                boot_id=beat.boot_id,
                state=beat.state,
                freshness=freshness(beat, now),
                slots=float(beat.slots),
                memory_bytes_max=beat.memory_bytes_max,
                concurrency=loads[beat.host_id].concurrency if beat.host_id in loads else 0.0,
                assigned=assigned[beat.host_id],
            )
            for beat in beats
        )

    def _unsettled(
        self,
        hosts: Sequence[HostView],
        demands: Mapping[str, ModelDemand],
        memory: Memory | None,
        capacity: CapacityView | None,
    ) -> list[str]:
        """Ids of models of which it matters where they are: with versions to come, moving, or assigned to
        nobody and either new or asked for.
        """
        leaving = {*(memory.leaving if memory else ()), *(capacity.leaving if capacity else ())}
        moving = (one for host in hosts if host.host_id in leaving for one in host.assigned)
        wanted = {*demands, *self._catalogue.new}
        assigned = (
            {self._catalogue.model_of(one) for host in hosts for one in host.assigned} if wanted else ()
        )
        models = {self._catalogue.model_of(version_id) for version_id in moving}
        homeless = wanted.difference(assigned)
        return sorted(one for one in {*self._catalogue.following, *models, *homeless} if one)

    def _held_on(self, model_ids: Sequence[str], hosts: Sequence[HostView]) -> dict[str, tuple[str, ...]]:
        """By model id, `<version id>/<host id>` of what answers without a load."""
        boots = {host.host_id: host.boot_id for host in hosts if host.freshness is Freshness.FRESH}
        held: dict[str, tuple[str, ...]] = {}
        for first in range(0, len(model_ids), _AT_ONCE):
            page = self._hot.replicas_of(model_ids[first : first + _AT_ONCE])
            for model_id, replicas in page.items():
                ready = (
                    f"{version_id}/{replica.host_id}"
                    for version_id, replica in replicas
                    if replica.state is ReplicaState.READY and boots.get(replica.host_id) == replica.boot_id
                )
                held[model_id] = tuple(sorted(ready))
        return held

    def _models(
        self, demands: Mapping[str, ModelDemand], held_on: Mapping[str, tuple[str, ...]]
    ) -> tuple[ModelView, ...]:
        if not demands and not held_on:
            return self._catalogue.views()
        return tuple(
            msgspec.structs.replace(
                view,
                demand=demands.get(view.model_id),
                held_on=_places(held_on.get(view.model_id, ()), view.active.version_id),
            )
            if view.model_id in demands or view.model_id in held_on
            else view
            for view in self._catalogue.views()
        )


def read_remembered(raw: bytes | None) -> Remembered | None:
    """None for what another release wrote, and for what is no memory."""
    try:
        found = msgspec.msgpack.decode(zlib.decompress(raw or b""), type=Remembered)
    except (zlib.error, msgspec.DecodeError):
        return None
    return found if found.schema == _SCHEMA else None


def freshness(beat: Heartbeat, now: float) -> Freshness:
    """By how long ago it came."""
    age = now - beat.at
    if age <= limits.HOST_SUSPECT_SECONDS:
        return Freshness.FRESH
    return Freshness.SUSPECT if age <= limits.HOST_DEAD_SECONDS else Freshness.DEAD


def _places(held: Sequence[str], version_id: str) -> tuple[str, ...]:
    prefix = f"{version_id}/"
    return tuple(place.removeprefix(prefix) for place in held if place.startswith(prefix))


def _silent(beats: Sequence[Heartbeat], hosts: Mapping[str, Told], demand: Demand) -> Iterator[Heartbeat]:
    """Those that are there, and have not told of their load since the last tick."""
    for beat in beats:
        if beat.host_id not in hosts and demand.now - beat.at <= limits.HOST_SUSPECT_SECONDS:
            yield beat


def _demand_known(
    beats: Sequence[Heartbeat],
    loads: Mapping[str, Told],
    demand: Demand,
    remembered: Remembered | None,
    capacity: CapacityView | None,
) -> bool:
    """Whether what was told can be all there is. Hosts that say nothing are not idle."""
    serving = [
        beat
        for beat in beats
        if beat.state is HostState.READY and freshness(beat, demand.now) is Freshness.FRESH
    ]
    if remembered is None or demand.now - remembered.demand_at > _TOLD_SECONDS:
        silent = [beat for beat in serving if beat.host_id not in loads]
    else:
        silent = []
    if serving:
        return not silent
    running = (capacity.running if capacity else None) or ()
    lost = [
        beat
        for beat in beats
        if beat.host_id in running and freshness(beat, demand.now) is not Freshness.FRESH
    ]
    return remembered is not None and capacity is not None and not lost
