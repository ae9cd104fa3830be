"""The use case: who asks, which version answers, which host runs it, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.choice import chosen
from chalicelib.contract.dispatches import timing_seconds
from chalicelib.contract.errors import InvalidModel, ModelRocketError
from chalicelib.contract.hotstate.admission import Admissions, RouteView
from chalicelib.contract.inference import QUARANTINED, bearer
from chalicelib.contract.limiting import request_cost
from chalicelib.contract.messages import ModelRecord, VersionRecord
from chalicelib.contract.metadata import ModelPath, named
from chalicelib.contract.metering import Outcome, UsageKey, compute_us
from chalicelib.contract.transfers import HELD
from chalicelib.ports import HostReply
from chalicelib.routing.calls import Asked, InferenceCall, read_call
from chalicelib.routing.dispatch import Dispatch, Dispatcher
from chalicelib.routing.lookups import Lookups
from chalicelib.routing.transfers import Transfers

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
        status = 0
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
            status = error.status
            raise
        finally:
            self._settle(dispatch, status)
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
        """The model, if this credential may run it now with so many bytes. Raises ModelRocketError."""
        seen = self._lookups.admit(plain, model_id, cost=request_cost(size))
        self._admissions.release(seen.lease)
        return seen.model

    def _settle(self, dispatch: Dispatch, status: int) -> None:
        """The request is over, however it ended: its lease is given back, and what was seen is told.

        `status` is what the caller hears. Nobody waits for any of it.
        """
        lease, host, version = dispatch.seen.lease, dispatch.host, dispatch.version
        if host is None or version is None:
            self._admissions.release(lease)
            return
        told = dispatch.reply.headers.get("server-timing", "") if dispatch.reply is not None else ""
        cold = timing_seconds(told, "load") > 0
        measured = status == _OK and not cold
        self._admissions.release(
            lease,
            host_id=host.host_id,
            version_id=version.version_id,
            seconds=dispatch.seconds if measured else None,
            outcome=None
            if status == HTTPStatus.ACCEPTED  # the host counts it when it is over
            else _outcome(dispatch, version, status, cold=cold, run_seconds=timing_seconds(told, "run")),
        )


def _version(model: ModelRecord, view: RouteView, call: InferenceCall) -> VersionRecord:
    """The one that the path names, if it is one that answers; else the one whose turn it is."""
    if call.version:
        return named(model, call.version)
    return chosen(model, sticky=call.sticky, request_id=call.request_id, quarantined=view.quarantined)


def _refuse_quarantined(version: VersionRecord, view: RouteView) -> None:
    if version.version_id in view.quarantined:
        raise InvalidModel(QUARANTINED)


def _outcome(
    dispatch: Dispatch, version: VersionRecord, status: int, *, cold: bool, run_seconds: float
) -> Outcome:
    call, seen, reply = dispatch.call, dispatch.seen, dispatch.reply
    headers = reply.headers if reply is not None else {}
    rows, run_rows = _number(headers.get("x-rows")), _number(headers.get("x-batch-rows"))
    return Outcome(
        key=UsageKey(seen.token.tenant, seen.token.token_id, seen.model.model_id, version.number),
        status=status,
        request_id=call.request_id if call.callers_id else "",
        rows=rows,
        compute_us=compute_us(run_seconds=run_seconds, rows=rows, run_rows=run_rows),
        bytes_in=len(call.body),
        bytes_out=_number(headers.get(HELD.lower())) or (len(reply.body) if reply is not None else 0),
        cold=cold,
    )


def _number(text: str | None) -> int:
    """What a host says; 0 for what is no number of anything."""
    return int(text) if text is not None and text.isdecimal() and len(text) <= _DIGITS_MAX else 0
