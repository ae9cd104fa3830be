"""Answers that are fetched later: a request is accepted at once, a host works at it, its caller asks for it.

accept   inputs to the store → pending in the hot state → a host that promises to answer
         (where there is no host yet, the first poll that finds one gives it to that)
fetch    the answer as it would have been; while it is pending, whether its host still lives: the first
         poll that finds it dead gives the request to another one, once
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NoReturn

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DeadlineExceeded,
    DependencyFailed,
    InferenceFailed,
    ModelRocketError,
    NoCapacity,
    NotFound,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.answers import AnswerView, Deferred, Head
from chalicelib.contract.inference import NO_MODEL, bearer, credential_sha256
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.transfers import passes
from chalicelib.payloads import Payloads, is_id
from chalicelib.ports import HostReply
from chalicelib.routing import (
    Asked,
    InferenceAnswer,
    InferenceCall,
    OpenInference,
    Router,
    Timings,
    read_call,
)

_JSON: Final = "application/json"
_PENDING_SECONDS_MAX: Final = limits.ANSWER_DISPATCHES_MAX * limits.ANSWER_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Accepted:
    """It will be answered under this id."""

    answer_id: str


class Answers:
    """Safe to use from many threads. `new_id` makes what no other process does."""

    def __init__(
        self, *, hot: HotState, router: Router, payloads: Payloads, new_id: Callable[[], str]
    ) -> None:
        self._hot = hot
        self._router = router
        self._payloads = payloads
        self._new_id = new_id

    def accept(self, call: InferenceCall) -> Accepted | InferenceAnswer:
        """The host's own answer where it promises none. Raises ModelRocketError."""
        asked = read_call(call)
        plain = asked.token or bearer(call.authorization)
        sha256 = credential_sha256(plain)
        tenant = self._router.permit(plain, asked.model_id, size=len(call.body)).tenant
        deferred = Deferred(
            tenant=tenant,
            credential_sha256=sha256,
            model_id=asked.model_id,
            request_id=call.request_id,
            payload_id=self._kept(tenant, asked),
            headers=dict(asked.headers),
            version=call.version,
            sticky=call.sticky,
            callers_id=call.callers_id,
        )
        answer_id, claim = self._payloads.new_id(), self._new_id()
        self._hot.begin_answer(answer_id, deferred, claim=claim)
        try:
            answer = self._dispatched(answer_id, deferred, plain, claim=claim, number=1)
        except ModelRocketError as error:
            if isinstance(error, NoCapacity) and self._hot.may_wait(tenant):
                self._hot.answer_refused(answer_id, claim=claim, number=1)
                return Accepted(answer_id)
            self._hot.forget_answer(answer_id)
            raise
        if answer.reply.status == HTTPStatus.ACCEPTED:
            return Accepted(answer_id)
        self._hot.forget_answer(answer_id)
        return answer

    def fetch(self, authorization: str | None, answer_id: str) -> InferenceAnswer | None:
        """None while it is pending. Raises NotFound also for another token's, and ModelRocketError."""
        plain = bearer(authorization)
        view = self._hot.answer(answer_id) if is_id(answer_id) else None
        if view is None or view.asked.credential_sha256 != credential_sha256(plain):
            self._refuse(plain)
        self._router.permit(plain, view.asked.model_id, size=0)
        if view.head is not None:
            return self._answer(answer_id, view, view.head)
        self._go_on(answer_id, view, plain)
        return None

    def _refuse(self, plain: str | None) -> NoReturn:
        """As if there were no such answer; Unauthenticated for a token that is not valid anyway."""
        with suppress(NotFound):
            self._router.permit(plain, NO_MODEL, size=0)
        raise NotFound("There is no such answer. It is kept for an hour, and only for the token that asked.")

    def _kept(self, tenant: str, asked: Asked) -> str:
        """The id of its inputs in the store. Raises NotFound where a payload that it names is not there."""
        if not asked.inputs_from:
            return self._payloads.keep(tenant, asked.inputs)
        self._payloads.check(tenant, asked.inputs_from)
        return asked.inputs_from

    def _dispatched(
        self, answer_id: str, deferred: Deferred, plain: str | None, *, claim: str, number: int
    ) -> InferenceAnswer:
        """Given to a host, which promises to answer or says why not. Raises ModelRocketError."""
        call = InferenceCall(
            body=b"",
            authorization=None,
            request_id=deferred.request_id,
            deadline_seconds=limits.ANSWER_ACCEPT_SECONDS_MAX,
            sticky=deferred.sticky,
            open_inference=OpenInference(ModelPath(deferred.model_id, deferred.version)),
            callers_id=deferred.callers_id,
        )
        asked = Asked(deferred.model_id, plain, b"", deferred.headers, deferred.payload_id, answer_id)
        answer = self._router.run(call, asked)
        if answer.reply.status == HTTPStatus.ACCEPTED:
            host = json.loads(answer.reply.body)
            self._hot.answer_taken(
                answer_id, claim=claim, number=number, host_id=host["host_id"], boot_id=host["boot_id"]
            )
        return answer

    # What becomes of one that is pending.

    def _go_on(self, answer_id: str, view: AnswerView, plain: str | None) -> None:
        """Give it to another host if the one that has it died; end it where that was done before."""
        dispatched, age = view.dispatched, view.now - view.begun
        if age > _PENDING_SECONDS_MAX:
            self._end(answer_id, view, DeadlineExceeded("No host has answered the request in time."))
        elif not dispatched.host_id:
            if view.now - dispatched.at > limits.ANSWER_ACCEPT_SECONDS_MAX:
                self._again(answer_id, view, plain, number=dispatched.number)
        elif not self._lives(dispatched.host_id, dispatched.boot_id):
            if dispatched.number < limits.ANSWER_DISPATCHES_MAX:
                self._again(answer_id, view, plain, number=dispatched.number + 1)
            else:
                self._end(answer_id, view, _died_too_often())

    def _again(self, answer_id: str, view: AnswerView, plain: str | None, *, number: int) -> None:
        """Whatever comes of it, the next poll sees."""
        claim = self._new_id()
        if not self._hot.claim_answer(answer_id, view.dispatched, claim=claim, number=number):
            return
        with suppress(ModelRocketError):
            answer = self._dispatched(answer_id, view.asked, plain, claim=claim, number=number)
            if answer.reply.status == HTTPStatus.ACCEPTED:
                return
        self._hot.answer_refused(answer_id, claim=claim, number=number)

    def _lives(self, host_id: str, boot_id: str) -> bool:
        now, hosts = self._hot.hosts()
        return any(
            (host.host_id, host.boot_id) == (host_id, boot_id) and now - host.at <= limits.HOST_DEAD_SECONDS
            for host in hosts
        )

    def _end(self, answer_id: str, view: AnswerView, error: ModelRocketError) -> None:
        body = json.dumps(error.body(view.asked.request_id)).encode()
        headers = {"content-type": _JSON, **_lowered(error.headers(view.asked.request_id))}
        self._hot.finish_answer(answer_id, Head(error.status, headers, len(body)), body)

    # What becomes of one that is there.

    def _answer(self, answer_id: str, view: AnswerView, head: Head) -> InferenceAnswer:
        reply = HostReply(head.status, view.body, _lowered(head.headers))
        if head.stored:
            reply = self._stored(answer_id, view, reply, size=head.bytes)
        number = reply.headers.get("x-model-version", "0")
        return InferenceAnswer(
            reply=reply, version=int(number), tries=view.dispatched.number, timings=Timings(0.0, 0.0)
        )

    def _stored(self, answer_id: str, view: AnswerView, reply: HostReply, *, size: int) -> HostReply:
        """From the store, or where it is there, if it is too large to pass."""
        tenant, inline_max = view.asked.tenant, limits.RESPONSE_BYTES_LAMBDA_MAX
        if size <= inline_max:
            body = self._payloads.answer(tenant, answer_id)
            if body is None:
                raise DependencyFailed("The answer is not in the platform's store any more. Ask once more.")
            if passes(body, inline_max, binary=reply.headers.get("content-type") != _JSON):
                return msgspec.structs.replace(reply, body=body)
        return self._payloads.result_from(tenant, answer_id, reply, size=size)


def prefers_later(header: str | None) -> bool:
    """Whether a Prefer header (RFC 7240) asks for an answer that is fetched later."""
    if not header:
        return False
    preferences = (one.partition(";")[0].strip().lower() for one in header.split(","))
    return "respond-async" in preferences


def _died_too_often() -> InferenceFailed:
    return InferenceFailed(
        f"{limits.ANSWER_DISPATCHES_MAX} hosts went away while they worked at it. Ask again; if it happens "
        "again, the model may be what ends them."
    )


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
