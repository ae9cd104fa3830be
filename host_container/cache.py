"""A budget of bytes and who may stay within it: GDSF with pins and reservations.

GreedyDual-Size with Frequency (Cherkasova, 1998): priority = clock + frequency *
cost / bytes; the lowest goes first and the clock rises to its priority, so what
is not asked for any more ages. Bookkeeping only: nothing is loaded, deleted or
timed here, and one owner calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.contract import limits


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
    item: Item
    priority: float
    used_at: float
    frequency: int = 1
    pins: int = 0
    reserved: bool = True


class Cache:
    """Who holds how much of `bytes_max`. Invariant: used + reserved ≤ bytes_max, always."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._clock = 0.0
        self._entries: dict[str, _Entry] = {}
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

    def reserve(self, item: Item, *, now: float) -> tuple[str, ...]:
        """Make room, at once in the books: the keys that must go. Raises Refused and changes nothing.

        What is pinned, reserved, or was used within a few of its own load times
        stays: evicting it would only bring it straight back.
        """
        self._check(item)
        victims = self._victims(item.bytes - self.bytes_free, now=now)
        for victim in victims:
            self._clock = max(self._clock, victim.priority)
            self._remove(victim.item.key)
        self._add(item, now=now)
        return tuple(victim.item.key for victim in victims)

    def reserve_free(self, item: Item, *, now: float) -> bool:
        """Take room that nobody holds; False when there is not enough."""
        if item.key in self._entries or item.bytes > self.bytes_free:
            return False
        self._add(item, now=now)
        return True

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
        entry.used_at = now
        entry.priority = self._priority(entry.item, entry.frequency)

    def pin(self, key: str, *, now: float) -> None:
        """Count one use and keep it until unpinned as often."""
        self.use(key, now=now)
        self._entries[key].pins += 1

    def unpin(self, key: str) -> None:
        entry = self._entries[key]
        assert entry.pins > 0, "not pinned"
        entry.pins -= 1

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
        for entry in sorted(self._evictable(now), key=lambda entry: (entry.priority, entry.used_at)):
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

    def _guarded_seconds(self, now: float) -> float:
        """Until the next guard ends."""
        ends = [_guarded_until(entry) - now for entry in self._entries.values()]
        return min((seconds for seconds in ends if seconds > 0), default=1.0)

    def _add(self, item: Item, *, now: float) -> None:
        self._entries[item.key] = _Entry(item, priority=self._priority(item, 1), used_at=now)
        self._bytes += item.bytes

    def _remove(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).item.bytes

    def _priority(self, item: Item, frequency: int) -> float:
        return self._clock + frequency * item.cost_seconds / max(1, item.bytes)


def _guarded_until(entry: _Entry) -> float:
    return entry.used_at + limits.CHURN_GUARD_LOADS * entry.item.cost_seconds


def _mib(size: int) -> str:
    return f"{size / limits.MIB:.1f} MiB"
