"""The projection of the truth: credentials, models and versions, written by the control plane only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import ModelRecord, TokenRecord, VersionRecord, decode, encode

_AT_ONCE: Final = 500

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

# A stamp that no other projection has, and how far tokens and models are projected.
_BEGIN_PROJECTION: Final = """
local now = redis.call('TIME')
local stamp = now[1] .. '.' .. string.format('%06d', now[2])
redis.call('SET', KEYS[1], stamp)
return {stamp, redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3])}
"""

# Complete, unless everything was flushed (or another one began) meanwhile.
_END_PROJECTION: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[2])
redis.call('SET', KEYS[4], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Began:
    """A projection that is under way. The marks: see `end_projection`; None where nothing is kept."""

    stamp: bytes
    tokens_until: str | None
    models_until: str | None


class Projection(Connected):
    """Older revisions never overwrite newer ones."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._put_if_newer = self._redis.register_script(_PUT_IF_NEWER)
        self._begin_projection = self._redis.register_script(_BEGIN_PROJECTION)
        self._end_projection = self._redis.register_script(_END_PROJECTION)

    def begin_projection(self) -> Began:
        """What `end_projection` is to be told."""
        with translated():
            names = [keys.PROJECTING, keys.TOKENS_UNTIL, keys.MODELS_UNTIL]
            stamp, *marks = self._begin_projection(keys=names)
        tokens, models = (mark.decode(errors="replace") if mark else None for mark in marks)
        return Began(bytes(stamp), tokens, models)

    def end_projection(self, began: Began, *, tokens_until: str, models_until: str) -> None:
        """Everything has been written: from now on what is missing does not exist.

        The marks, for the next projection: the truth's time up to which what changed was written, and how far
        the sweep through all the rest came.
        """
        with translated():
            names = [keys.PROJECTING, keys.PROJECTED, keys.TOKENS_UNTIL, keys.MODELS_UNTIL]
            self._end_projection(keys=names, args=[began.stamp, tokens_until, models_until])

    def forget_tokens(self, sha256s: Sequence[str]) -> None:
        """They ended so long ago that the truth has forgotten them."""
        if sha256s:
            with translated():
                self._redis.delete(*map(keys.token, sha256s))

    def put_token(self, sha256: str, record: TokenRecord) -> None:
        self.put_tokens([(sha256, record)])

    def put_tokens(self, records: Iterable[tuple[str, TokenRecord]]) -> None:
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for sha256, record in records:
                args: list[bytes | int] = [encode(record), record.revision]
                self._put_if_newer(keys=[keys.token(sha256)], args=args, client=pipe)
            pipe.execute()

    def put_model(self, record: ModelRecord) -> None:
        self.put_models([record])

    def put_models(self, records: Iterable[ModelRecord]) -> None:
        """Routes and, before them, what they point to."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for record in records:
                for version in _serving(record):
                    pipe.set(keys.version(version.version_id), encode(version))
                args: list[bytes | int] = [encode(record), record.revision]
                self._put_if_newer(keys=[keys.model(record.model_id)], args=args, client=pipe)
            pipe.execute()

    def put_version(self, record: VersionRecord) -> None:
        with translated():
            self._redis.set(keys.version(record.version_id), encode(record))

    def token(self, sha256: str) -> TokenRecord | None:
        with translated():
            return decode(self._redis.get(keys.token(sha256)), TokenRecord)

    def model(self, model_id: str) -> ModelRecord | None:
        with translated():
            return decode(self._redis.get(keys.model(model_id)), ModelRecord)

    def version(self, version_id: str) -> VersionRecord | None:
        with translated():
            return decode(self._redis.get(keys.version(version_id)), VersionRecord)

    def models_of(self, version_ids: Sequence[str]) -> dict[str, str]:
        """Ids of the models they are versions of, as far as they are known."""
        found: dict[str, str] = {}
        for first in range(0, len(version_ids), _AT_ONCE):
            with translated():
                page = self._redis.mget([keys.version(one) for one in version_ids[first : first + _AT_ONCE]])
            records = (decode(raw, VersionRecord) for raw in page)
            found |= {record.version_id: record.model_id for record in records if record is not None}
        return found

    def forget_model(self, model_id: str) -> None:
        """Nobody has asked for it for as long as the deleted are kept."""
        with translated():
            self._redis.delete(keys.model(model_id), keys.replicas(model_id), keys.latency(model_id))


def _serving(record: ModelRecord) -> tuple[VersionRecord, ...]:
    candidate = record.candidate.version if record.candidate else None
    return tuple(version for version in (record.active, candidate) if version is not None)
