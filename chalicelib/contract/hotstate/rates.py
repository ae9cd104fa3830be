"""Limits on how often, counted for everybody together: GCRA in Lua, by Redis's own clock.

mr:rate:<what>:<whose>    microseconds of Unix time, the theoretical arrival time (see `limiting`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.limiting import Rate

# Of one limit: where it stands, how far it may run ahead and what one costs, all in microseconds. What
# stands there and is no number counts as nothing. A time further ahead than a burst was written by a clock
# that was set back: from now on it is a burst. `spend` says whether it could be written.
GCRA: Final = """
local function got(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return false end
  return reply
end
local function spend(key, arrival, now)
  return got('SET', key, string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
end
local function standing(key, per_second, burst, now)
  local interval = 1000000 / per_second
  local allowance = burst * interval
  local arrival = math.max(now, tonumber(got('GET', key) or '') or now)  -- in this order nan is now
  if arrival > now + allowance then
    arrival = now + allowance
    spend(key, arrival, now)
  end
  return arrival, allowance, interval
end
"""

# As many as every limit allows, up to what is wanted; for none, which limit is in the way and for how long.
_TAKE: Final = (
    GCRA
    + """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local granted, wait, first = tonumber(ARGV[1]), 0, 0
local found = {}
for i, key in ipairs(KEYS) do
  local arrival, allowance, interval = standing(key, tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1]), now)
  found[i] = {arrival, interval}
  local room = math.floor((now + allowance - arrival) / interval + 1e-6)
  granted = math.min(granted, room)
  local needs = arrival + interval - allowance - now
  if room < 1 and needs > wait then wait, first = needs, i end
end
if granted < 1 then
  return {0, math.ceil(wait), first}
end
for i, key in ipairs(KEYS) do
  spend(key, found[i][1] + granted * found[i][2], now)
end
return {granted, 0, 0}
"""
)

# How many each limit would allow now. Nothing is taken.
_LEFT: Final = (
    GCRA
    + """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left = {}
for i, key in ipairs(KEYS) do
  local arrival, allowance, interval = standing(key, tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]), now)
  left[i] = math.floor((now + allowance - arrival) / interval + 1e-6)
end
return left
"""
)


@dataclass(frozen=True, slots=True)
class Permits:
    """How many were `granted`; for none, after how long to ask again and the position of the limit."""

    granted: int
    wait_seconds: float
    limit: int


class Rates(Connected):
    """Permits in blocks: one round trip for many requests."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._take = self._redis.register_script(_TAKE)
        self._left = self._redis.register_script(_LEFT)

    def take_permits(self, wanted: int, rates: Sequence[tuple[str, Rate]]) -> Permits:
        """Up to so many, as all of these limits (pairs of key and rate) allow; refused ones cost nothing."""
        args: list[float | int] = [wanted]
        for _, rate in rates:
            args += [rate.per_second, rate.burst]
        with translated():
            granted, wait_us, position = self._take(keys=[key for key, _ in rates], args=args)
        return Permits(granted, wait_us / 1e6, position - 1)

    def left(self, rates: Sequence[tuple[str, Rate]]) -> list[int]:
        """How many each of these limits (pairs of key and rate) would allow at once now."""
        args = [number for _, rate in rates for number in (rate.per_second, rate.burst)]
        with translated():
            return [int(one) for one in self._left(keys=[key for key, _ in rates], args=args)]
