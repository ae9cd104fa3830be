"""Every key, script and typed access of the hot state in Redis (or Valkey).

Nothing here is the truth: MongoDB is, or the host that speaks. All of it can be
flushed and rebuilds itself. Ages are compared with the server's own clock.

    mr:token:<sha256>        TokenRecord                 written if its revision is newer
    mr:model:<model id>      ModelRecord                 written if its revision is newer
    mr:version:<version id>  VersionRecord               immutable
    mr:projecting            when the latest projection of the truth began
    mr:projected             when the latest one that nothing was lost from began
    mr:hosts                 host id → <seen>|Heartbeat
    mr:replicas:<model id>   <version id>/<host id> → <state>/<boot id>
                             <version id>/!         → quarantined/<until>
    mr:assignments:<host id> set of version ids
    mr:rollout:<model id>:<trial>  <version id>/<counter> → number, see Counts
    mr:dropped               version id → when it was dropped: hosts forget its bytes
    mr:prepare               stream of PrepareJob, consumer group "hosts"
    mr:prepare:<version id>  the stage a job is in; its presence says that a job exists
    mr:results               stream of PrepareResult

A value that does not decode reads as absent. Redis errors surface as
`DependencyFailed`, which is retryable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.messages import (
    Counts,
    Heartbeat,
    ModelRecord,
    PrepareJob,
    PrepareResult,
    PrepareStage,
    Replica,
    ReplicaState,
    TokenRecord,
    VersionRecord,
    decode,
    encode,
)

JOBS: Final = "mr:prepare"
RESULTS: Final = "mr:results"
GROUP: Final = "hosts"
HOSTS: Final = "mr:hosts"
DROPPED: Final = "mr:dropped"
PROJECTING: Final = "mr:projecting"
PROJECTED: Final = "mr:projected"
_EVERY_HOST: Final = "!"
_JOB_MARK_SECONDS: Final = 3600
_STREAM_LENGTH_MAX: Final = 100_000
_SEEN: Final = re.compile(rb"\d+\.\d{6}")

# Write unless what stands there carries the same or a higher revision. An
# unreadable value counts as absent.
_PUT_IF_NEWER: Final = """
local old = redis.call('GET', KEYS[1])
if old then
  local ok, record = pcall(cjson.decode, old)
  if ok and type(record) == 'table' and tonumber(record.revision) and
     tonumber(record.revision) >= tonumber(ARGV[2]) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

# All that routing needs, in one round trip.
_ROUTE: Final = """
local now = redis.call('TIME')
return {now[1] .. '.' .. string.format('%06d', now[2]),
        redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]),
        redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4])}
"""

# A stamp that no other projection has.
_BEGIN_PROJECTION: Final = """
local now = redis.call('TIME')
local stamp = now[1] .. '.' .. string.format('%06d', now[2])
redis.call('SET', KEYS[1], stamp)
return stamp
"""

# Complete, unless everything was flushed (or another one began) meanwhile.
_END_PROJECTION: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""

# Seen now; says whether the host was known and what it is assigned.
_HEARTBEAT: Final = """
local now = redis.call('TIME')
local known = redis.call('HEXISTS', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], now[1] .. '.' .. string.format('%06d', now[2]) .. '|' .. ARGV[2])
return {known, redis.call('SMEMBERS', KEYS[2])}
"""

# What is new is dropped now; what has been is left as it is.
_DROP: Final = """
local now = redis.call('TIME')
for _, version in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 'NX', now[1] .. '.' .. string.format('%06d', now[2]), version)
end
"""

# From now, by the server's clock.
_QUARANTINE: Final = """
local till = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], 'quarantined/' .. till)
return till
"""

