"""Usage in the hot state: told by hosts, read and forgotten by the coordinator. See `metering`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.metering import (
    COUNT,
    MADE,
    MINUTES,
    Outcome,
    Usage,
    UsageKey,
    added,
    counted,
    minute_key,
    read_counters,
    told_key,
)

_SCAN_COUNT: Final = 1_000
_SECONDS_A_MINUTE: Final = 60
_NAME_LENGTH: Final = 16

# A batch whose reply was lost comes again under its number, and is not counted again.
_TELL: Final = (
    COUNT
    + f"""
local last = redis.call('GET', KEYS[1])
if last and tonumber(last) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', {limits.USAGE_HOT_SECONDS})
for _, one in ipairs(cjson.decode(ARGV[2])) do
  count_usage(one)
end
return 1
"""
)

# Only what was read: a clock that stepped back may have begun the minute anew.
_FORGET: Final = f"""
local made = redis.call('HGET', KEYS[1], '{MADE}')
if made and made ~= ARGV[2] then
  return 0
end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class MinuteOfUsage:
    """What was counted in a minute that is over. `made` tells this hash from another of the same minute."""

    minute: int
    made: bytes
    counted: Mapping[UsageKey, Usage]

    @property
    def name(self) -> str:
        """`made` in hexadecimal, short, whatever it is."""
        return hashlib.sha256(self.made).hexdigest()[:_NAME_LENGTH]


class UsageCounts(Connected):
    """Counters of requests. See `metering`."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._tell = self._redis.register_script(_TELL)
        self._forget = self._redis.register_script(_FORGET)

    def tell_usage(
        self, source: str, number: int, *, sums: Mapping[UsageKey, Usage], outcomes: Sequence[Outcome]
    ) -> bool:
        """Count a batch: the source's first has the number 1. False when that number was told already."""
        entries = [["", "done", *added(key, usage)] for key, usage in sums.items()]
        entries += [counted(outcome) for outcome in outcomes]
        batch = msgspec.json.encode([[str(value) for value in entry] for entry in entries])
        with translated():
            return bool(self._tell(keys=[told_key(source)], args=[number, batch]))

    def usage_minutes(self) -> tuple[int, ...]:
        """Those that are over and have something counted, oldest first; whole ones since 1970."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            (seconds, _), found = pipe.time().smembers(MINUTES).execute()
        over = seconds // _SECONDS_A_MINUTE
        return tuple(sorted(minute for one in found if one.isdigit() and (minute := int(one)) < over))

    def usage_of(self, minute: int) -> MinuteOfUsage:
        """Part of it, where it is forgotten meanwhile."""
        key = minute_key(minute)
        with translated():
            made = self._redis.hget(key, MADE) or b""
            fields = dict(self._redis.hscan_iter(key, count=_SCAN_COUNT))
        return MinuteOfUsage(minute, made, read_counters(fields.items()))

    def forget_usage(self, minute: MinuteOfUsage) -> None:
        """It is in the truth. Safe to repeat."""
        keys = [minute_key(minute.minute), MINUTES]
        with translated():
            self._forget(keys=keys, args=[minute.minute, minute.made])
