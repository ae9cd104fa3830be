"""What hosts' own doors ask: who may run what, permits in blocks, and what accounts have under way elsewhere.

One script for many callers at once, so that all of it is as of one instant and costs one round trip. Permits
come from the limits that gateways take single requests from (see `admission`), and what a door has under way
stands among the gateways' leases, as `<door>/1`, `<door>/2`, …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import redis

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.admission import Limited, Refusal, read_model, read_token
from chalicelib.contract.hotstate.connected import AWAY, Connected, translated
from chalicelib.contract.hotstate.fleet import read_quarantines
from chalicelib.contract.hotstate.rates import GCRA
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import ModelRecord, TokenRecord

_RUNNING_SECONDS: Final = limits.DEADLINE_SECONDS_DEFAULT + 1

# Names are arguments and not keys: of a script's keys one needs the right to write them all.
# NAMES: projected; of each caller its token, model and replicas; of each account what it has under way.
# ARGV: where the names begin, callers, account's rate, its burst, seconds of a key's burst, seconds that
# something may be under way, the door; of each caller the permits that are wanted and the fewest that are of
# use; of each account how much is under way at this door now, and how much of it was told before.
_ASK: Final = (
    GCRA
    + """
local NAMES = {unpack(ARGV, tonumber(ARGV[1]))}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function stamp(micros) return string.format('%.6f', micros / 1000000) end
local callers, door = tonumber(ARGV[2]), ARGV[7] .. '/'
local key, arg = 2 + 3 * callers, 8 + 2 * callers
while NAMES[key] do
  local is, was = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  for i = 1, is do got('ZADD', NAMES[key], stamp(now), door .. i) end
  for i = is + 1, was do got('ZREM', NAMES[key], door .. i) end
  got('EXPIRE', NAMES[key], math.ceil(ARGV[6]))
  key, arg = key + 1, arg + 2
