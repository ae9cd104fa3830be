"""The world as one immutable value, and what the planner remembers from one tick to the next.

Everything here is written and read with msgspec, so that a tick can be recorded and replayed bit for bit.
Times are seconds by the hot state's clock.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.scaling import ScalingMemory
from chalicelib.coordinator.windows import LoadSample


class Freshness(StrEnum):
    """Of a host's last heartbeat, by `limits.HOST_SUSPECT_SECONDS` and `limits.HOST_DEAD_SECONDS`."""

    FRESH = "fresh"
    SUSPECT = "suspect"
    DEAD = "dead"


class HostView(msgspec.Struct, frozen=True):
    """A host that has registered and not been forgotten.

    Attributes:
        slots: requests it runs well at once.
        memory_bytes_max: what it may hold of models.
        concurrency: requests waiting or running, the mean over its latest samples; 0 where not known.
        assigned: ids of the versions it is told to hold, sorted.
    """

    host_id: str
    boot_id: str
    state: HostState
    freshness: Freshness
    slots: float
    memory_bytes_max: int
    concurrency: float = 0.0
    assigned: tuple[str, ...] = ()


class VersionView(msgspec.Struct, frozen=True, gc=False):
    """What its passport says: `memory_bytes` is what a host reserves for it."""

    version_id: str
    memory_bytes: int
    run_ms: float = 0.0
    load_ms: float = 0.0


class ModelDemand(msgspec.Struct, frozen=True, gc=False):
    """Means over the time since the last tick.

    Attributes:
        concurrency: requests waiting or running on all hosts together.
        unmet_per_second: requests for which there was no host.
    """

    requests_per_second: float
    concurrency: float
    unmet_per_second: float = 0.0


class ModelView(msgspec.Struct, frozen=True):
    """A model with an active version.

    Attributes:
        following: versions on trial or about to take over.
        pinned: its owner wants it loaded, used or not.
        held_on: ids of hosts where the active version is ready; only said where `following` is not empty,
            one of its hosts is leaving, or it is asked for and assigned to none.
        demand: None where nobody asked for it.
        new: activated for the first time a few minutes ago.
    """

    model_id: str
    tenant: str
    active: VersionView
    following: tuple[VersionView, ...] = ()
    pinned: bool = False
    held_on: tuple[str, ...] = ()
    demand: ModelDemand | None = None
    new: bool = False


class CapacityView(msgspec.Struct, frozen=True):
    """What the provider of hosts says.

    Attributes:
        desired: how many hosts it was last told to run.
        running: ids of those it runs or starts; None where it does not say.
        leaving: ids of those it was told to stop and has not stopped yet.
    """

    desired: int
    running: tuple[str, ...] | None = None
    leaving: tuple[str, ...] = ()


class ModelMemory(msgspec.Struct, frozen=True, gc=False):
    """Of a model that was used lately.

    Attributes:
        peak: its concurrency at `used_at`, falling slowly from the highest one before.
        used_at: the last tick that saw it used.
        used_before: a use before that, from which the time to the next ones is counted.
        again_at: when it was last used again, `reuse_seconds_min` to `reuse_seconds_max` after another use.
        copies: on how many hosts it was to be after the last tick.
        since: when that number last changed.
    """

    peak: float
    used_at: float
    used_before: float
    copies: int
    since: float
    again_at: float = 0.0


class Memory(msgspec.Struct, frozen=True):
    """What one tick leaves to the next. Bounded: see `PlacementPolicy.models_remembered_max`.

    Attributes:
        at: the tick that wrote it.
        began_at: the tick that found no memory, and so knew nothing of the time before.
        changes: how many more copies may be loaded or dropped now: a bucket that fills with time.
        leaving: host id to when it was chosen to leave, until it may be stopped.
        ending: id to boot id of hosts that may be stopped, until they are gone.
        awaited: host id to when the provider was first seen to run it without its having registered.
        slots_per_host, memory_bytes_per_host: as they were when there last was a host.
        beyond_since: since when more hosts serve than their provider was told to run, if they do.
    """

    scaling: ScalingMemory | None
    models: dict[str, ModelMemory]
    leaving: dict[str, float]
    at: float = 0.0
    began_at: float = 0.0
    changes: float = 0.0
    ending: dict[str, str] = {}
    awaited: dict[str, float] = {}
    slots_per_host: float = 1.0
    memory_bytes_per_host: int = 0
    beyond_since: float | None = None


class FleetState(msgspec.Struct, frozen=True):
    """All that a tick knows.

    Attributes:
        hosts: the dead included.
        models: those with an active version.
        capacity: None where the provider did not answer, or nobody starts hosts.
        demand_known: whether what hosts told of their load could be read.
        samples: the fleet's load since the last tick.
        jobs_waiting: versions to prepare, those included that a host is about.
        memory: what the last tick left; None where that is lost.
    """

    now: float
    hosts: tuple[HostView, ...]
    models: tuple[ModelView, ...]
    capacity: CapacityView | None = None
    demand_known: bool = True
    samples: tuple[LoadSample, ...] = ()
    jobs_waiting: int = 0
    memory: Memory | None = None
