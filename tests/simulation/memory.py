"""What a coordinator needs of the hot state and of the truth, kept in memory, by a clock that a test moves.

`tests/simulation/test_memory.py` gives the same commands to the real ones. Before each write `before_write`
is called: there a process may be stopped, or die.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from chalicelib.contract import limits
from chalicelib.contract.errors import StaleEpoch
from chalicelib.contract.hotstate import (
    CapacityStatus,
    CapacityWish,
    Demand,
    HeartbeatReply,
    HostSample,
    Lease,
)
from chalicelib.contract.hotstate.demand import KEPT_SECONDS, WINDOW_SECONDS
from chalicelib.contract.messages import Heartbeat, HostLoad, Replica
from chalicelib.ports import Standing
from chalicelib.records import Decision

STATUS_SECONDS: Final = 15.0
"""For so long the provider's word counts."""
SECONDS_MIN: Final = 0.5
"""What was told is taken to have been told for so long at least."""


def nothing() -> None:
    pass


@dataclass(slots=True)
class _Window:
    until: float = 0.0
    samples: dict[tuple[str, str, int], HostSample] = field(default_factory=dict)
    unmet: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)


class KeptHotState:
    """A part of `HotState`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.before_write: Callable[[], None] = nothing
        self.flush()

    def flush(self) -> None:
        self._holder, self._until, self.epoch = "", 0.0, 0
        self._assigned: dict[str, frozenset[str]] = {}
        self._beats: dict[str, Heartbeat] = {}
        self._replicas: dict[str, dict[str, Replica]] = {}
        self._windows: dict[int, _Window] = {}
        self._memory: bytes | None = None
        self._wish: CapacityWish | None = None
        self._status: tuple[float, CapacityStatus] | None = None

    def written(self) -> object:
        """All that only a coordinator writes, its lease aside."""
        return self.epoch, dict(self._assigned), self._memory, self._wish, sorted(self._beats)

    def run_out(self) -> None:
        """Whoever has the lease has had it for too long."""
        self._until = 0.0

    def fall_silent(self, host_id: str, *, seconds: float) -> None:
        """Its last heartbeat was so long ago."""
        beat = self._beats[host_id]
        self._beats[host_id] = replace(beat, at=beat.at - seconds)

    # Whose turn it is.

    def take_lease(self, holder: str) -> Lease:
        self.before_write()
        now = self._clock()
        if self._holder not in ("", holder) and self._until > now:
            return Lease(False, self._holder, self.epoch)
        self._holder, self._until = holder, now + limits.COORDINATOR_LEASE_SECONDS
        return Lease(True, holder, self.epoch)

    def release_lease(self, holder: str) -> None:
        self.before_write()
        if self._holder == holder:
            self._holder, self._until = "", 0.0

    def raise_epoch(self, epoch: int, *, holder: str) -> None:
        self.before_write()
        if self._holder != holder or self.epoch > epoch:
            raise StaleEpoch("another holder or a later epoch stands there")
        self.epoch = epoch

    def _check(self, epoch: int) -> None:
        self.before_write()
        if not self.epoch or self.epoch != epoch:
            raise StaleEpoch("another epoch stands there")

    # What a coordinator writes.

    def assign(self, host_id: str, version_ids: Iterable[str], *, epoch: int) -> None:
        self._check(epoch)
        self._assigned.pop(host_id, None)
        if host_id in self._beats:
            self._assigned[host_id] = frozenset(version_ids)

    def forget_silent_host(self, host_id: str, *, silent_seconds: float, epoch: int) -> bool:
        self._check(epoch)
        beat = self._beats.get(host_id)
        if beat is not None and int(self._clock()) - beat.at < silent_seconds:
            return False
        self._beats.pop(host_id, None)
        self._assigned.pop(host_id, None)
        return True

    def drop_replicas_of_gone(
        self, model_id: str, replicas: Iterable[tuple[str, str]], *, epoch: int
    ) -> None:
        wanted = [f"{version_id}/{host_id}" for version_id, host_id in replicas if host_id not in self._beats]
        if replicas:
            self._check(epoch)
        for name in wanted:
            self._replicas.get(model_id, {}).pop(name, None)

    def put_memory(self, memory: bytes, *, epoch: int) -> None:
        self._check(epoch)
        self._memory = memory

    def publish_capacity(self, hosts: int, ending: Sequence[str], *, epoch: int) -> None:
        self._check(epoch)
        self._wish = CapacityWish(hosts, tuple(sorted(ending)), epoch)

    # What a coordinator reads.

    def memory(self) -> bytes | None:
        return self._memory

    def assignments(self, host_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return {host_id: tuple(sorted(self._assigned.get(host_id, ()))) for host_id in host_ids}

    def hosts(self) -> tuple[float, tuple[Heartbeat, ...]]:
        return self._clock(), tuple(self._beats.values())

    def replicas_of(self, model_ids: Sequence[str]) -> dict[str, tuple[tuple[str, Replica], ...]]:
        return {
            model_id: tuple(
                (name.partition("/")[0], replica)
                for name, replica in self._replicas.get(model_id, {}).items()
            )
            for model_id in model_ids
        }

    def demand_since(self, at: float) -> Demand:
        now = self._clock()
        first = int(max(at, now - KEPT_SECONDS)) // WINDOW_SECONDS
        latest: dict[tuple[str, str, int], HostSample] = {}
        unmet: Counter[str] = Counter()
        for number in sorted(one for one in self._windows if one >= first):
            window = self._windows[number]
            if window.until > now:
                for (model_id, _), (told_at, count) in window.unmet.items():
                    unmet[model_id] += count if told_at > at else 0
                latest.update({key: sample for key, sample in window.samples.items() if sample.at > at})
        samples = sorted(latest.values(), key=lambda one: (one.at, one.host_id, one.beat))
        seconds = min(max(now - at, SECONDS_MIN), float(KEPT_SECONDS))
        return Demand(now, seconds, tuple(samples), {one: count for one, count in unmet.items() if count})

    def capacity_wish(self) -> CapacityWish | None:
        return self._wish

    def capacity_status(self) -> CapacityStatus | None:
        return self._status[1] if self._status and self._status[0] > self._clock() else None

    def jobs_unfinished(self) -> int:
        return 0

    def watch_boots(self) -> None:
        """How long hosts take to come makes no difference to what is decided."""

    # What others write.

    def beat(self, heartbeat: Heartbeat, load: HostLoad | None = None, *, number: int = 0) -> HeartbeatReply:
        now, host_id = self._clock(), heartbeat.host_id
        known = host_id in self._beats
        self._beats[host_id] = replace(heartbeat, at=now)
        if load is not None:
            sample = HostSample(host_id, heartbeat.boot_id, number, now, load)
            self._window(now).samples[host_id, heartbeat.boot_id, number] = sample
        return HeartbeatReply(known, self._assigned.get(host_id))

    def forget_host(self, host_id: str) -> None:
        self._beats.pop(host_id, None)
        self._assigned.pop(host_id, None)

    def count_unmet(self, model_id: str) -> None:
        now = self._clock()
        unmet = self._window(now).unmet
        _, before = unmet.get((model_id, int(now)), (now, 0))
        unmet[model_id, int(now)] = now, before + 1

    def put_replica(self, model_id: str, version_id: str, replica: Replica) -> None:
        self._replicas.setdefault(model_id, {})[f"{version_id}/{replica.host_id}"] = replica

    def put_capacity_status(self, status: CapacityStatus) -> None:
        self._status = self._clock() + STATUS_SECONDS, status

    def _window(self, now: float) -> _Window:
        window = self._windows.setdefault(int(now) // WINDOW_SECONDS, _Window())
        window.until = now + KEPT_SECONDS
        return window


class KeptStore:
    """A part of `CoordinatorStore`. What was decided is not kept, but its number."""

    def __init__(self) -> None:
        self.before_write: Callable[[], None] = nothing
        self._standing = Standing()

    def standing(self) -> Standing:
        return self._standing

    def next_epoch(self, holder: str, *, above: int = 0) -> int:
        self.before_write()
        self._standing = Standing(max(self._standing.epoch, above) + 1, self._standing.decisions)
        return self._standing.epoch

    def record_decision(self, decision: Decision) -> None:
        self.before_write()
        if (decision.epoch, decision.id - 1) != (self._standing.epoch, self._standing.decisions):
            raise StaleEpoch("another coordinator has decided since")
        self._standing = Standing(decision.epoch, decision.id)
