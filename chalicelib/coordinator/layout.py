"""Which hosts hold which models: the one value that changes while a plan is made.

Hosts and models go by their positions here. A model's load is spread evenly over its copies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace
from typing import Final

from chalicelib.coordinator.copies import Need, PlacementPolicy
from chalicelib.coordinator.shards import preference
from chalicelib.coordinator.state import Freshness, HostView, ModelView

_SUITED: Final = (0.0, False, 0)


class Layout:
    """Of the hosts that stay. Only those heard of lately are given anything, or rid of it.

    Attributes:
        copies: of each model, the positions of its hosts, ascending.
        sizes: of each model in bytes, with the versions that follow.
        bytes: on each host, of what it is to hold.
        load: on each host, the requests at once that are expected.
    """

    def __init__(
        self,
        hosts: Sequence[HostView],
        models: Sequence[ModelView],
        needs: Sequence[Need],
        policy: PlacementPolicy,
    ) -> None:
        self.hosts = hosts
        self.models = models
        self.needs = needs
        self.copies = _assigned(hosts, models)
        self.sizes = [_bytes(model) for model in models]
        self.bytes = [0] * len(hosts)
        self.load = [0.0] * len(hosts)
        self._policy = policy
        self._positions = {host.host_id: at for at, host in enumerate(hosts)}
        self._open = [at for at, host in enumerate(hosts) if host.freshness is Freshness.FRESH]
        self._open_ids = [hosts[at].host_id for at in self._open]
        self._memory = sum(host.memory_bytes_max for host in hosts)
        self._full = [policy.full * host.memory_bytes_max for host in hosts]
        self._busy, self._overloaded = _loads_max(hosts, needs, policy)
        self._by_room: list[tuple[float, int]] = []
        self._count()

    def share(self, model: int) -> float:
        """Of its load, what each of its copies has."""
        return self.needs[model].peak / max(1, len(self.copies[model]))

    def missing(self, model: int) -> int:
        """Copies that are needed and not there, as far as there are hosts for them."""
        return min(self.needs[model].copies, len(self.hosts)) - len(self.copies[model])

    def add(self, model: int, host: int) -> None:
        self._change(model, tuple(sorted((*self.copies[model], host))))
        self.bytes[host] += self.sizes[model]
        self._bytes_all += self.sizes[model]

    def drop(self, model: int, host: int) -> None:
        self._change(model, tuple([at for at in self.copies[model] if at != host]))
        self.bytes[host] -= self.sizes[model]
        self._bytes_all -= self.sizes[model]

    def best(self, model: int) -> int | None:
        """The host for one more copy, full or not; None where every one has one."""
        best, least = None, None
        for host in self._candidates(model):
            unsuited = self._unsuited(model, host)
            if unsuited == _SUITED:
                return host
            if least is None or unsuited < least:
                best, least = host, unsuited
        if best is None or self._fits(model, best):
            return best
        roomiest = self._roomiest()
        return best if roomiest in self.copies[model] else roomiest

    def roomy(self, model: int) -> int | None:
        """The same, where there is room."""
        host = self.best(model)
        return host if host is not None and self._fits(model, host) else None

    def relieving(self, model: int) -> int | None:
        """The same, where there would still be no more load than on others."""
        host = self.roomy(model)
        if host is None:
            return None
        share = self.needs[model].peak / (len(self.copies[model]) + 1)
        return host if self.load[host] + share <= self._busy[host] else None

    def worst(self, model: int) -> int | None:
        """The host whose copy may go first: a full one, then the busiest; None where none can be told."""
        reached = [at for at in self.copies[model] if self.is_open(at)]
        return max(reached, key=lambda at: (self.is_full(at), self.load[at], at), default=None)

    def is_relief_over(self, model: int, host: int) -> bool:
        """Whether without its copy there the others would still have no more load than they may be given."""
        others = [at for at in self.copies[model] if at != host]
        passed_on = self.share(model) / len(others) if others else 0.0
        return all(self.load[at] + passed_on <= self._busy[at] for at in others)

    def host_id(self, host: int) -> str:
        return self.hosts[host].host_id

    def is_open(self, host: int) -> bool:
        return self.hosts[host].freshness is Freshness.FRESH

    def is_full(self, host: int, *, without_bytes: int = 0) -> bool:
        return self.bytes[host] - without_bytes > self._full[host]

    def is_overloaded(self, host: int) -> bool:
        return self.load[host] > self._overloaded[host]

    def is_plentiful(self, more_bytes: int) -> bool:
        """Whether the fleet has memory for so much that nobody asked for."""
        return self._bytes_all + more_bytes <= self._policy.plentiful * self._memory

    def memory_percent(self, host: int) -> float:
        """What it is to hold, of its memory."""
        return 100 * self.bytes[host] / max(1, self.hosts[host].memory_bytes_max)

    def version_ids(self) -> Iterator[tuple[str, ...]]:
        """What each host is to hold, sorted: active versions, and with them those that follow."""
        held: list[list[str]] = [[] for _ in self.hosts]
        for model, copies in zip(self.models, self.copies, strict=True):
            for host in copies:
                held[host].append(model.active.version_id)
            if model.following:
                for host in dict.fromkeys((*copies, *self._held_on(model))):
                    held[host].extend([version.version_id for version in model.following])
        return (tuple(sorted(version_ids)) for version_ids in held)

    def _held_on(self, model: ModelView) -> list[int]:
        return [self._positions[host_id] for host_id in model.held_on if host_id in self._positions]

    def _count(self) -> None:
        self._shards = Counter(self.copies)
        for copies, size, need in zip(self.copies, self.sizes, self.needs, strict=True):
            for host in copies:
                self.bytes[host] += size
                if need.peak:
                    self.load[host] += need.peak / len(copies)
        self._bytes_all = sum(self.bytes)

    def _change(self, model: int, after: tuple[int, ...]) -> None:
        before, peak = self.copies[model], self.needs[model].peak
        for host in before:
            self.load[host] -= peak / len(before)
        for host in after:
            self.load[host] += peak / len(after)
        self._shards[before] -= 1
        self._shards[after] += 1
        self.copies[model] = after

    def _candidates(self, model: int) -> Iterator[int]:
        """First where it is loaded by chance."""
        seen = dict.fromkeys(self.copies[model])
        view = self.models[model]
        for host in self._held_on(view):
            if host not in seen and self.is_open(host):
                seen[host] = None
                yield host
        for drawn in preference(view.model_id, self._open_ids, most=self._policy.candidates_max):
            host = self._open[drawn]
            if host not in seen:
                yield host

    def _unsuited(self, model: int, host: int) -> tuple[float, bool, int]:
        """Zeros where it suits. Memory first, then load, then how many models have the same hosts."""
        bytes_then = self.bytes[host] + self.sizes[model]
        full = (
            bytes_then / max(1, self.hosts[host].memory_bytes_max) if bytes_then > self._full[host] else 0.0
        )
        copies = self.copies[model]
        same = self._shards[tuple(sorted((*copies, host)))] if copies else 0
        return full, self.load[host] > self._busy[host], same

    def _fits(self, model: int, host: int) -> bool:
        return self.bytes[host] + self.sizes[model] <= self._full[host]

    def _roomiest(self) -> int:
        """Of all that can be given something. Entries are as old as their last look; hosts only fill up."""
        if not self._by_room:
            self._by_room = [(self.memory_percent(host), host) for host in self._open]
            heapify(self._by_room)
        while True:
            then, host = self._by_room[0]
            now = self.memory_percent(host)
            if now <= then:
                return host
            heapreplace(self._by_room, (now, host))


def _assigned(hosts: Sequence[HostView], models: Sequence[ModelView]) -> list[tuple[int, ...]]:
    positions = {model.active.version_id: at for at, model in enumerate(models)}
    copies: list[tuple[int, ...]] = [()] * len(models)
    for at, host in enumerate(hosts):
        for version_id in host.assigned:
            model = positions.get(version_id)
            if model is not None:
                copies[model] = (*copies[model], at)
    return copies


def _bytes(model: ModelView) -> int:
    return model.active.memory_bytes + sum([version.memory_bytes for version in model.following])


def _loads_max(
    hosts: Sequence[HostView], needs: Sequence[Need], policy: PlacementPolicy
) -> tuple[list[float], list[float]]:
    """Of each host: the load beyond which it gets no more, and that beyond which it is relieved.

    A host that is not even half as busy as it may be is neither.
    """
    slots = sum([host.slots for host in hosts])
    mean = sum([need.peak for need in needs]) / slots if slots else 0.0
    carried = [policy.utilisation * host.slots for host in hosts]
    busy = [policy.skew * max(mean * host.slots, most / 2) for host, most in zip(hosts, carried, strict=True)]
    return busy, [max(pair) for pair in zip(busy, carried, strict=True)]
