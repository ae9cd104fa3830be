"""What was asked for lately, as hosts tell with their heartbeats, and gateways where no host could be asked.

Kept in windows of `WINDOW_SECONDS` of the server's clock, each a hash:

    <host id>/<boot id>/<beat>  <told at>|HostLoad
    unmet/<model id>/<second>   <the last one at>|requests that found no host

A beat whose reply was lost comes again under its number, with what has happened since: the latest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import HostLoad, decode

WINDOW_SECONDS: Final = 10
KEPT_SECONDS: Final = 120
_UNMET: Final = b"unmet/"
_TIME_LENGTH_MAX: Final = 24
_COUNT_LENGTH_MAX: Final = 12
_SECONDS_MIN: Final = 0.5
"""Whoever asks twice at once is not told of endless rates."""

TELL: Final = f"""
local function tell_load(time, now, field, load)
  local window = '{keys.DEMAND}' .. math.floor(time[1] / {WINDOW_SECONDS})
  if type(redis.pcall('HSET', window, field, now .. '|' .. load)) == 'table' then
    redis.call('DEL', window)
  end
  redis.call('EXPIRE', window, {KEPT_SECONDS})
end
"""
"""Lua, for the script of the heartbeat. `time` is what TIME says, and `now` the same as one number."""

_COUNT_UNMET: Final = f"""
local time = redis.call('TIME')
local window = '{keys.DEMAND}' .. math.floor(time[1] / {WINDOW_SECONDS})
local field = ARGV[1] .. '/' .. time[1]
local before = redis.pcall('HGET', window, field)
if type(before) == 'table' then
  redis.call('DEL', window)
  before = false
end
local count = before and tonumber(string.match(before, '|(%d+)$') or '') or 0
local now = time[1] .. '.' .. string.format('%06d', time[2])
redis.call('HSET', window, field, now .. '|' .. string.format('%d', count + 1))
redis.call('EXPIRE', window, {KEPT_SECONDS})
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('RPUSH', KEYS[1], 1)
end
"""


@dataclass(frozen=True, slots=True)
class HostSample:
    """One beat of one host, and when it was told by the server's clock."""

    host_id: str
    boot_id: str
    beat: int
    at: float
    load: HostLoad


@dataclass(frozen=True, slots=True)
class Demand:
    """What was told after some time, in the order it was. `now` is the server's clock.

    Attributes:
        seconds: for so long it was told.
        unmet: by model id, requests that found no host.
    """

    now: float
    seconds: float = float(WINDOW_SECONDS)
    samples: tuple[HostSample, ...] = ()
    unmet: dict[str, int] = field(default_factory=dict)

    @property
    def unmet_per_second(self) -> dict[str, float]:
        return {model_id: count / self.seconds for model_id, count in self.unmet.items()}


class Demands(Connected):
    """Who counts, and who reads."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._unmet = self._redis.register_script(_COUNT_UNMET)

    def count_unmet(self, model_id: str) -> None:
        """A request found no host. Wakes the coordinator, which may start one."""
        with translated():
            self._unmet(keys=[keys.WAKE], args=[_UNMET + model_id.encode()])

    def demand_since(self, at: float) -> Demand:
        """What was told after `at`, by the server's clock, as far as it is still kept."""
        with translated():
            seconds, micros = self._redis.time()
            now = seconds + micros / 1e6
            first, last = int(max(at, now - KEPT_SECONDS)) // WINDOW_SECONDS, seconds // WINDOW_SECONDS
            with self._redis.pipeline(transaction=False) as pipe:
                for window in range(first, last + 1):
                    pipe.hgetall(f"{keys.DEMAND}{window}")
                windows = pipe.execute(raise_on_error=False)
        latest: dict[tuple[str, str, int], HostSample] = {}
        unmet: dict[str, int] = {}
        for entry in (entry for window in windows if isinstance(window, dict) for entry in window.items()):
            for model_id, told_at, count in _read_unmet(*entry):
                if told_at > at:
                    unmet[model_id] = unmet.get(model_id, 0) + count
            for sample in _read_sample(*entry):
                key = sample.host_id, sample.boot_id, sample.beat
                if sample.at > at and (key not in latest or latest[key].at < sample.at):
                    latest[key] = sample
        samples = sorted(latest.values(), key=lambda sample: (sample.at, sample.host_id, sample.beat))
        seconds = min(max(now - at, _SECONDS_MIN), float(KEPT_SECONDS))
        return Demand(now, seconds, tuple(samples), unmet)


def _read_unmet(name: bytes, value: bytes) -> Iterator[tuple[str, float, int]]:
    """Model id, when the last one came, and how many did in that second; nothing where it is none."""
    told, _, count = value.partition(b"|")
    at = read_time(told)
    if name.startswith(_UNMET) and at is not None and len(count) <= _COUNT_LENGTH_MAX and count.isdigit():
        model_id, _, _ = name.removeprefix(_UNMET).decode(errors="replace").rpartition("/")
        yield model_id, at, int(count)


def _read_sample(name: bytes, value: bytes) -> Iterator[HostSample]:
    """Nothing where it is none."""
    told, _, body = value.partition(b"|")
    load = decode(body, HostLoad)
    host_id, _, rest = name.decode(errors="replace").partition("/")
    boot_id, _, beat = rest.partition("/")
    at = read_time(told)
    if load is not None and beat.isdigit() and at is not None:
        yield HostSample(host_id, boot_id, int(beat), at, load)


def read_time(text: bytes) -> float | None:
    """Seconds, as a script writes them; None where that is not what it is."""
    plain = len(text) <= _TIME_LENGTH_MAX and text.replace(b".", b"", 1).isdigit()
    return float(text) if plain else None
