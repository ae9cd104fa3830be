"""Who coordinates: a lease, and the epoch that every control write carries.

    mr:coordinator          holder, until (of the lease, in seconds of the server's clock), epoch
    mr:coordinator:memory   what the coordinator remembers from tick to tick, as it wrote it

Epochs come from the truth and only grow. A control write is done only while its epoch is the one that stands
here; where none does, after a flush, it is refused too, until the holder has had its epoch confirmed by the
truth and put it here again. So whoever was stopped past its lease and goes on changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract import limits
from chalicelib.contract.errors import StaleEpoch
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated

_STALE: Final = "STALE"
_EPOCHS_END: Final = 10**15

FENCE: Final = f"""
local standing = redis.pcall('HGET', '{keys.COORDINATOR}', 'epoch')
if standing ~= ARGV[1] then
  return redis.error_reply('{_STALE} another epoch stands there')
end
"""
"""Lua, before what a control write does. Its first argument is the epoch; run it in `fenced`."""

# Free, over, or this holder's already. What is no lease is none.
_LEASE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  redis.call('DEL', KEYS[1])
end
local holder, till, epoch = unpack(redis.call('HMGET', KEYS[1], 'holder', 'until', 'epoch'))
local ends = tonumber(till or '')
if holder and holder ~= ARGV[1] and ends and ends > now and ends <= now + 2 * ARGV[2] then
  return {0, holder, epoch or ''}
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.6f', now + ARGV[2]))
return {1, ARGV[1], epoch or ''}
"""

_RELEASE: Final = """
if redis.pcall('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'holder', 'until')
end
"""

_LED: Final = """
local till = tonumber(redis.call('HGET', KEYS[1], 'until') or '')
return till and till > tonumber(redis.call('TIME')[1]) and 1 or 0
"""

# Never back, and only for who has the lease. What no coordinator can have had is no epoch.
_RAISE: Final = f"""
local holder, epoch = unpack(redis.call('HMGET', KEYS[1], 'holder', 'epoch'))
local standing = tonumber(epoch or '') or 0
if holder ~= ARGV[2] or (standing > tonumber(ARGV[1]) and standing < {_EPOCHS_END}) then
  return redis.error_reply('{_STALE} another holder or a later epoch stands there')
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
"""

# An empty id says that something was assigned, if only nothing. A host that has left meanwhile gets nothing:
# nobody would take it away again.
_ASSIGN: Final = (
    FENCE
    + """
redis.call('DEL', KEYS[1])
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then
  return
end
redis.call('SADD', KEYS[1], '')
for first = 3, #ARGV, 1000 do
  redis.call('SADD', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
"""
)

# Whoever was heard of meanwhile stays.
_FORGET: Final = (
    FENCE
    + """
local beat = redis.call('HGET', KEYS[1], ARGV[2])
local seen = beat and tonumber(string.match(beat, '^([%d.]+)|') or '')
if seen and redis.call('TIME')[1] - seen < tonumber(ARGV[3]) then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3])
return 1
"""
)

_REMEMBER: Final = FENCE + "redis.call('SET', KEYS[1], ARGV[2])"

