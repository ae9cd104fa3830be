"""A budget of bytes and who may stay within it, with pins and reservations.

Who is likely to save the most loading for the bytes and the time it takes stays: load cost / bytes *
hit density (see `gaps`). Looking closely takes time, so a rough order (how long it was idle, or is
between uses, * bytes / cost) picks those that are looked at.

A scan of many models must not push out those that are in use: what was asked for once goes before
what was asked for again (as in 2Q; Johnson and Shasha, 1994). What has gone is remembered for a
while, so that a new set of models gets in.

Bookkeeping only: nothing is loaded, deleted or timed here, and one owner calls it.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits
from host_container.gaps import GAP_SECONDS_MIN, Everything, Gaps, hit_density

_SEASONED_SECONDS: Final = 4 * 3600.0
"""What was not asked for in this long is as good as what was asked for once."""
_UNCLAIMED_SECONDS: Final = 600.0
"""The same for what nobody has asked for since it was loaded."""
_CLOSELY: Final = 32
"""How many are looked at closely before one of them goes."""
_COST_SECONDS_MIN: Final = 1e-6
_IDLE_UNKNOWN: Final = 3.0
"""What has never been asked for again is expected back in so many times as long as it has been idle."""
_GONE_MAX: Final = 4096
"""How many that have gone are remembered."""


class Refused(Exception):
    """There is no room. `retry_after`: seconds until trying again may help; None when it never will."""

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Item:
    """What wants a place. `cost_seconds` is what getting it back would take."""

    key: str
    bytes: int
    cost_seconds: float


@dataclass(slots=True)
class _Entry:
    """`used_at`: when it was loaded or asked for; `asked_at`: when somebody did ask, None for never."""

    item: Item
    used_at: float
    asked_at: float | None = None
    frequency: int = 0
    gaps: Gaps | None = None
    pins: int = 0
    reserved: bool = True


class Cache:
    """Who holds how much of `bytes_max`. Invariant: used + reserved ≤ bytes_max, always."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.wanted: frozenset[str] = frozenset()
        """Keys of what is to be held: it goes last."""
        self._entries: dict[str, _Entry] = {}
        self._gone: OrderedDict[str, _Entry] = OrderedDict()
        self._everything = Everything()
        self._bytes = 0

    @property
    def bytes_used(self) -> int:
        """Reservations included."""
        return self._bytes

    @property
    def bytes_free(self) -> int:
        return self.bytes_max - self._bytes

    def __contains__(self, key: str) -> bool:
        """Whether it is there to be used; a reservation is not."""
        entry = self._entries.get(key)
        return entry is not None and not entry.reserved

    def __iter__(self) -> Iterator[str]:
        return (key for key, entry in self._entries.items() if not entry.reserved)

    def everything(self) -> tuple[str, ...]:
        """Keys, those of reservations included."""
        return tuple(self._entries)

    def reserve(self, item: Item, *, now: float) -> tuple[str, ...]:
        """Make room, at once in the books: the keys that must go. Raises Refused and changes nothing.

        What is pinned, reserved, or was used within a few of its own load times
        stays: evicting it would only bring it straight back.
        """
        self._check(item)
        victims = self._victims(item.bytes - self.bytes_free, now=now)
        for victim in victims:
            self._remove(victim.item.key)
            self._remember(victim)
        self._add(item, now=now)
        return tuple(victim.item.key for victim in victims)

    def reserve_free(self, item: Item, *, now: float) -> bool:
        """Take room that nobody holds; False when there is not enough."""
        if item.key in self._entries or item.bytes > self.bytes_free:
            return False
        self._add(item, now=now)
        return True

    def room_beside_wanted(self, item: Item, *, now: float) -> bool:
        """Whether `reserve` would find room, and nothing that is wanted would go for it."""
        free = [entry.item.bytes for entry in self._evictable(now) if entry.item.key not in self.wanted]
        return item.key not in self._entries and item.bytes <= self.bytes_free + sum(free)

    def commit(self, key: str, *, now: float) -> None:
        """The reserved thing is there now."""
        entry = self._entries[key]
        entry.reserved = False
        entry.used_at = now

    def forget(self, key: str) -> None:
        """It is not there (any more), or the reservation came to nothing."""
        assert self._entries[key].pins == 0, "pinned"
        self._remove(key)

    def lose(self, key: str) -> None:
        """It is gone, whoever still counts on it; its pins are gone too."""
        self._remove(key)

    def use(self, key: str, *, now: float) -> None:
        """Count one use."""
        entry = self._entries[key]
        entry.frequency += 1
        asked_at = entry.asked_at
        entry.asked_at = entry.used_at = now
        if asked_at is not None and now - asked_at >= GAP_SECONDS_MIN:
            self._saw(entry, now - asked_at)

    def pin(self, key: str, *, now: float) -> None:
        """Count one use and keep it until unpinned as often."""
        self.use(key, now=now)
        self.keep(key)

    def keep(self, key: str) -> None:
        """Keep it until unpinned as often; nobody asked for it."""
        self._entries[key].pins += 1

    def unpin(self, key: str) -> None:
        entry = self._entries[key]
        assert entry.pins > 0, "not pinned"
        entry.pins -= 1

    def idle(self, key: str, *, seconds: float, now: float) -> bool:
        """Whether nobody holds it, or has asked for it for so long."""
        entry = self._entries[key]
        return not entry.pins and not entry.reserved and now - entry.used_at >= seconds

    def pinned(self, key: str) -> bool:
        return self._entries[key].pins > 0

    def _check(self, item: Item) -> None:
        assert item.key not in self._entries, "there already"
        if item.bytes > self.bytes_max:
            raise Refused(
                f"It takes {_mib(item.bytes)}, more than the {_mib(self.bytes_max)} there are.",
                retry_after=None,
            )

    def _victims(self, missing: int, *, now: float) -> list[_Entry]:
        if missing <= 0:
            return []
        victims, freed = [], 0
        for entry in self._least_first(now):
            victims.append(entry)
            freed += entry.item.bytes
            if freed >= missing:
                return victims
        raise Refused(
            f"It takes {_mib(missing)} more than can be freed now: what is held is in use.",
            retry_after=self._guarded_seconds(now),
        )

    def _evictable(self, now: float) -> list[_Entry]:
        return [
            entry
            for entry in self._entries.values()
            if not entry.reserved and entry.pins == 0 and _guarded_until(entry) <= now
        ]

    def _least_first(self, now: float) -> Iterator[_Entry]:
        """What may go, the least valuable first, as far as a close look at a few at a time tells."""
        heap = [
            (self._rank(entry, now), -_away(entry, now), number, entry)
            for number, entry in enumerate(self._evictable(now))
        ]
        heapq.heapify(heap)
        chances = self._everything.chances()
        while heap:
            few = [heapq.heappop(heap) for _ in range(min(_CLOSELY, len(heap)))]
            close = [(one[0], _saved(one[3], chances, now), one[3].used_at, one[2], one[3]) for one in few]
            yield from (one[-1] for one in sorted(close))

    def _rank(self, entry: _Entry, now: float) -> int:
        """What is wanted goes last; of the rest what was asked for once, or long ago, goes first.

        What nobody has asked for yet was loaded for somebody, who is about to.
        """
        lately = _SEASONED_SECONDS if entry.frequency else _UNCLAIMED_SECONDS
        once = entry.frequency == 1 or now - entry.used_at >= lately
        return 2 * (entry.item.key in self.wanted) + (not once)

    def _guarded_seconds(self, now: float) -> float:
        """Until the next guard ends."""
        ends = [_guarded_until(entry) - now for entry in self._entries.values()]
        return min((seconds for seconds in ends if seconds > 0), default=1.0)

    def _add(self, item: Item, *, now: float) -> None:
        entry = _Entry(item, used_at=now)
        past = self._gone.pop(item.key, None)
        if past is not None:
            entry.asked_at, entry.frequency, entry.gaps = past.asked_at, past.frequency, past.gaps
        self._entries[item.key] = entry
        self._bytes += item.bytes

    def _remember(self, entry: _Entry) -> None:
        self._gone[entry.item.key] = entry
        if len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)

    def _saw(self, entry: _Entry, gap: float) -> None:
        if entry.gaps is None:
            entry.gaps = Gaps()
        entry.gaps.saw(gap)
        self._everything.saw(gap)

    def _remove(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).item.bytes


def _away(entry: _Entry, now: float) -> float:
    """How long it is idle or between uses, by the bytes that it frees for each second of load."""
    idle, gaps = now - entry.used_at, entry.gaps
    seconds = max(idle, gaps.mean) if gaps is not None else _IDLE_UNKNOWN * idle
    return seconds * entry.item.bytes / max(_COST_SECONDS_MIN, entry.item.cost_seconds)


def _saved(entry: _Entry, chances: tuple[float, ...], now: float) -> float:
    """Seconds of loading that keeping it saves, for each byte and second."""
    density = hit_density(entry.gaps, chances, idle=now - entry.used_at)
    return density * entry.item.cost_seconds / max(1, entry.item.bytes)


def _guarded_until(entry: _Entry) -> float:
    return entry.used_at + limits.CHURN_GUARD_LOADS * entry.item.cost_seconds


def _mib(size: int) -> str:
    return f"{size / limits.MIB:.1f} MiB"
