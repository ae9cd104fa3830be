"""Hosts, the replicas they hold, and what they are assigned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.hotstate.demand import TELL, read_time
from chalicelib.contract.messages import Heartbeat, HostLoad, Replica, ReplicaState, decode, encode

EVERY_HOST: Final = "!"
_QUARANTINED: Final = "quarantined"
_QUARANTINE_SECONDS_MAX: Final = 24 * 3600
"""None is longer: what says so is none of ours."""
_LEASE_TRIM_SECONDS: Final = 2 * limits.HEARTBEAT_SECONDS * 1.2
"""Two heartbeats, as far apart as they get."""

# Seen now; says whether the host was known and what it is assigned. More leases that are older than two
# heartbeats than there are requests in flight have been leaked by whoever took them: the oldest go. So do
# those from before the clock was set back, and whatever is no set of leases.
_HEARTBEAT: Final = (
    TELL
    + """
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])
local known = redis.call('HEXISTS', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], now .. '|' .. ARGV[2])
if ARGV[6] ~= '' then
  tell_load(time, now, ARGV[5], ARGV[6])
end
if ARGV[7] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('RPUSH', KEYS[4], 1)
end
local old = redis.pcall('ZCOUNT', KEYS[3], '-inf', string.format('%.6f', now - ARGV[4]))
if type(old) ~= 'number' then
  redis.call('DEL', KEYS[3])
elseif old - ARGV[3] > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, old - ARGV[3] - 1)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], string.format('%.6f', now + 1), '+inf')
local assigned = redis.pcall('SMEMBERS', KEYS[2])
return {known, assigned.err and {} or assigned}
"""
)

# As `Coordination.assign` writes them; only where there are none.
_REMIND: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return
end
redis.call('SADD', KEYS[1], '')
for first = 1, #ARGV, 1000 do
  redis.call('SADD', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
"""