# Only of hosts that are not there.
_DROP: Final = (
    FENCE
    + """
local dropped = 0
for index = 2, #ARGV do
  local host = string.match(ARGV[index], '/(.*)$')
  if host and host ~= '!' and redis.call('HEXISTS', KEYS[2], host) == 0 then
    dropped = dropped + redis.call('HDEL', KEYS[1], ARGV[index])
  end
end
return dropped
"""
)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who has it. `epoch`: the one that stands in the hot state; 0 where none does."""

    mine: bool
    holder: str
    epoch: int


class Coordination(Connected):
    """What only a coordinator does. With an epoch: raises StaleEpoch unless that is the one that stands."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._lease = self._redis.register_script(_LEASE)
        self._release = self._redis.register_script(_RELEASE)
        self._led = self._redis.register_script(_LED)
        self._raise = self._redis.register_script(_RAISE)
        self._assign = self._redis.register_script(_ASSIGN)
        self._forget_silent = self._redis.register_script(_FORGET)
        self._remember = self._redis.register_script(_REMEMBER)
        self._drop_gone = self._redis.register_script(_DROP)

    def take_lease(self, holder: str) -> Lease:
        """For `limits.COORDINATOR_LEASE_SECONDS`, unless another has it. Whoever has it renews it."""
        args: list[str | float] = [holder, limits.COORDINATOR_LEASE_SECONDS]
        with translated():
            mine, has, epoch = self._lease(keys=[keys.COORDINATOR], args=args)
        standing = int(epoch) if epoch.isdigit() and len(epoch) < len(str(_EPOCHS_END)) else 0
        return Lease(bool(mine), has.decode(errors="replace"), standing)

    def release_lease(self, holder: str) -> None:
        """The next one may begin at once. Safe to repeat."""
        with translated():
            self._release(keys=[keys.COORDINATOR], args=[holder])

    def is_coordinated(self) -> bool:
        """Whether somebody has the lease."""
        with translated():
            return bool(self._led(keys=[keys.COORDINATOR]))

    def raise_epoch(self, epoch: int, *, holder: str) -> None:
        """From now on control writes are done under this one, which the truth has confirmed.

        Raises StaleEpoch where the lease is another's, or a later epoch stands.
        """
        with fenced():
            self._raise(keys=[keys.COORDINATOR], args=[epoch, holder])

    def assign(self, host_id: str, version_ids: Iterable[str], *, epoch: int) -> None:
        """Set, never add: the host may hold exactly these. Nothing for one that is not registered."""
        names = [keys.assignments(host_id), keys.HOSTS]
        with fenced():
            self._assign(keys=names, args=[epoch, host_id, *sorted(version_ids)])

    def forget_silent_host(self, host_id: str, *, silent_seconds: float, epoch: int) -> bool:
        """Drop its registration, assignments and leases. False where it was heard of since."""
        names = [keys.HOSTS, keys.assignments(host_id), keys.leases(host_id)]
        with fenced():
            return bool(self._forget_silent(keys=names, args=[epoch, host_id, silent_seconds]))

    def drop_replicas_of_gone(
        self, model_id: str, replicas: Iterable[tuple[str, str]], *, epoch: int
    ) -> None:
        """Pairs of version id and host id: those on hosts that are not registered go."""
        fields = [f"{version_id}/{host_id}" for version_id, host_id in replicas]
        if fields:
            with fenced():
                self._drop_gone(keys=[keys.replicas(model_id), keys.HOSTS], args=[epoch, *fields])

    def put_memory(self, memory: bytes, *, epoch: int) -> None:
        with fenced():
            self._remember(keys=[keys.COORDINATOR_MEMORY], args=[epoch, memory])

    def memory(self) -> bytes | None:
        """None where nothing is remembered, and for what is no text of bytes."""
        with translated():
            if self._redis.type(keys.COORDINATOR_MEMORY) != b"string":
                return None
            raw: bytes | None = self._redis.get(keys.COORDINATOR_MEMORY)
        return raw

    def assignments(self, host_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Version ids by host, in order; those of a host that has none are empty."""
        wanted = tuple(host_ids)
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for host_id in wanted:
                pipe.smembers(keys.assignments(host_id))
            found = pipe.execute(raise_on_error=False)
        return {
            host_id: tuple(sorted(one.decode(errors="replace") for one in versions if one))
            if isinstance(versions, set)
            else ()
            for host_id, versions in zip(wanted, found, strict=True)
        }


@contextmanager
def fenced() -> Iterator[None]:
    """Raises StaleEpoch where the script's fence stopped it, and as `translated`."""
    with translated():
        try:
            yield
        except redis.ResponseError as error:
            if str(error).startswith(_STALE):
                raise StaleEpoch(str(error)) from error
            raise
