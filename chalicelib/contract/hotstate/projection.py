"""The projection of the truth: credentials, models and versions, written by the control plane only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import ModelRecord, TokenRecord, VersionRecord, decode, encode

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

# A stamp that no other projection has, and how far the tokens are projected.
_BEGIN_PROJECTION: Final = """
local now = redis.call('TIME')
local stamp = now[1] .. '.' .. string.format('%06d', now[2])
redis.call('SET', KEYS[1], stamp)
return {stamp, redis.call('GET', KEYS[2])}
"""

# Complete, unless everything was flushed (or another one began) meanwhile.
_END_PROJECTION: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Began:
    """A projection that is under way. `tokens_until`: see `end_projection`; None where nothing is kept."""

    stamp: bytes
    tokens_until: str | None


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
            stamp, until = self._begin_projection(keys=[keys.PROJECTING, keys.TOKENS_UNTIL])
        return Began(bytes(stamp), until.decode(errors="replace") if until else None)

    def end_projection(self, began: Began, *, tokens_until: str) -> None:
        """Everything has been written: from now on what is missing does not exist.

        `tokens_until`: the truth's time up to which changed tokens were written, for the next projection.
        """
        with translated():
            marks = [keys.PROJECTING, keys.PROJECTED, keys.TOKENS_UNTIL]
            self._end_projection(keys=marks, args=[began.stamp, tokens_until])

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

    def forget_model(self, model_id: str) -> None:
        """Nobody has asked for it for as long as the deleted are kept."""
        with translated():
            self._redis.delete(keys.model(model_id), keys.replicas(model_id), keys.latency(model_id))


def _serving(record: ModelRecord) -> tuple[VersionRecord, ...]:
    candidate = record.candidate.version if record.candidate else None
    return tuple(version for version in (record.active, candidate) if version is not None)
