"""Entries of the audit log that the truth could not take when they were made: they wait for a later pass."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated


class LateEntries(Connected):
    """As JSON. Beyond `AUDIT_LATE_MAX` the oldest go: the log of the process that made them has them."""

    def push_late(self, entry: bytes) -> None:
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(keys.LATE, entry)
            pipe.ltrim(keys.LATE, -limits.AUDIT_LATE_MAX, -1)
            pipe.execute()

    def late(self, count: int) -> Sequence[bytes]:
        """The oldest."""
        with translated():
            return tuple(self._redis.lrange(keys.LATE, 0, count - 1))

    def drop_late(self, entry: bytes) -> None:
        """It is written. Safe to repeat."""
        with translated():
            self._redis.lrem(keys.LATE, 1, entry)
