"""Preparing versions: a stream of jobs that hosts take, and a stream of what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import PrepareJob, PrepareResult, PrepareStage, decode, encode

_JOB_MARK_SECONDS: Final = 3600
_STREAM_LENGTH_MAX: Final = 100_000

# One job per version at a time. Where no host would take it the coordinator is woken.
_ENQUEUE: Final = """
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[3]) then
  return 0
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'job', ARGV[1])
for _, beat in ipairs(redis.pcall('HVALS', KEYS[3])) do
  if string.find(beat, '"state":"ready"', 1, true) then return 1 end
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('RPUSH', KEYS[4], 1)
end
return 1
"""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    entry_id: str
    job: PrepareJob
    deliveries: int


class Jobs(Connected):
    """One job per version at a time, one taker per job."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._enqueue = self._redis.register_script(_ENQUEUE)

    def enqueue(self, job: PrepareJob) -> bool:
        """False when a job for this version is under way already."""
        names = [keys.JOBS, keys.job(job.version_id), keys.HOSTS, keys.WAKE]
        mark: tuple[str, int] = (PrepareStage.QUEUED, _JOB_MARK_SECONDS)
        with translated():
            return bool(self._enqueue(keys=names, args=[encode(job), *mark, _STREAM_LENGTH_MAX]))

    def take_job(self, host_id: str, *, wait_ms: int) -> ClaimedJob | None:
        """One job for this host: an orphan of a dead host first, else a new one."""
        with translated():
            try:
                return self._take_orphan(host_id) or self._take_new(host_id, wait_ms)
            except redis.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                self._make_group()
                return self._take_new(host_id, wait_ms)

    def keep_job(self, host_id: str, entry_id: str, *, version_id: str, stage: PrepareStage) -> None:
        """Tell that the job is alive and where it stands; call every few seconds."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.xclaim(keys.JOBS, keys.GROUP, host_id, min_idle_time=0, message_ids=[entry_id], justid=True)
            pipe.set(keys.job(version_id), stage, ex=_JOB_MARK_SECONDS)
            pipe.execute()

    def finish_job(self, entry_id: str, result: PrepareResult) -> None:
        """Hand the result over and drop the job, together."""
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(keys.RESULTS, {"result": encode(result)}, maxlen=_STREAM_LENGTH_MAX, approximate=True)
            pipe.xack(keys.JOBS, keys.GROUP, entry_id)
            pipe.xdel(keys.JOBS, entry_id)
            pipe.execute()

    def stage(self, version_id: str) -> PrepareStage | None:
        with translated():
            return read_stage(self._redis.get(keys.job(version_id)))

    def jobs_unfinished(self) -> int:
        """Jobs that no host has taken, and those that one is about; none where there is no queue of jobs."""
        with translated():
            try:
                return int(self._redis.xlen(keys.JOBS))
            except redis.ResponseError:
                return 0

    def oldest_job_seconds(self) -> float:
        """For how long the oldest of them has been there; 0 where there is none. Entries are named by when
        they came."""
        with translated():
            try:
                seconds, micros = self._redis.time()
                oldest = self._redis.xrange(keys.JOBS, count=1)
            except redis.ResponseError:
                return 0.0
        came = [int(name.partition(b"-")[0]) / 1000 for name, _ in oldest]
        return float(max(0.0, seconds + micros / 1e6 - came[0])) if came else 0.0

    def results(self, *, count: int) -> tuple[tuple[str, PrepareResult | None], ...]:
        """The oldest results not yet dropped; None where one does not decode."""
        with translated():
            entries = self._redis.xrange(keys.RESULTS, count=count)
        return tuple((key.decode(), decode(fields.get(b"result"), PrepareResult)) for key, fields in entries)

    def drop_result(self, entry_id: str, *, version_id: str | None) -> None:
        """It is recorded: forget it, and let the version be prepared again if ever asked."""
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xdel(keys.RESULTS, entry_id)
            if version_id:
                pipe.delete(keys.job(version_id))
            pipe.execute()

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(keys.JOBS, keys.GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _take_orphan(self, host_id: str) -> ClaimedJob | None:
        idle_ms = int(limits.PREPARE_CLAIM_SECONDS * 1000)
        reply = self._redis.xautoclaim(keys.JOBS, keys.GROUP, host_id, min_idle_time=idle_ms, count=1)
        return self._claimed(reply[1])

    def _take_new(self, host_id: str, wait_ms: int) -> ClaimedJob | None:
        reply = self._redis.xreadgroup(keys.GROUP, host_id, {keys.JOBS: ">"}, count=1, block=wait_ms)
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
            self._redis.xack(keys.JOBS, keys.GROUP, entry_id)
            self._redis.xdel(keys.JOBS, entry_id)
            return None
        pending = self._redis.xpending_range(keys.JOBS, keys.GROUP, min=entry_id, max=entry_id, count=1)
        deliveries = pending[0]["times_delivered"] if pending else 1
        return ClaimedJob(entry_id.decode(), job, deliveries)


def read_stage(raw: object) -> PrepareStage | None:
    """As it stands in Redis; None where there is none, or it is none of ours."""
    try:
        return PrepareStage(raw.decode()) if isinstance(raw, bytes) else None
    except ValueError:
        return None