# One job per version at a time.
_ENQUEUE: Final = """
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[3]) then
  return 0
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'job', ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class RouteView:
    """What one round trip shows of a credential, a model and the fleet."""

    now: float
    token: TokenRecord | None
    model: ModelRecord | None
    hosts: tuple[Heartbeat, ...]
    replicas: tuple[tuple[str, Replica], ...]
    """Pairs of version id and replica."""
    quarantined: frozenset[str] = frozenset()
    """Ids of versions that no host may run now."""


@dataclass(frozen=True, slots=True)
class CredentialView:
    """What a host's own door sees of a credential and a model.

    `projected`: all credentials there are have been written since the last flush, so what is missing
    does not exist. `now` is the server's time.
    """

    token: TokenRecord | None
    model: ModelRecord | None
    projected: bool
    now: float


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    known: bool
    """False when the hot state had forgotten this host, which then tells everything again."""
    assignments: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Versions that were deleted. `now` is what to ask from the next time."""

    now: float
    version_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    entry_id: str
    job: PrepareJob
    deliveries: int


class HotState:
    """Typed access. One instance per process; the client's pool makes it thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client  # redis-py types every reply as a union of sync and async
        self._put_if_newer = self._redis.register_script(_PUT_IF_NEWER)
        self._route = self._redis.register_script(_ROUTE)
        self._begin_projection = self._redis.register_script(_BEGIN_PROJECTION)
        self._end_projection = self._redis.register_script(_END_PROJECTION)
        self._heartbeat = self._redis.register_script(_HEARTBEAT)
        self._quarantine = self._redis.register_script(_QUARANTINE)
        self._drop = self._redis.register_script(_DROP)
        self._enqueue = self._redis.register_script(_ENQUEUE)

    @classmethod
    def connect(cls, url: str, *, timeout_seconds: float) -> HotState:
        """Lazily: no connection is made before the first call."""
        client = redis.Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
        return cls(client)

    def ping(self) -> None:
        with _translated():
            self._redis.ping()

    # What the gateway reads.

    def route(self, sha256: str, model_id: str) -> RouteView:
        """Credential, model, hosts and the model's replicas, as of one instant."""
        keys = [_token(sha256), _model(model_id), HOSTS, _replicas(model_id)]
        with _translated():
            now, token, model, hosts, replicas = self._route(keys=keys)
        return RouteView(
            now=float(now),
            token=decode(token, TokenRecord),
            model=decode(model, ModelRecord),
            hosts=tuple(_read_hosts(_pairs(hosts))),
            replicas=tuple(_read_replicas(_pairs(replicas))),
            quarantined=frozenset(_read_quarantined(_pairs(replicas), float(now))),
        )

    # What a host's own door reads.

    def credentials(self, wanted: Sequence[tuple[str, str]]) -> list[CredentialView]:
        """Of pairs of a credential's SHA-256 and a model's id, all as of one instant."""
        keys = [key for sha256, model_id in wanted for key in (_token(sha256), _model(model_id))]
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            (seconds, micros), (*found, projected) = pipe.time().mget(*keys, PROJECTED).execute()
        known, now = projected is not None, seconds + micros / 1e6
        return [
            CredentialView(decode(token, TokenRecord), decode(model, ModelRecord), known, now)
            for token, model in zip(found[::2], found[1::2], strict=True)
        ]

    # The projection of the truth, written by the control plane only.

    def begin_projection(self) -> bytes:
        """What `end_projection` is to be told."""
        with _translated():
            return bytes(self._begin_projection(keys=[PROJECTING]))

    def end_projection(self, stamp: bytes) -> None:
        """Everything has been written: from now on what is missing does not exist."""
        with _translated():
            self._end_projection(keys=[PROJECTING, PROJECTED], args=[stamp])

    def put_token(self, sha256: str, record: TokenRecord) -> None:
        self.put_tokens([(sha256, record)])

    def put_tokens(self, records: Iterable[tuple[str, TokenRecord]]) -> None:
        """An older revision never overwrites a newer one."""
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for sha256, record in records:
                args: list[bytes | int] = [encode(record), record.revision]
                self._put_if_newer(keys=[_token(sha256)], args=args, client=pipe)
            pipe.execute()

    def put_model(self, record: ModelRecord) -> None:
        self.put_models([record])

    def put_models(self, records: Iterable[ModelRecord]) -> None:
        """Routes and, before them, what they point to. Older revisions never overwrite newer ones."""
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for record in records:
                for version in _serving(record):
                    pipe.set(_version(version.version_id), encode(version))
                args: list[bytes | int] = [encode(record), record.revision]
                self._put_if_newer(keys=[_model(record.model_id)], args=args, client=pipe)
            pipe.execute()

    def put_version(self, record: VersionRecord) -> None:
        with _translated():
            self._redis.set(_version(record.version_id), encode(record))

    def version(self, version_id: str) -> VersionRecord | None:
        with _translated():
            return decode(self._redis.get(_version(version_id)), VersionRecord)

    def forget_model(self, model_id: str) -> None:
        """Nobody has asked for it for as long as the deleted are kept."""
        with _translated():
            self._redis.delete(_model(model_id), _replicas(model_id))

    # Trials of candidates.

    def count_rollout(self, model_id: str, trial: int, seen: Mapping[str, Counts]) -> None:
        """Add what a host saw, by version id. Hosts collect, and tell every few seconds."""
        key = _rollout(model_id, trial)
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            for version_id, counts in seen.items():
                for counter, amount in msgspec.structs.asdict(counts).items():
                    if amount:
                        pipe.hincrby(key, f"{version_id}/{counter}", amount)
            pipe.expire(key, limits.ROLLOUT_COUNTS_SECONDS)
            pipe.execute()

    def rollout(self, model_id: str, trial: int) -> dict[str, Counts]:
        """What all hosts saw together, by version id."""
        with _translated():
            raw = self._redis.hgetall(_rollout(model_id, trial))
        return _read_counts(raw)

    # What was deleted.

    def drop_versions(self, version_ids: Sequence[str]) -> None:
        """Hosts are told to forget them, and hold them no more. Safe to repeat."""
        if not version_ids:
            return
        with _translated():
            self._drop(keys=[DROPPED], args=list(version_ids))
            hosts = self._redis.hkeys(HOSTS)
            with self._redis.pipeline(transaction=False) as pipe:
                for host_id in hosts:
                    pipe.srem(_assignments(host_id.decode(errors="replace")), *version_ids)
                pipe.execute()

    def dropped_since(self, since: float) -> Dropped:
        """What was dropped at or after `since` by the server's clock; 0 for everything still remembered."""
        with _translated(), self._redis.pipeline(transaction=True) as pipe:  # hosts may only read the key
            (seconds, micros), version_ids = pipe.time().zrangebyscore(DROPPED, since, "+inf").execute()
        return Dropped(seconds + micros / 1e6, frozenset(item.decode() for item in version_ids))

    def forget_versions(self, version_ids: Sequence[str]) -> None:
        """Their bytes are gone everywhere."""
        if version_ids:
            with _translated():
                self._redis.zrem(DROPPED, *version_ids)
                self._redis.delete(*map(_version, version_ids))

    # Hosts and replicas.

    def beat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        keys = [HOSTS, _assignments(heartbeat.host_id)]
        with _translated():
            known, assigned = self._heartbeat(keys=keys, args=[heartbeat.host_id, encode(heartbeat)])
        return HeartbeatReply(bool(known), frozenset(item.decode() for item in assigned))

    def hosts(self) -> tuple[float, tuple[Heartbeat, ...]]:
        """The server's time and every host that has registered, dead ones included."""
        with _translated():
            seconds, micros = self._redis.time()
            raw = self._redis.hgetall(HOSTS)
        return seconds + micros / 1e6, tuple(_read_hosts(raw.items()))

    def forget_host(self, host_id: str) -> None:
        with _translated():
            self._redis.pipeline(transaction=False).hdel(HOSTS, host_id).delete(
                _assignments(host_id)
            ).execute()

    def replicas(self, model_id: str) -> tuple[tuple[str, Replica], ...]:
        with _translated():
            return tuple(_read_replicas(self._redis.hgetall(_replicas(model_id)).items()))

    def quarantined(self, model_id: str) -> frozenset[str]:
        """Ids of the model's versions that no host may run now."""
        with _translated():
            seconds, micros = self._redis.time()
            raw = self._redis.hgetall(_replicas(model_id))
        return frozenset(_read_quarantined(raw.items(), seconds + micros / 1e6))

    def put_replica(self, model_id: str, version_id: str, replica: Replica) -> None:
        with _translated():
            self._redis.hset(_replicas(model_id), *_replica_entry(version_id, replica))

    def put_replicas(self, replicas: Iterable[tuple[str, str, Replica]]) -> None:
        """Many at once: triples of model id, version id and replica."""
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for model_id, version_id, replica in replicas:
                pipe.hset(_replicas(model_id), *_replica_entry(version_id, replica))
            pipe.execute()

    def drop_replicas(self, model_id: str, replicas: Iterable[tuple[str, str]]) -> None:
        """Pairs of version id and host id are no longer there."""
        fields = [f"{version_id}/{host_id}" for version_id, host_id in replicas]
        if fields:
            with _translated():
                self._redis.hdel(_replicas(model_id), *fields)

    def quarantine(self, model_id: str, version_id: str, *, seconds: float) -> None:
        """No gateway sends requests for this version to any host for so long."""
        with _translated():
            args: list[str | int] = [f"{version_id}/{_EVERY_HOST}", int(seconds)]
            self._quarantine(keys=[_replicas(model_id)], args=args)

    def assign(self, host_id: str, version_ids: Iterable[str]) -> None:
        """Set, never add: the host may hold exactly these."""
        wanted = sorted(version_ids)
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_assignments(host_id))
            if wanted:
                pipe.sadd(_assignments(host_id), *wanted)
            pipe.execute()

    def assign_too(self, host_ids: Iterable[str], version_ids: Sequence[str]) -> None:
        """Until the coordinator assigns anew, these hosts hold these as well."""
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for host_id in host_ids:
                pipe.sadd(_assignments(host_id), *version_ids)
            pipe.execute()

    # Preparing versions.

    def enqueue(self, job: PrepareJob) -> bool:
        """False when a job for this version is under way already."""
        keys = [JOBS, _job(job.version_id)]
        mark: tuple[str, int] = (PrepareStage.QUEUED, _JOB_MARK_SECONDS)
        with _translated():
            return bool(self._enqueue(keys=keys, args=[encode(job), *mark, _STREAM_LENGTH_MAX]))

    def take_job(self, host_id: str, *, wait_ms: int) -> ClaimedJob | None:
        """One job for this host: an orphan of a dead host first, else a new one."""
        with _translated():
            try:
                return self._take_orphan(host_id) or self._take_new(host_id, wait_ms)
            except redis.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                self._make_group()
                return self._take_new(host_id, wait_ms)

    def keep_job(self, host_id: str, entry_id: str, *, version_id: str, stage: PrepareStage) -> None:
        """Tell that the job is alive and where it stands; call every few seconds."""
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.xclaim(JOBS, GROUP, host_id, min_idle_time=0, message_ids=[entry_id], justid=True)
            pipe.set(_job(version_id), stage, ex=_JOB_MARK_SECONDS)
            pipe.execute()

    def finish_job(self, entry_id: str, result: PrepareResult) -> None:
        """Hand the result over and drop the job, together."""
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(RESULTS, {"result": encode(result)}, maxlen=_STREAM_LENGTH_MAX, approximate=True)
            pipe.xack(JOBS, GROUP, entry_id)
            pipe.xdel(JOBS, entry_id)
            pipe.execute()

    def stage(self, version_id: str) -> PrepareStage | None:
        with _translated():
            raw = self._redis.get(_job(version_id))
        try:
            return PrepareStage(raw.decode()) if raw else None
        except ValueError:
            return None

    def results(self, *, count: int) -> tuple[tuple[str, PrepareResult | None], ...]:
        """The oldest results not yet dropped; None where one does not decode."""
        with _translated():
            entries = self._redis.xrange(RESULTS, count=count)
        return tuple((key.decode(), decode(fields.get(b"result"), PrepareResult)) for key, fields in entries)

    def drop_result(self, entry_id: str, *, version_id: str | None) -> None:
        """It is recorded: forget it, and let the version be prepared again if ever asked."""
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xdel(RESULTS, entry_id)
            if version_id:
                pipe.delete(_job(version_id))
            pipe.execute()

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(JOBS, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _take_orphan(self, host_id: str) -> ClaimedJob | None:
        idle_ms = int(limits.PREPARE_CLAIM_SECONDS * 1000)
        reply = self._redis.xautoclaim(JOBS, GROUP, host_id, min_idle_time=idle_ms, count=1)
        return self._claimed(reply[1])

    def _take_new(self, host_id: str, wait_ms: int) -> ClaimedJob | None:
        reply = self._redis.xreadgroup(GROUP, host_id, {JOBS: ">"}, count=1, block=wait_ms)
        if not reply:
            return None
        streams = reply.items() if isinstance(reply, dict) else reply
        _, entries = next(iter(streams))
        if entries and isinstance(entries[0], list):  # RESP3 wraps the entries once more
            entries = entries[0]
        return self._claimed(entries)

    def _claimed(self, entries: Sequence[Any]) -> ClaimedJob | None:
        """The first entry, as ours; a job that does not decode is dropped."""
        if not entries:
            return None
        entry_id, fields = entries[0]
        job = decode((fields or {}).get(b"job"), PrepareJob)
        if job is None:
            self._redis.xack(JOBS, GROUP, entry_id)
            self._redis.xdel(JOBS, entry_id)
            return None
        pending = self._redis.xpending_range(JOBS, GROUP, min=entry_id, max=entry_id, count=1)
        deliveries = pending[0]["times_delivered"] if pending else 1
        return ClaimedJob(entry_id.decode(), job, deliveries)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise DependencyFailed("The platform's hot state does not answer. Try again shortly.") from error


def _token(sha256: str) -> str:
    return f"mr:token:{sha256}"


def _model(model_id: str) -> str:
    return f"mr:model:{model_id}"


def _version(version_id: str) -> str:
    return f"mr:version:{version_id}"


def _replicas(model_id: str) -> str:
    return f"mr:replicas:{model_id}"


def _rollout(model_id: str, trial: int) -> str:
    return f"mr:rollout:{model_id}:{trial}"


def _assignments(host_id: str) -> str:
    return f"mr:assignments:{host_id}"


def _job(version_id: str) -> str:
    return f"mr:prepare:{version_id}"


def _replica_entry(version_id: str, replica: Replica) -> tuple[str, str]:
    return f"{version_id}/{replica.host_id}", f"{replica.state}/{replica.boot_id}"


def _serving(record: ModelRecord) -> tuple[VersionRecord, ...]:
    candidate = record.candidate.version if record.candidate else None
    return tuple(version for version in (record.active, candidate) if version is not None)


def _read_counts(raw: Mapping[bytes, bytes]) -> dict[str, Counts]:
    """Counters of another time or that do not decode are left out."""
    found: dict[str, dict[str, int]] = {}
    for field, value in raw.items():
        version_id, _, counter = field.decode(errors="replace").partition("/")
        if counter in Counts.__struct_fields__ and value.isdigit():
            found.setdefault(version_id, {})[counter] = int(value)
    return {version_id: Counts(**counters) for version_id, counters in found.items()}


def _pairs(flat: Sequence[bytes] | dict[bytes, bytes]) -> Iterable[tuple[bytes, bytes]]:
    """HGETALL from inside a script is a flat list with RESP2 and a map with RESP3."""
    if isinstance(flat, dict):
        return flat.items()
    return zip(flat[::2], flat[1::2], strict=True)


def _read_hosts(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Heartbeat]:
    for _, raw in pairs:
        seen, _, body = raw.partition(b"|")
        heartbeat = decode(body, Heartbeat)
        if heartbeat is not None and _SEEN.fullmatch(seen):
            yield msgspec.structs.replace(heartbeat, at=float(seen))


def _read_replicas(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Replica]]:
    for field, value in pairs:
        version_id, _, host_id = field.decode(errors="replace").partition("/")
        state, _, boot_id = value.decode(errors="replace").partition("/")
        if state in set(ReplicaState):
            yield version_id, Replica(host_id=host_id, boot_id=boot_id, state=ReplicaState(state))


def _read_quarantined(pairs: Iterable[tuple[bytes, bytes]], now: float) -> Iterator[str]:
    for field, value in pairs:
        version_id, _, host_id = field.decode(errors="replace").partition("/")
        state, _, until = value.decode(errors="replace").partition("/")
        if (host_id, state) == (_EVERY_HOST, "quarantined") and until.isdecimal() and now < int(until):
            yield version_id
