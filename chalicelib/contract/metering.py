"""What is counted of requests, and how it is added up in the hot state.

    mr:usage:<minute>/<account>         <key>/<model>/<version>/<counter> → number
                                        ! → when the hash was made, in microseconds
    mr:usage:minutes                    set of <minute>/<account> that there are
    mr:usage:minutes:<account>          set of its minutes
    mr:usage:by:<account>/<request id>  failed | done: counted, for as long as callers may try again
    mr:usage:told:<source>              number of the last batch that this host told

Minutes are whole ones since 1970 by the server's clock, at the time of counting: a minute that is over
does not change any more.

Counters are sums (see `Usage`), and by their names: how many requests took how long (see `latency`), how many
ended with which error (`code:rate_limited`), and the memory that a version held (`memory`, in KiB times
seconds; nobody's key, so under `-`).

Whoever dispatched a request to a host counts it, once it is over and without its caller waiting for it: the
gateway with the message that gives the lease back, the host whose own door was called every few seconds. A
host counts nothing of what comes with a ticket, and tries of one request are one request. What was never
dispatched (refused, or no host to take it) is not usage; where it is known whose it was, its error is
counted, under version 0. Under an id that its caller gave, a request that comes again within
`USAGE_ID_SECONDS`, to whichever door, is counted once: what the platform failed is that request's failure
once, and its rows and time are those of the try that came through. A gateway tells once and does not repeat
it: what it tells while the hot state is away is lost, never doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import add
from typing import Any, Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import CODES
from chalicelib.contract.latency import NOT_ANSWERED, Took, by_phase, is_counter

_OK_STATUS_MAX: Final = 399
_MODEL_FAILED: Final = 500
_DIGITS_MAX: Final = 15
"""Of what a minute counted: the sums of a day's stay below 2^63."""
_NAME_LENGTH: Final = 16
_MINUTES_AN_HOUR: Final = 60
NOBODY: Final = "-"
"""Whose key it is that memory is held under."""
MEMORY: Final = "memory"
CLIENT_GONE: Final = "client_gone"
"""The code of requests whose callers hung up."""
_CODE: Final = "code:"
_CODES: Final = frozenset({*CODES, CLIENT_GONE})
_UNKNOWN: Final = "internal"


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


class Measures(msgspec.Struct, frozen=True):
    """Sums, and other counters by name."""

    usage: Usage = Usage()
    counters: Mapping[str, int] = {}

    def __add__(self, other: Measures) -> Measures:
        return Measures(self.usage + other.usage, merged(self.counters, other.counters, add))

    def greatest(self, other: Measures) -> Measures:
        """Of each counter what is more: both have seen the same ones grow."""
        usage = Usage(*map(max, _numbers(self.usage), _numbers(other.usage)))
        return Measures(usage, merged(self.counters, other.counters, max))

    @property
    def codes(self) -> dict[str, int]:
        """How many requests ended with which error."""
        return {
            name.removeprefix(_CODE): many for name, many in self.counters.items() if name.startswith(_CODE)
        }


class UsageKey(msgspec.Struct, frozen=True, order=True):
    """What is summed up separately. `version` is the number that users see."""

    tenant: str
    token_id: str
    model_id: str
    version: int

    @property
    def prefix(self) -> str:
        """Of its counters, among those of its account."""
        return f"{self.token_id}/{self.model_id}/{self.version}/"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one dispatched request ended.

    Attributes:
        status: what its caller was told; 0 where it was told nothing that we know of.
        code: of the error, where it was one.
        request_id: the caller's own; empty where it gave none.
    """

    key: UsageKey
    status: int
    code: str = ""
    request_id: str = ""
    rows: int = 0
    compute_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    took: Took = NOT_ANSWERED

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
            cold_loads=int(self.took.load > 0),
        )

    @property
    def counter(self) -> str:
        """Beside the sums, the one that grows by one: of how long it took, or of its error; or none."""
        if self.took.total:
            return self.took.counter
        return code_counter(self.code) if self.code else ""


class Refused(msgspec.Struct, frozen=True):
    """A request that was never dispatched. `key`: of version 0, and of no model where it named none."""

    key: UsageKey
    code: str


@dataclass(frozen=True, slots=True)
class MinuteOfUsage:
    """What was counted for an account in a minute. `made` tells this hash from another of the same one."""

    minute: int
    tenant: str
    made: bytes
    counted: Mapping[UsageKey, Measures]

    @property
    def part(self) -> str:
        """What it is called in its hour: its minute there, and `made` as hexadecimals, whatever that is."""
        made = hashlib.sha256(self.made).hexdigest()[:_NAME_LENGTH]
        return f"{self.minute % _MINUTES_AN_HOUR:02}-{made}"


def code_counter(code: str) -> str:
    return f"{_CODE}{code if code in _CODES else _UNKNOWN}"


def merged(one: Mapping[str, int], other: Mapping[str, int], how: Any) -> dict[str, int]:
    """With `how` where both have a counter."""
    found = dict(one)
    for name, amount in other.items():
        found[name] = how(found[name], amount) if name in found else amount
    return found


def total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())


def together(measures: Iterable[Measures]) -> Measures:
    """As their sum, in one go."""
    usages: list[Usage] = []
    counters: dict[str, int] = {}
    for one in measures:
        usages.append(one.usage)
        for name, amount in one.counters.items():
            counters[name] = counters.get(name, 0) + amount
    return Measures(total(usages), counters)


def compute_us(*, run_us: int, rows: int, run_rows: int) -> int:
    """A request's part of the run that its rows shared."""
    return max(0, round(run_us * min(1.0, rows / max(1, run_rows))))


