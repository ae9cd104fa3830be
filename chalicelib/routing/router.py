"""The use case: who asks, which version answers, which host runs it, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.choice import chosen
from chalicelib.contract.dispatches import error_code, host_times
from chalicelib.contract.errors import InvalidModel, ModelRocketError
from chalicelib.contract.hotstate.admission import Admissions, RouteView
from chalicelib.contract.inference import QUARANTINED, bearer
from chalicelib.contract.latency import NOT_ANSWERED
from chalicelib.contract.limiting import request_cost
from chalicelib.contract.messages import ModelRecord, VersionRecord
from chalicelib.contract.metadata import ModelPath, named
from chalicelib.contract.metering import Outcome, Refused, UsageKey, compute_us
from chalicelib.contract.transfers import HELD
from chalicelib.ports import HostReply
from chalicelib.routing.calls import Asked, InferenceCall, read_call
from chalicelib.routing.dispatch import Dispatch, Dispatcher
from chalicelib.routing.lookups import Lookups, Seen
from chalicelib.routing.transfers import Transfers, check_may_store

_OK: Final = 200
_DIGITS_MAX: Final = 15


class Timings(msgspec.Struct, frozen=True):
    """Seconds spent in the gateway, for Server-Timing."""

    auth: float
    route: float


class InferenceAnswer(msgspec.Struct, frozen=True):
    reply: HostReply
    version: int
    tries: int
    timings: Timings


class Router:
    """Routes inference requests. Safe to use from many threads."""

    def __init__(
        self,
        *,
        lookups: Lookups,
        dispatcher: Dispatcher,
        admissions: Admissions,
        transfers: Transfers,
        monotonic: Callable[[], float],
    ) -> None:
        self._transfers = transfers
        self._lookups = lookups
        self._dispatcher = dispatcher
        self._admissions = admissions
        self._monotonic = monotonic

    def infer(self, call: InferenceCall) -> InferenceAnswer:
        """The host's answer. Raises ModelRocketError for everything else."""
        return self.run(call, read_call(call))

    def run(self, call: InferenceCall, asked: Asked) -> InferenceAnswer:
        """`infer` for what has been read."""
        started = self._monotonic()
        plain = asked.token or bearer(call.authorization)
        cost = 0 if asked.answer_id else request_cost(len(call.body))  # a later answer has been paid for
        seen = self._lookups.admit(plain, asked.model_id, cost=cost)
        dispatch = Dispatch(call, asked, seen, ends=started + call.deadline_seconds)
        status, code = 0, ""
        try:
            dispatch.version = _version(seen.model, seen.view, call)
            _refuse_quarantined(dispatch.version, seen.view)
            checked = self._monotonic()
            dispatch.asked = self._transfers.addressed(call, asked, seen, version=dispatch.version.number)
            reply = self._dispatcher.send(dispatch)
            waited = self._monotonic() - checked
            if waited > limits.CHECKED_AGAIN_SECONDS:
                self._lookups.check_again(plain, seen, waited=waited)
            reply = self._transfers.collected(call, seen, reply, partial(self._dispatcher.ask, dispatch))
            status = reply.status
        except ModelRocketError as error:
            status, code = error.status, error.code
            raise
        finally:
            self._settle(dispatch, status, code)
        timings = Timings(auth=checked - started, route=self._monotonic() - checked)
        return InferenceAnswer(
            reply=reply, version=dispatch.version.number, tries=dispatch.tries, timings=timings
        )

    def describe(self, authorization: str | None, path: ModelPath) -> tuple[ModelRecord, VersionRecord]:
        """A model, and the version of it that the path names. Raises ModelRocketError."""
        seen = self._lookups.admit(bearer(authorization), path.model_id, cost=1)
        self._admissions.release(seen.lease)
        return seen.model, named(seen.model, path.version)

    def check_ready(self) -> None:
        """Raises NoCapacity where no host would run anything, DependencyFailed."""
        self._dispatcher.check_ready()

    def permit(self, plain: str | None, model_id: str, *, size: int) -> ModelRecord:
        """The model, if this credential may run it with so many bytes, by way of the store or later.

        Raises ModelRocketError.
        """
        seen = self._lookups.admit(plain, model_id, cost=request_cost(size))
        self._admissions.release(seen.lease)
        check_may_store(seen.token)
        return seen.model

    def _settle(self, dispatch: Dispatch, status: int, code: str) -> None:
        """The request is over, however it ended: its lease is given back, and what was seen is told.

        `status` is what the caller hears, `code` of the error that was raised. Nobody waits for any of it.
        """
        lease, host, version = dispatch.seen.lease, dispatch.host, dispatch.version
        if host is None or version is None:
            refused = Refused(_key(dispatch.seen, version=0), code) if code else None
            self._admissions.release(lease, outcome=refused)
            return
        outcome = _outcome(dispatch, version, status, code, ended=self._monotonic())
        measured = status == _OK and not outcome.took.load
        self._admissions.release(
            lease,
            host_id=host.host_id,
            version_id=version.version_id,
            seconds=dispatch.seconds if measured else None,
            outcome=None if status == HTTPStatus.ACCEPTED else outcome,  # the host counts it when it is over
        )


def _version(model: ModelRecord, view: RouteView, call: InferenceCall) -> VersionRecord:
    """The one that the path names, if it is one that answers; else the one whose turn it is."""
    if call.version:
        return named(model, call.version)
    return chosen(model, sticky=call.sticky, request_id=call.request_id, quarantined=view.quarantined)


def _refuse_quarantined(version: VersionRecord, view: RouteView) -> None:
    if version.version_id in view.quarantined:
        raise InvalidModel(QUARANTINED)


def _key(seen: Seen, *, version: int) -> UsageKey:
    return UsageKey(seen.token.tenant, seen.token.token_id, seen.model.model_id, version)


def _outcome(dispatch: Dispatch, version: VersionRecord, status: int, code: str, *, ended: float) -> Outcome:
    call, seen, reply = dispatch.call, dispatch.seen, dispatch.reply
    headers: Mapping[str, str] = reply.headers if reply is not None else {}
    times = NOT_ANSWERED
    if status == _OK:
        total = ended - dispatch.ends + call.deadline_seconds
        times = host_times(headers.get("server-timing", ""), total=total)
    elif not code and reply is not None and status >= HTTPStatus.BAD_REQUEST:
        code = error_code(reply.body)
    rows, run_rows = _number(headers.get("x-rows")), _number(headers.get("x-batch-rows"))
    return Outcome(
        key=_key(seen, version=version.number),
        status=status,
        code=code,
        request_id=call.request_id if call.callers_id else "",
        rows=rows,
        compute_us=compute_us(run_us=times.run, rows=rows, run_rows=run_rows),
        bytes_in=len(call.body),
        bytes_out=_number(headers.get(HELD.lower())) or (len(reply.body) if reply is not None else 0),
        took=times,
    )


def _number(text: str | None) -> int:
    """What a host says; 0 for what is no number of anything."""
    return int(text) if text is not None and text.isdecimal() and len(text) <= _DIGITS_MAX else 0
