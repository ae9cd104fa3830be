"""Answers that are fetched later: begun and dispatched by the gateway, ended by the host that took them.

Under an answer's key: asked → Deferred, head → Head, body → the answer's if it is small, begun → when, and
claim, number, host, boot, at → its latest dispatch. Whoever ends it first ends it for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import decode, encode

_PENDING_SECONDS: Final = int(limits.ANSWER_DISPATCHES_MAX * limits.ANSWER_SECONDS_MAX)

_BEGIN: Final = f"""
local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], 'asked', ARGV[1], 'claim', ARGV[2], 'number', 1, 'host', '', 'boot', '',
           'at', now, 'begun', now)
redis.call('EXPIRE', KEYS[1], {_PENDING_SECONDS + limits.ANSWER_KEPT_SECONDS})
"""

# Only by whom it was claimed last, or in the place of that one, and while nothing has ended it.
_CHANGE: Final = """
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], 'head') == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'claim', ARGV[2], 'number', ARGV[3], 'host', ARGV[4], 'boot', ARGV[5],
           'at', ARGV[6] or redis.call('TIME')[1])
return 1
"""

_FINISH: Final = f"""
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'head') == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'head', ARGV[1], 'body', ARGV[2])
redis.call('EXPIRE', KEYS[1], {limits.ANSWER_KEPT_SECONDS})
return 1
"""


class Deferred(msgspec.Struct, frozen=True):
    """A request whose answer is fetched later. Its inputs are in the store.

    Attributes:
        credential_sha256: who may fetch it.
        payload_id: of the inputs.
        headers: tell a host how to read them.
        version: the number of the one version that may answer, empty where any may.
        sticky, callers_id: see `InferenceCall`.
    """

    tenant: str
    credential_sha256: str
    model_id: str
    request_id: str
    payload_id: str
    headers: dict[str, str]
    version: str = ""
    sticky: str | None = None
    callers_id: bool = False


class Head(msgspec.Struct, frozen=True):
    """How an answer begins. `stored`: its body is in the store."""

    status: int
    headers: dict[str, str]
    bytes: int
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The latest dispatch, counted from 1: who claimed to make it, which host took it, and when.

    No host: none has taken it yet.
    """

    claim: str
    number: int
    host_id: str
    boot_id: str
    at: float


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What is known of one answer. `head` is None while it is pending. `now` is the server's time."""

    asked: Deferred
    dispatched: Dispatched
    head: Head | None
    body: bytes
    begun: float
    now: float


class Answers(Connected):
    """Each under an id that nobody can guess."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._begin_answer = self._redis.register_script(_BEGIN)
        self._change_answer = self._redis.register_script(_CHANGE)
        self._finish_answer = self._redis.register_script(_FINISH)

    def begin_answer(self, answer_id: str, asked: Deferred, *, claim: str) -> None:
        """It is pending, and no host has it."""
        with translated():
            self._begin_answer(keys=[keys.answer(answer_id)], args=[encode(asked), claim])

    def claim_answer(self, answer_id: str, seen: Dispatched, *, claim: str, number: int) -> bool:
        """Make the next dispatch; False when somebody else does, or it is over."""
        args: list[str | int] = [seen.claim, claim, number, "", ""]
        with translated():
            return bool(self._change_answer(keys=[keys.answer(answer_id)], args=args))

    def answer_taken(self, answer_id: str, *, claim: str, number: int, host_id: str, boot_id: str) -> None:
        """A host has accepted the dispatch of this claim."""
        args: list[str | int] = [claim, claim, number, host_id, boot_id]
        with translated():
            self._change_answer(keys=[keys.answer(answer_id)], args=args)

    def answer_refused(self, answer_id: str, *, claim: str, number: int) -> None:
        """No host has accepted the dispatch of this claim: the next one need not wait."""
        args: list[str | int] = [claim, claim, number, "", "", 0]
        with translated():
            self._change_answer(keys=[keys.answer(answer_id)], args=args)

    def may_wait(self, tenant: str) -> bool:
        """Whether one more of its requests may wait until there is a host. Counts it."""
        name = keys.waiting(tenant)
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.set(name, 0, nx=True, ex=limits.ANSWERS_WAITING_SECONDS).incr(name)
            return bool(pipe.execute()[1] <= limits.ANSWERS_WAITING_MAX)

    def finish_answer(self, answer_id: str, head: Head, body: bytes) -> bool:
        """False when there is no such answer any more, or it has ended before."""
        with translated():
            return bool(self._finish_answer(keys=[keys.answer(answer_id)], args=[encode(head), body]))

    def forget_answer(self, answer_id: str) -> None:
        """No host has taken it, and its caller has been told so."""
        with translated():
            self._redis.delete(keys.answer(answer_id))

    def sweep_due(self, *, every: int) -> bool:
        """True for whoever asks first in so many seconds: what is over in the store is to be deleted."""
        with translated():
            return bool(self._redis.set(keys.SWEPT, 1, nx=True, ex=every))

    def answer(self, answer_id: str) -> AnswerView | None:
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            (seconds, micros), fields = pipe.time().hgetall(keys.answer(answer_id)).execute()
        asked = decode(fields.get(b"asked"), Deferred)
        if asked is None:
            return None
        dispatched = Dispatched(
            claim=fields[b"claim"].decode(),
            number=int(fields[b"number"]),
            host_id=fields[b"host"].decode(),
            boot_id=fields[b"boot"].decode(),
            at=float(fields[b"at"]),
        )
        return AnswerView(
            asked=asked,
            dispatched=dispatched,
            head=decode(fields.get(b"head"), Head),
            body=fields.get(b"body", b""),
            begun=float(fields[b"begun"]),
            now=seconds + micros / 1e6,
        )
