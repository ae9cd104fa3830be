"""What is counted of requests, and how it is added up in the hot state.

    mr:usage:<minute>                   <account>/<key>/<model>/<version>/<counter> → number
                                        ! → when the hash was made, in microseconds
    mr:usage:minutes                    set of the minutes that have one
    mr:usage:by:<account>/<request id>  failed | done: counted, for as long as callers may try again
    mr:usage:told:<source>              number of the last batch that this host told

Minutes are whole ones since 1970 by the server's clock, at the time of counting: a minute that is over
does not change any more.

Whoever dispatched a request to a host counts it, once it is over and without its caller waiting for it: the
gateway with the message that gives the lease back, the host whose own door was called every few seconds. A
host counts nothing of what comes with a ticket, and tries of one request are one request. What was never
dispatched (refused, or no host to take it) is not usage. Under an id that its caller gave, a request that
comes again within `USAGE_ID_SECONDS`, to whichever door, is counted once: what the platform failed is that
request's failure once, and its rows and time are those of the try that came through. A gateway tells once and
does not repeat it: what it tells while the hot state is away is lost, never doubled.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import add
from typing import Final

import msgspec

from chalicelib.contract import limits

_OK_STATUS_MAX: Final = 399
_MODEL_FAILED: Final = 500
_MICRO: Final = 1_000_000
_DIGITS_MAX: Final = 18


class Usage(msgspec.Struct, frozen=True):
    """Sums.

    Attributes:
        errors_caller: requests that ended with 4xx, also where the caller hung up (499).
        errors_model: with 500, the model's own fault.
        errors_platform: with 502 to 504, though the same request may have been answered when it came again.
        rows: of requests that were answered.
        compute_us: in the model: of each run, the part that the request's rows are of the run's.
        bytes_in, bytes_out: of bodies.
        cold_loads: requests that waited for their model to be loaded.
    """

    requests: int = 0
    errors_caller: int = 0
    errors_model: int = 0
    errors_platform: int = 0
    rows: int = 0
    compute_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cold_loads: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, _numbers(self), _numbers(other)))


_COUNTERS: Final = Usage.__struct_fields__


class UsageKey(msgspec.Struct, frozen=True, order=True):
    """What is summed up separately. `version` is the number that users see."""

    tenant: str
    token_id: str
    model_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.tenant}/{self.token_id}/{self.model_id}/{self.version}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one dispatched request ended.

    Attributes:
        status: what its caller was told; 0 where it was told nothing that we know of.
        request_id: the caller's own; empty where it gave none.
    """

    key: UsageKey
    status: int
    request_id: str = ""
    rows: int = 0
    compute_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cold: bool = False

    @property
    def failed(self) -> bool:
        """The platform's fault: the caller may well try again."""
        return self.status > _MODEL_FAILED or not self.status

    @property
    def usage(self) -> Usage:
        error = self.status > _OK_STATUS_MAX
        return Usage(
            requests=1,
            errors_caller=int(error and self.status < _MODEL_FAILED),
            errors_model=int(self.status == _MODEL_FAILED),
            errors_platform=int(self.failed),
            rows=self.rows,
            compute_us=self.compute_us,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            cold_loads=int(self.cold),
        )


def total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())


def compute_us(*, run_seconds: float, rows: int, run_rows: int) -> int:
    """A request's part of the run that its rows shared."""
    return max(0, round(run_seconds * _MICRO * min(1.0, rows / max(1, run_rows))))


# In the hot state.

MINUTES: Final = "mr:usage:minutes"
MADE: Final = "!"

COUNT: Final = f"""
local function count_usage(counted)
  local mark, from = counted[1], 4
  if not mark then return end
  if mark ~= '' then
    local seen = redis.call('GET', mark)
    if seen == 'done' or seen == counted[2] then return end
    redis.call('SET', mark, counted[2], 'EX', {limits.USAGE_ID_SECONDS})
    if seen then from = 6 end
  end
  local now = redis.call('TIME')
  local minute = string.format('%d', math.floor(tonumber(now[1]) / 60))
  local key = 'mr:usage:' .. minute
  if redis.call('HSETNX', key, '{MADE}', now[1] .. string.format('%06d', now[2])) == 1 then
    redis.call('EXPIRE', key, {limits.USAGE_HOT_SECONDS})
    redis.call('SADD', '{MINUTES}', minute)
  end
  for i = from, #counted - 1, 2 do
    redis.call('HINCRBY', key, counted[3] .. counted[i], counted[i + 1])
  end
end
"""
"""For the beginning of a script. `count_usage({unpack(ARGV, n)})` counts what `counted(outcome)` gave as the
script's arguments from the n-th to the last; without any, nothing."""


def counted(outcome: Outcome) -> list[str | int]:
    """The arguments of `count_usage`: an id's mark, `done` or `failed`, whose it is, counters, amounts."""
    key = outcome.key
    mark = f"mr:usage:by:{key.tenant}/{outcome.request_id}" if outcome.request_id else ""
    return [mark, "failed" if outcome.failed else "done", *added(key, outcome.usage)]


def added(key: UsageKey, usage: Usage) -> list[str | int]:
    """Whose it is, and counters that are not 0 with their amounts, `requests` first."""
    amounts: list[str | int] = [f"{key}/"]
    for name, amount in zip(_COUNTERS, _numbers(usage), strict=True):
        if amount:
            amounts += (name, amount)
    return amounts


def minute_key(minute: int) -> str:
    return f"mr:usage:{minute}"


def told_key(source: str) -> str:
    return f"mr:usage:told:{source}"


def read_counters(pairs: Iterable[tuple[bytes, bytes]]) -> dict[UsageKey, Usage]:
    """What a minute's hash holds. Counters of another time, or that do not decode, are left out."""
    found: dict[UsageKey, dict[str, int]] = {}
    for field, value in pairs:
        *named, counter = field.decode(errors="replace").split("/")
        key = _read_key(named)
        amount = _read_number(value)
        if key is not None and counter in Usage.__struct_fields__ and amount is not None:
            found.setdefault(key, {})[counter] = amount
    return {key: Usage(**counters) for key, counters in found.items()}


def _read_key(named: list[str]) -> UsageKey | None:
    match named:
        case [tenant, token_id, model_id, version]:
            number = _read_number(version.encode())
            return None if number is None else UsageKey(tenant, token_id, model_id, number)
    return None


def _read_number(text: bytes) -> int | None:
    """None for what was not counted: a store could not keep it."""
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else None


def _numbers(usage: Usage) -> tuple[int, ...]:
    return msgspec.structs.astuple(usage)