# In the hot state.

MINUTES: Final = "mr:usage:minutes"
MADE: Final = "!"

COUNT: Final = f"""
local function count_usage(counted)
  local mark, from = counted[1], 5
  if not mark then return end
  if mark ~= '' then
    local seen = redis.call('GET', mark)
    if seen == 'done' or seen == counted[2] then return end
    redis.call('SET', mark, counted[2], 'EX', {limits.USAGE_ID_SECONDS})
    if seen then from = 7 end
  end
  local now = redis.call('TIME')
  local minute = string.format('%d', math.floor(tonumber(now[1]) / 60))
  local name = minute .. '/' .. counted[3]
  local key = 'mr:usage:' .. name
  if redis.call('HSETNX', key, '{MADE}', now[1] .. string.format('%06d', now[2])) == 1 then
    local own = '{MINUTES}:' .. counted[3]
    redis.call('EXPIRE', key, {limits.USAGE_HOT_SECONDS})
    redis.call('SADD', '{MINUTES}', name)
    redis.call('SADD', own, minute)
    redis.call('EXPIRE', own, {limits.USAGE_HOT_SECONDS})
  end
  for i = from, #counted - 1, 2 do
    redis.call('HINCRBY', key, counted[4] .. counted[i], counted[i + 1])
  end
end
"""
"""For the beginning of a script. `count_usage({unpack(ARGV, n)})` counts what `counted(ended)` gave as the
script's arguments from the n-th to the last; without any, nothing."""


def counted(ended: Outcome | Refused) -> list[str | int]:
    """The arguments of `count_usage`: an id's mark, `done` or `failed`, whose it is, counters, amounts."""
    key = ended.key
    if isinstance(ended, Refused):
        return ["", "done", key.tenant, key.prefix, code_counter(ended.code), 1]
    mark = f"mr:usage:by:{key.tenant}/{ended.request_id}" if ended.request_id else ""
    amounts = _amounts(ended.usage)
    counter = ended.counter
    if counter:
        amounts += (counter, 1)
    return [mark, "failed" if ended.failed else "done", key.tenant, key.prefix, *amounts]


def added(key: UsageKey, measures: Measures) -> list[str | int]:
    """As `counted`, of many requests."""
    amounts = _amounts(measures.usage)
    for one in measures.counters.items():
        amounts += one
    return ["", "done", key.tenant, key.prefix, *amounts]


def minute_key(minute: int, tenant: str) -> str:
    return f"mr:usage:{minute}/{tenant}"


def minutes_key(tenant: str) -> str:
    return f"{MINUTES}:{tenant}"


def told_key(source: str) -> str:
    return f"mr:usage:told:{source}"


def read_counters(tenant: str, pairs: Iterable[tuple[bytes, bytes]]) -> dict[UsageKey, Measures]:
    """What a minute's hash holds. Counters of another time, or that do not decode, are left out."""
    sums: dict[UsageKey, dict[str, int]] = {}
    counters: dict[UsageKey, dict[str, int]] = {}
    for field, value in pairs:
        *named, counter = field.decode(errors="replace").split("/")
        key = _read_key(tenant, named)
        amount = _read_number(value)
        if key is None or amount is None:
            continue
        if counter in _COUNTERS:
            sums.setdefault(key, {})[counter] = amount
            continue
        for name in _read_counter(counter):
            of_key = counters.setdefault(key, {})
            of_key[name] = of_key.get(name, 0) + amount
    return {key: Measures(Usage(**sums.get(key, {})), counters.get(key, {})) for key in {**sums, **counters}}


def _read_counter(name: str) -> tuple[str, ...]:
    """Those that it stands for; none where it is not one of ours."""
    if name == MEMORY or is_counter(name) or (name.startswith(_CODE) and name[len(_CODE) :] in _CODES):
        return (name,)
    try:
        return by_phase(name)
    except ValueError:
        return ()


def _read_key(tenant: str, named: list[str]) -> UsageKey | None:
    match named:
        case [token_id, model_id, version]:
            number = _read_number(version.encode())
            return None if number is None else UsageKey(tenant, token_id, model_id, number)
    return None


def _read_number(text: bytes) -> int | None:
    """None for what was not counted: a store could not keep it."""
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else None


def _amounts(usage: Usage) -> list[str | int]:
    """Counters that are not 0 and their amounts, `requests` first."""
    amounts: list[str | int] = []
    for name, amount in zip(_COUNTERS, _numbers(usage), strict=True):
        if amount:
            amounts += (name, amount)
    return amounts


def _numbers(usage: Usage) -> tuple[int, ...]:
    return msgspec.structs.astuple(usage)
