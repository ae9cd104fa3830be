"""Limits on how often, counted for everybody together: GCRA in Lua, by Redis's own clock.

mr:rate:<what>:<whose>    microseconds of Unix time, the theoretical arrival time (see `limiting`)
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Rates(Connected):
    """What limits would let through."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._left = self._redis.register_script(_LEFT)

    def left(self, rates: Sequence[tuple[str, Rate]]) -> list[int]:
        """How many each of these limits (pairs of key and rate) would allow at once now."""
        args = [number for _, rate in rates for number in (rate.per_second, rate.burst)]
        with translated():
            return [int(one) for one in self._left(keys=[key for key, _ in rates], args=args)]