# From now, by the server's clock. The list of all of them is only looked at, and may be something else.
_QUARANTINE: Final = """
local now = tonumber(redis.call('TIME')[1])
local till = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], 'quarantined/' .. till)
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then
  redis.call('DEL', KEYS[2])
end
redis.call('ZADD', KEYS[2], till, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
return till
"""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A version that no host may run until then, in Unix seconds."""

    model_id: str
    version_id: str
    until: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    known: bool
    """False when the hot state had forgotten this host, which then tells everything again."""
    assignments: frozenset[str] | None
    """None where nothing was ever assigned, or it was forgotten."""


class Fleet(Connected):
    """What hosts say of themselves, and what the coordinator tells them."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._heartbeat = self._redis.register_script(_HEARTBEAT)
        self._remind = self._redis.register_script(_REMIND)
        self._quarantine = self._redis.register_script(_QUARANTINE)

    def beat(self, heartbeat: Heartbeat, load: HostLoad | None = None, *, number: int = 0) -> HeartbeatReply:
        """Also corrects how many requests the host is taken to have in flight, and wakes the coordinator
        where it is overloaded.

        `number`: of what is told in `load`. Told again under the same one, it takes the first one's place.
        """
        host_id = heartbeat.host_id
        names = [keys.HOSTS, keys.assignments(host_id), keys.leases(host_id), keys.WAKE]
        overloaded = load is not None and load.overloads(heartbeat.slots)
        args: list[str | bytes | float] = [
            host_id,
            encode(heartbeat),
            heartbeat.in_flight,
            _LEASE_TRIM_SECONDS,
            f"{host_id}/{heartbeat.boot_id}/{number}",
            b"" if load is None else encode(load),
            int(overloaded),
        ]
        with translated():
            known, assigned = self._heartbeat(keys=names, args=args)
        assignments = frozenset(item.decode() for item in assigned if item)
        return HeartbeatReply(bool(known), assignments if assigned else None)

    def remind_of_assignments(self, host_id: str, version_ids: Iterable[str]) -> None:
        """What this host was assigned, if the hot state has forgotten it: else the coordinator would take the
        host for an empty one, and assign it little by little what it holds, and nothing else.
        """
        with translated():
            self._remind(keys=[keys.assignments(host_id)], args=sorted(version_ids))

    def hosts(self) -> tuple[float, tuple[Heartbeat, ...]]:
        """The server's time and every host that has registered, dead ones included."""
        with translated():
            seconds, micros = self._redis.time()
            raw = self._redis.hgetall(keys.HOSTS)
        found = (read_heartbeat(value) for value in raw.values())
        return seconds + micros / 1e6, tuple(host for host in found if host is not None)

    def forget_host(self, host_id: str) -> None:
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(keys.HOSTS, host_id).delete(keys.assignments(host_id), keys.leases(host_id)).execute()

    def replicas(self, model_id: str) -> tuple[tuple[str, Replica], ...]:
        """Pairs of version id and replica."""
        with translated():
            return tuple(read_replicas(self._redis.hgetall(keys.replicas(model_id)).items()))

    def replicas_of(self, model_ids: Sequence[str]) -> dict[str, tuple[tuple[str, Replica], ...]]:
        """By model id, as `replicas`."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for model_id in model_ids:
                pipe.hgetall(keys.replicas(model_id))
            found = pipe.execute(raise_on_error=False)
        return {
            model_id: tuple(read_replicas(raw.items())) if isinstance(raw, dict) else ()
            for model_id, raw in zip(model_ids, found, strict=True)
        }

    def quarantined(self, model_id: str) -> frozenset[str]:
        """Ids of the model's versions that no host may run now."""
        with translated():
            seconds, micros = self._redis.time()
            raw = self._redis.hgetall(keys.replicas(model_id))
        now = seconds + micros / 1e6
        return frozenset(version_id for version_id, until in read_quarantines(raw.items()) if now < until)

    def put_replica(self, model_id: str, version_id: str, replica: Replica) -> None:
        with translated():
            self._redis.hset(keys.replicas(model_id), *_replica_entry(version_id, replica))

    def put_replicas(self, replicas: Iterable[tuple[str, str, Replica]]) -> None:
        """Many at once: triples of model id, version id and replica."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for model_id, version_id, replica in replicas:
                pipe.hset(keys.replicas(model_id), *_replica_entry(version_id, replica))
            pipe.execute()

    def drop_replicas(self, model_id: str, replicas: Iterable[tuple[str, str]]) -> None:
        """Pairs of version id and host id are no longer there."""
        fields = [f"{version_id}/{host_id}" for version_id, host_id in replicas]
        if fields:
            with translated():
                self._redis.hdel(keys.replicas(model_id), *fields)

    def quarantine(self, model_id: str, version_id: str, *, seconds: float) -> None:
        """No gateway sends requests for this version to any host for so long."""
        with translated():
            args: list[str | int] = [
                f"{version_id}/{EVERY_HOST}",
                int(seconds),
                f"{model_id}/{version_id}",
                limits.QUARANTINES_SHOWN_MAX,
            ]
            self._quarantine(keys=[keys.replicas(model_id), keys.QUARANTINED], args=args)

    def quarantines(self) -> tuple[Quarantine, ...]:
        """Those of the whole fleet that go on, the latest to end first."""
        with translated():
            seconds, _ = self._redis.time()
            found = self._redis.zrange(
                keys.QUARANTINED,
                seconds + _QUARANTINE_SECONDS_MAX,
                f"({seconds}",
                desc=True,
                byscore=True,
                withscores=True,
            )
        named = ((*entry.decode(errors="replace").partition("/"), int(until)) for entry, until in found)
        return tuple(Quarantine(model_id, version_id, until) for model_id, _, version_id, until in named)

    def assign_too(self, host_ids: Iterable[str], version_ids: Sequence[str]) -> None:
        """Until the coordinator assigns anew, these hosts hold these as well."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for host_id in host_ids:
                pipe.sadd(keys.assignments(host_id), *version_ids)
            pipe.execute()


@lru_cache(maxsize=4096)
def read_heartbeat(raw: bytes) -> Heartbeat | None:
    """`<seen>|<heartbeat>` as it stands in Redis; None where that is not what it is."""
    seen, _, body = raw.partition(b"|")
    heartbeat, at = decode(body, Heartbeat), read_time(seen)
    return None if heartbeat is None or at is None else msgspec.structs.replace(heartbeat, at=at)


def read_replicas(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Replica]]:
    for field, value in entries:
        version_id, _, host_id = field.decode(errors="replace").partition("/")
        state, _, boot_id = value.decode(errors="replace").partition("/")
        if state in set(ReplicaState):
            yield version_id, Replica(host_id=host_id, boot_id=boot_id, state=ReplicaState(state))


def read_quarantines(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, int]]:
    """Version ids and the Unix second until which no host may run them."""
    for field, value in entries:
        version_id, _, host_id = field.decode(errors="replace").partition("/")
        state, _, until = value.decode(errors="replace").partition("/")
        if (host_id, state) == (EVERY_HOST, _QUARANTINED) and until.isdecimal():
            yield version_id, int(until)


def _replica_entry(version_id: str, replica: Replica) -> tuple[str, str]:
    return f"{version_id}/{replica.host_id}", f"{replica.state}/{replica.boot_id}"
