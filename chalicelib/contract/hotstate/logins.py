"""How often may still be tried to log in.

Tries count by address and by account. One limit of an account is for strangers alone: who has logged in to it
from an address is not kept out by others who guess from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.hotstate.rates import GCRA
from chalicelib.contract.limiting import Rate

# KEYS[1] is the mark of those who are known, KEYS[i + 1] a limit, ARGV[1] how many of them count everybody,
# ARGV[2 i] and ARGV[2 i + 1] its rate and burst.
_LIMITS: Final = (
    GCRA
    + """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local counted = #KEYS - 1
if got('EXISTS', KEYS[1]) == 1 then
  counted = tonumber(ARGV[1])
end
local function limit(i)
  return standing(KEYS[i + 1], tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1]), now)
end
"""
)

# One of every limit, or of none: then how long to wait.
_TRY: Final = (
    _LIMITS
    + """
local after, wait = {}, 0
for i = 1, counted do
  local arrival, allowance, interval = limit(i)
  after[i] = arrival + interval
  wait = math.max(wait, after[i] - allowance - now)
end
if wait > 0 then
  return math.ceil(wait)
end
for i = 1, counted do
  spend(KEYS[i + 1], after[i], now)
end
return 0
"""
)

# What was taken; then, where seconds are given, whoever it was is known for so long.
_GIVE_BACK: Final = (
    _LIMITS
    + """
for i = 1, counted do
  local arrival, _, interval = limit(i)
  spend(KEYS[i + 1], math.max(now, arrival - interval), now)
end
local seconds = tonumber(ARGV[2 * #KEYS])
if seconds > 0 then
  got('SET', KEYS[1], '1', 'EX', seconds)
end
"""
)


@dataclass(frozen=True, slots=True)
class LogInTry:
    """One try, and what it counts towards: pairs of a name and a rate.

    `who` names account and address together.
    """

    who: str
    everybody: tuple[tuple[str, Rate], ...]
    strangers: tuple[tuple[str, Rate], ...] = ()

    @property
    def limits(self) -> Sequence[tuple[str, Rate]]:
        return self.everybody + self.strangers


class LogIns(Connected):
    """Tries to log in, counted for all gateways together."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._try_log_in = self._redis.register_script(_TRY)
        self._give_back = self._redis.register_script(_GIVE_BACK)

    def try_log_in(self, tried: LogInTry) -> float:
        """0 where all limits allow it; else the seconds to wait, and it counts towards none."""
        with translated():
            return int(self._try_log_in(keys=_keys(tried), args=_args(tried))) / 1e6

    def no_guess(self, tried: LogInTry) -> None:
        """It does not count after all."""
        with translated():
            self._give_back(keys=_keys(tried), args=[*_args(tried), 0])

    def logged_in(self, tried: LogInTry) -> None:
        """It does not count after all, and who tried is no stranger there."""
        with translated():
            self._give_back(keys=_keys(tried), args=[*_args(tried), limits.LOG_IN_KNOWN_SECONDS])


def _keys(tried: LogInTry) -> list[str]:
    return [keys.known(tried.who), *(keys.log_in_rate(name) for name, _ in tried.limits)]


def _args(tried: LogInTry) -> list[float | int]:
    args: list[float | int] = [len(tried.everybody)]
    for _, rate in tried.limits:
        args += [rate.per_second, rate.burst]
    return args
