"""Usage in the hot state: told by hosts, read and forgotten by the coordinator. See `metering`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.metering import (
    COUNT,
    MADE,
    MINUTES,
    Measures,
    MinuteOfUsage,
    Outcome,
    UsageKey,
    added,
    counted,
    minute_key,
    minutes_key,
    read_counters,
    told_key,
)

_SCAN_COUNT: Final = 1_000
_SECONDS_A_MINUTE: Final = 60
_NAME: Final = re.compile(r"(\d{1,15})/(.+)", re.DOTALL)

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
redis.call('SREM', KEYS[2], ARGV[1] .. '/' .. ARGV[3])
redis.call('SREM', KEYS[3], ARGV[1])
return 1
"""


class UsageCounts(Connected):
    """Counters of requests. See `metering`."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._tell = self._redis.register_script(_TELL)
        self._forget = self._redis.register_script(_FORGET)

    def tell_usage(
        self, source: str, number: int, *, sums: Mapping[UsageKey, Measures], outcomes: Sequence[Outcome]
    ) -> bool:
        """Count a batch: the source's first has the number 1. False when that number was told already."""
        entries = [added(key, measures) for key, measures in sums.items()]
        entries += [counted(outcome) for outcome in outcomes]
        batch = msgspec.json.encode([[str(value) for value in entry] for entry in entries])
        with translated():
            return bool(self._tell(keys=[told_key(source)], args=[number, batch]))

    def usage_minutes(self) -> tuple[tuple[int, str], ...]:
        """Those that are over and have something counted, and for whom; oldest first."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            (seconds, _), names = pipe.time().smembers(MINUTES).execute()
        over = seconds // _SECONDS_A_MINUTE
        found = (_NAME.fullmatch(name.decode(errors="replace")) for name in names)
        minutes = ((int(one[1]), one[2]) for one in found if one is not None)
        return tuple(sorted(one for one in minutes if one[0] < over))

    def usage_under_way(self, tenant: str, since: int) -> tuple[MinuteOfUsage, ...]:
        """An account's latest minutes from then on, the one that runs included, as far as they are here.

        What the truth was told of meanwhile may be missing here, whole or in part.
        """
        with translated():
            found = self._redis.smembers(minutes_key(tenant))
        minutes = sorted(minute for one in found if one.isdigit() and (minute := int(one)) >= since)
        read = (self.usage_of(minute, tenant) for minute in minutes[-limits.USAGE_UNDER_WAY_MAX :])
        return tuple(minute for minute in read if minute.made)

    def usage_of(self, minute: int, tenant: str) -> MinuteOfUsage:
        """Part of it, where it is forgotten meanwhile."""
        key = minute_key(minute, tenant)
        with translated():
            made = self._redis.hget(key, MADE) or b""
            fields = dict(self._redis.hscan_iter(key, count=_SCAN_COUNT))
        return MinuteOfUsage(minute, tenant, made, read_counters(tenant, fields.items()))

    def forget_usage(self, minute: MinuteOfUsage) -> None:
        """It is in the truth. Safe to repeat."""
        keys = [minute_key(minute.minute, minute.tenant), MINUTES, minutes_key(minute.tenant)]
        with translated():
            self._forget(keys=keys, args=[minute.minute, minute.made, minute.tenant])
