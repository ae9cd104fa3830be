"""How long to wait for a host that was sent a request, and what its answer says about it. Pure.

Both doors judge by this: the gateway what it dispatches, and a host what it forwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from math import prod
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.choice import expected_seconds
from chalicelib.contract.errors import DeadlineExceeded, DependencyFailed, ModelRocketError, NoCapacity
from chalicelib.contract.hotstate.admission import RouteView
from chalicelib.contract.latency import Took
from chalicelib.contract.messages import Heartbeat, ReplicaState, TensorSignature, VersionRecord

_OWN_FAULTS: Final = frozenset({"internal", "dependency", ""})
"""Codes of 5xx that a host, not a model, is to blame for; an answer that is none of ours is too."""
_FINAL: Final = "model_loading"
"""The one 503 that no other host would answer better: it would only load the model once more."""
_P99_TO_MEAN: Final = 3.0
_TRY_SECONDS_MIN: Final = 1.0
_LAST_SECONDS: Final = 1.0
"""Of the deadline, what is left for another try."""
_COLD_SECONDS: Final = 5.0
_LOADS: Final = 3.0
"""A cold version is given so many times its measured load."""
_FETCH_BYTES_PER_SECOND: Final = 50e6
_BYTES_PER_NUMBER_MIN: Final = 2
"""In JSON, with what parts it from the next; nothing is shorter in binary but a byte."""
_TIMING_MS_MAX: Final = 86_400_000.0


class _ErrorBody(msgspec.Struct):
    """Of either protocol: code inside "error", or beside its text."""

    error: object = None
    code: str = ""


def error_code(body: bytes) -> str:
    """Of an error as hosts say it; empty where it is none of ours."""
    try:
        read = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(read.error.get("code", "")) if isinstance(read.error, dict) else read.code


def is_own_fault(status: int, code: str) -> bool:
    """Whether a host, and not the model, is to blame for this answer."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and code in _OWN_FAULTS


def is_for_another(status: int, code: str) -> bool:
    """Whether another host may do better than this answer."""
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        return True
    return status == HTTPStatus.SERVICE_UNAVAILABLE and code != _FINAL


def host_times(told: str, *, total: float) -> Took:
    """An answered request's times, by the Server-Timing of its host and `total` seconds in all.

    0 for what that says nothing of, or nothing that can be.
    """
    times = {name: ms for name, _, ms in (one.partition(";dur=") for one in told.split(", "))}
    return Took(
        total=_us(total * 1000),
        queue=_us(times.get("queue")),
        batch=_us(times.get("batch")),
        load=_us(times.get("load")),
        run=_us(times.get("run")),
    )


def _us(ms: str | float | None) -> int:
    try:
        number = float(ms or 0)
    except ValueError:
        return 0
    return round(number * 1000) if 0 <= number <= _TIMING_MS_MAX else 0


def refused() -> ModelRocketError:
    """Hosts answered, and none took it."""
    return NoCapacity("No host took the request. Try again.")


def unreachable(*, timed_out: bool) -> ModelRocketError:
    """The last host that was asked said nothing."""
    if timed_out:
        return DeadlineExceeded("The model did not answer in time.")
    return DependencyFailed("The host running the model went away. Try again.", retry_after=1)


def patience(
    view: RouteView, version: VersionRecord, host: Heartbeat, *, body_bytes: int, remaining: float
) -> float:
    """Seconds to wait for a host that may hang while another could answer; at most what leaves that one time.

    By what such requests take there with those before it, and by what the rows that may be in the body take.
    """
    passport = version.passport
    if is_ready(view, version, host):
        waiting = view.in_flight.get(host.host_id, 0) + 1
        expected = expected_seconds(view, version, host.host_id) * waiting
        largest = passport.run_ms / 1000 * body_bytes / _BYTES_PER_NUMBER_MIN
        if largest * _P99_TO_MEAN > _TRY_SECONDS_MIN:
            expected += largest / _numbers_in_a_row(version.signature.inputs)
        wanted = max(_TRY_SECONDS_MIN, _P99_TO_MEAN * expected)
    else:
        load = passport.load_ms / 1000 + version.bytes_in_all / _FETCH_BYTES_PER_SECOND
        wanted = _COLD_SECONDS + _LOADS * load
    return min(wanted, max(remaining - _LAST_SECONDS, remaining / limits.TRIES_MAX))


def is_ready(view: RouteView, version: VersionRecord, host: Heartbeat) -> bool:
    """Whether the version is in that host's memory, as the view shows it."""
    return any(
        replica.state is ReplicaState.READY and replica.host_id == host.host_id
        for version_id, replica in view.replicas
        if version_id == version.version_id
    )


def _numbers_in_a_row(inputs: Sequence[TensorSignature]) -> int:
    """At least so many are in each row: sizes that are not fixed count as one."""
    return max(1, sum(prod(size or 1 for size in one.shape[1:]) for one in inputs))
