"""What hosts told of their load, in the terms of the planner. Pure.

A request takes a slot of its host while its model runs; of a run that several share, each takes its part. The
host's front is one process for all requests: where it is busier than the models are, the host is as full as
its front is. Everything else is waiting, which counts as far as slots are needed to work it off. A model that
has answered nobody yet may never do so: until it has, it counts for no more than one host's slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from chalicelib.contract.hotstate import Demand, HostSample
from chalicelib.contract.messages import Heartbeat, VersionLoad
from chalicelib.coordinator.state import ModelDemand
from chalicelib.coordinator.windows import LoadSample

_NOTHING: Final = VersionLoad()


@dataclass(slots=True)
class Told:
    """By one host since some time.

    Attributes:
        total: of all versions.
        models: by id, of those that are known.
    """

    seconds: float = 0.0
    front_seconds: float = 0.0
    total: VersionLoad = _NOTHING
    models: dict[str, VersionLoad] = field(default_factory=dict)

    @property
    def concurrency(self) -> float:
        """The mean number of requests waiting or running."""
        return self.total.seconds / self.seconds

    def sample(self, at: float, *, slots: float) -> LoadSample:
        """`slots`: of the host. A front that nobody asks anything is busy with itself."""
        front = self.front_seconds * slots if self.total.seconds else 0.0
        return self._of(self.total, at, max(self.total.ran, front) / self.seconds)

    def model(self, load: VersionLoad, at: float, *, slots: float) -> LoadSample:
        """One model's part: of what the front takes beyond what models run, by its share of the requests."""
        beyond = max(0.0, self.front_seconds * slots - self.total.ran)
        share = load.requests / self.total.requests if self.total.requests else 0.0
        return self._of(load, at, (load.ran + beyond * share) / self.seconds)

    def _of(self, load: VersionLoad, at: float, running: float) -> LoadSample:
        waiting = max(0.0, load.seconds / self.seconds - running)
        return LoadSample(at, running + waiting, waiting, load.requests / self.seconds)


def told(samples: Iterable[HostSample], *, model_of: Callable[[str], str | None]) -> dict[str, Told]:
    """By host id. `model_of` a version's id says whose it is, where that is known."""
    hosts: dict[str, Told] = {}
    for sample in samples:
        host = hosts.setdefault(sample.host_id, Told())
        host.seconds += sample.load.seconds
        host.front_seconds += sample.load.front_seconds
        for version_id, load in sample.load.versions.items():
            host.total += load
            model_id = model_of(version_id)
            if model_id is not None:
                host.models[model_id] = host.models.get(model_id, _NOTHING) + load
    return hosts


def fleet_sample(
    hosts: Mapping[str, Told], silent: Iterable[Heartbeat], slots: Mapping[str, float], demand: Demand
) -> LoadSample:
    """Of all hosts together. `silent`: ones that have not told, and count with what they have in flight.

    Requests that found no host are told by model, each of which gets a first host, and not here: there was
    none then, so they say nothing of how many more are needed once there is one.
    """
    parts = [host.sample(demand.now, slots=slots.get(host_id, 1.0)) for host_id, host in hosts.items()]
    in_flight = sum(beat.in_flight for beat in silent)
    return LoadSample(
        at=demand.now,
        concurrency=sum(part.concurrency for part in parts) + in_flight,
        waiting=sum(part.waiting for part in parts),
        begun=sum(part.begun for part in parts),
    )


def model_demands(
    hosts: Mapping[str, Told], slots: Mapping[str, float], demand: Demand, *, drain_seconds: float
) -> dict[str, ModelDemand]:
    """By id of those that were asked for. `drain_seconds`: in which what waits is to be worked off."""
    rates: dict[str, tuple[float, float]] = {}
    answered = {model_id for host in hosts.values() for model_id, load in host.models.items() if load.ran}
    for host_id, host in hosts.items():
        for model_id, load in host.models.items():
            part = host.model(load, demand.now, slots=slots.get(host_id, 1.0))
            begun, filled = rates.get(model_id, (0.0, 0.0))
            filled += part.slots(drain_seconds)
            rates[model_id] = begun + part.begun, filled
    unmet = demand.unmet_per_second
    unproven = max(slots.values(), default=1.0)
    for model_id in rates.keys() - answered:
        begun, filled = rates[model_id]
        rates[model_id] = begun, min(filled, unproven)
    return {
        model_id: ModelDemand(*rates.get(model_id, (0.0, 0.0)), unmet.get(model_id, 0.0))
        for model_id in sorted({*rates, *unmet})
        if any(rates.get(model_id, ())) or unmet.get(model_id)
    }