end
local function permits(token, wanted, least)
  local found, granted, wait, what = {}, wanted, 0, ''
  local function check(name, limit, per_second, burst)
    local arrival, allowance, interval = standing(limit, per_second, burst, now)
    local over = arrival + math.min(least, burst) * interval - allowance - now
    if over >= 1 and over > wait then wait, what = over, name end
    if least <= burst then
      granted = math.min(granted, math.floor((now + allowance - arrival) / interval + 1e-6))
    else
      granted = least
    end
    found[#found + 1] = {limit, arrival, interval, burst}
  end
  check('account', 'mr:rate:account:' .. token.tenant, tonumber(ARGV[3]), tonumber(ARGV[4]))
  local own = token.requests_per_second
  if type(own) == 'number' and own > 0 then
    check('key', 'mr:rate:key:' .. token.token_id, own, math.max(1, own * ARGV[5]))
  end
  if wait > 0 then return 0, math.ceil(wait), what end
  granted = math.max(granted, least)
  local counted = true
  for _, one in ipairs(found) do
    counted = spend(one[1], one[2] + math.min(granted, one[4]) * one[3], now) and counted
  end
  return counted and granted or -1, 0, ''
end
local function view(i)
  local raw = got('GET', NAMES[3 * i - 1])
  local fields, quarantines = got('HGETALL', NAMES[3 * i + 1]) or {}, {}
  for f = 1, #fields, 2 do
    if string.sub(fields[f], -2) == '/!' then
      quarantines[#quarantines + 1] = fields[f]
      quarantines[#quarantines + 1] = fields[f + 1]
    end
  end
  local seen = {raw, got('GET', NAMES[3 * i]), quarantines, 0, 0, '', 0}
  local ok, token = pcall(cjson.decode, raw or '')
  if not ok or type(token) ~= 'table' then return seen end
  if type(token.tenant) ~= 'string' or type(token.token_id) ~= 'string' then return seen end
  local ends = token.expires_at
  if token.revoked == true or (type(ends) == 'number' and ends * 1000000 <= now) then return seen end
  local wanted = tonumber(ARGV[6 + 2 * i])
  if wanted > 0 then
    seen[4], seen[5], seen[6] = permits(token, wanted, tonumber(ARGV[7 + 2 * i]))
  end
  local running = 'mr:running:' .. token.tenant
  got('ZREMRANGEBYSCORE', running, '-inf', stamp(now - ARGV[6] * 1000000))
  seen[7] = got('ZCARD', running) or 0
  return seen
end
local views = {}
for i = 1, callers do views[i] = view(i) end
return {stamp(now), got('EXISTS', NAMES[1]) or 0, views}
"""
)


class Wish(NamedTuple):
    """A credential's SHA-256, a model's id, how many permits are wanted, and the fewest that are of use."""

    sha256: str
    model_id: str
    permits: int = 0
    least: int = 1


@dataclass(frozen=True, slots=True)
class Asker:
    """One door.

    Attributes:
        door: its name, nobody else's.
        account: what an account may do.
        running: by tenant, how many requests it has under way at this door, and how many of them were told.
    """

    door: str
    account: AccountLimits
    running: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CredentialView:
    """What a host's own door sees of a credential and a model.

    Attributes:
        projected: all credentials there are have been written since the last flush, so what is missing does
            not exist.
        now: the server's time.
        granted: permits; at least as many as are of use, or none.
        limited: what is in the way, where none were granted that were wanted.
        counted: permits can be counted. False where Redis could not write.
        running: requests of the account under way at all doors.
        quarantined: ids of the model's versions that no host may run now.
    """

    token: TokenRecord | None
    model: ModelRecord | None
    projected: bool
    now: float
    granted: int = 0
    limited: Limited | None = None
    counted: bool = True
    running: int = 0
    quarantined: frozenset[str] = frozenset()


_NOBODY: Final = Asker(
    "-", AccountLimits.of(limits.ACCOUNT_REQUESTS_PER_SECOND, limits.ACCOUNT_CONCURRENCY_MAX)
)


class Doors(Connected):
    """What a host's own door needs to know of its callers."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._ask_script = self._redis.register_script(_ASK)

    def credentials(
        self, wanted: Sequence[Wish | tuple[str, str]], *, asker: Asker = _NOBODY
    ) -> list[CredentialView]:
        """Of each of those who are wanted, all as of one instant; `asker` tells what it has under way."""
        wishes = [Wish(*one) for one in wanted]
        rate = asker.account.rate
        names = [keys.PROJECTED]
        args: list[str | int | float] = [len(wishes), rate.per_second, rate.burst]
        args += [limits.ACCOUNT_BURST_SECONDS, _RUNNING_SECONDS, asker.door]
        for wish in wishes:
            names += [keys.token(wish.sha256), keys.model(wish.model_id), keys.replicas(wish.model_id)]
            args += [wish.permits, wish.least]
        for tenant, (running, told) in asker.running.items():
            names.append(keys.running(tenant))
            args += [running, told]
        with translated():
            now, projected, views = self._ask_script(args=[len(args) + 2, *args, *names])
        try:
            return [_view(view, float(now), projected=bool(projected)) for view in views]
        except (ValueError, TypeError, AttributeError) as error:
            raise DependencyFailed(AWAY) from error


def _view(seen: list[Any], now: float, *, projected: bool) -> CredentialView:
    token, model, quarantines, granted, wait_us, limit, running = seen
    return CredentialView(
        token=read_token(token) if token else None,
        model=read_model(model) if model else None,
        projected=projected,
        now=now,
        granted=max(0, granted),
        limited=Limited(Refusal(limit.decode()), wait_us / 1e6) if limit else None,
        counted=granted >= 0,
        running=running,
        quarantined=_quarantined(quarantines, now) if quarantines else frozenset(),
    )


def _quarantined(flat: Sequence[bytes], now: float) -> frozenset[str]:
    entries = zip(flat[::2], flat[1::2], strict=True)
    return frozenset(version_id for version_id, until in read_quarantines(entries) if now < until)
