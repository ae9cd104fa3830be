"""Versions that were deleted: hosts are told to forget their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated

# What is new is dropped now; what has been is left as it is.
_DROP: Final = """
local now = redis.call('TIME')
for _, version in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 'NX', now[1] .. '.' .. string.format('%06d', now[2]), version)
end
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Versions that were deleted. `now` is what to ask from the next time."""

    now: float
    version_ids: frozenset[str]


class Departures(Connected):
    """Remembered until their bytes are gone everywhere."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._drop = self._redis.register_script(_DROP)

    def drop_versions(self, version_ids: Sequence[str]) -> None:
        """Hosts are told to forget them, and hold them no more. Safe to repeat."""
        if not version_ids:
            return
        with translated():
            self._drop(keys=[keys.DROPPED], args=list(version_ids))
            hosts = self._redis.hkeys(keys.HOSTS)
            with self._redis.pipeline(transaction=False) as pipe:
                for host_id in hosts:
                    pipe.srem(keys.assignments(host_id.decode(errors="replace")), *version_ids)
                pipe.execute()

    def dropped_since(self, since: float) -> Dropped:
        """What was dropped at or after `since` by the server's clock; 0 for everything still remembered."""
        with translated(), self._redis.pipeline(transaction=True) as pipe:  # hosts may only read the key
            (seconds, micros), version_ids = pipe.time().zrangebyscore(keys.DROPPED, since, "+inf").execute()
        return Dropped(seconds + micros / 1e6, frozenset(item.decode() for item in version_ids))

    def forget_versions(self, version_ids: Sequence[str]) -> None:
        """Their bytes are gone everywhere."""
        if version_ids:
            with translated():
                self._redis.zrem(keys.DROPPED, *version_ids)
                self._redis.delete(*map(keys.version, version_ids))
