"""What becomes of a request of a model that has a candidate, once its caller is answered.

It is counted under the version that ran it. Where its answer is to be compared, the version that answered
and the other one run the same inputs again in their worker, which says no more than how they differ. That
is for nobody: it is left out where callers wait, where the other version is not in memory, and where the
two do not share a worker.

Owned by the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from chalicelib.contract.errors import InferenceFailed
from chalicelib.contract.messages import Counts
from host_container.admission import Admitted, OnTrial
from host_container.events import EventLog
from host_container.frames import Asked, Compared, Side
from host_container.handle import Comparison, Loaded, Lost, Outcome, Ran
from host_container.replicas import Replicas
from host_container.tally import Tally, Trial
from host_container.workers import Workers

_WAITING_MAX: Final = 8
"""Requests of a model, or of its worker, beside which none is run only to be compared."""
_MICRO: Final = 1e6


class Trials:
    """Counts into `tally`, and has compared."""

    def __init__(
        self,
        tally: Tally,
        replicas: Replicas,
        *,
        workers: Workers,
        events: EventLog,
        clock: Callable[[], float],
    ) -> None:
        self._tally = tally
        self._replicas = replicas
        self._workers = workers
        self._events = events
        self._clock = clock

    def over(self, admitted: Admitted, asked: Asked, *, loaded: Loaded, outcome: Outcome) -> None:
        """A request on trial was run, and its caller knows what came of it."""
        seen, on_trial = _seen(outcome), admitted.on_trial
        if seen is None or on_trial is None:
            return
        self._tally.add(_trial(on_trial, loaded), loaded.record.version_id, seen)
        other = self._beside(on_trial, loaded) if not isinstance(outcome, Lost) else None
        if other is not None:
            self._workers.compare(
                Comparison(loaded, other, asked, on_trial.drift_tolerance),
                deadline=self._clock() + admitted.seconds_left,
                done=partial(self._compared, on_trial, loaded, other),
            )

    def _beside(self, on_trial: OnTrial, loaded: Loaded) -> Loaded | None:
        """The version to compare with, if that is wanted and can be had now; then both are held."""
        if not on_trial.mirror_version_id or not _has_time(loaded):
            return None
        again = self._replicas.hold_now(loaded.record.version_id)
        other = self._replicas.hold_now(on_trial.mirror_version_id)
        if again is loaded and other is not None and _comparable(loaded, other):
            return other
        for one in (again, other):
            if one is not None:
                self._replicas.release(one)
        return None

    def _compared(self, on_trial: OnTrial, loaded: Loaded, other: Loaded, outcome: Outcome) -> None:
        """Which of the two is the candidate a ticket does not say: how they differ is told of both."""
        for one in (loaded, other):
            self._replicas.release(one)
        if isinstance(outcome, Lost) and outcome.suspect:
            outcome = Compared(Side(ran=True), Side(ran=True, failed=True), True, "it ended its process")
        if not isinstance(outcome, Compared):
            return
        trial = _trial(on_trial, loaded)
        for one in (loaded, other):
            compared = Counts(mirrored=1, differing=int(outcome.differing))
            self._tally.add(trial, one.record.version_id, compared)
        if outcome.other.ran:
            self._tally.add(trial, other.record.version_id, _of_side(outcome.other))
        if outcome.differing:
            versions = {"version": other.record.version_id, "beside": loaded.record.version_id}
            self._events.write("differing", **versions, why=outcome.why)


def _seen(outcome: Outcome) -> Counts | None:
    """None for what says nothing of the version: a caller's mistake, or the host's own trouble."""
    match outcome:
        case Ran():
            took = _microseconds(outcome.run_seconds)
            return Counts(requests=1, run_us=took, row_us=took // max(1, outcome.rows))
        case InferenceFailed() | Lost(suspect=True):
            return Counts(requests=1, errors=1)
    return None


def _of_side(side: Side) -> Counts:
    if side.failed:
        return Counts(requests=1, errors=1)
    took = _microseconds(side.run_seconds)
    return Counts(requests=1, run_us=took, row_us=took)


def _microseconds(seconds: float) -> int:
    return max(0, round(seconds * _MICRO))


def _trial(on_trial: OnTrial, loaded: Loaded) -> Trial:
    return Trial(loaded.record.model_id, on_trial.number)


def _has_time(loaded: Loaded) -> bool:
    """Callers come first."""
    worker = loaded.worker
    waiting = max(loaded.in_flight, len(worker.pending))
    return not worker.gone and not worker.compares and waiting <= _WAITING_MAX


def _comparable(loaded: Loaded, other: Loaded) -> bool:
    return other.worker is loaded.worker and other.record.model_id == loaded.record.model_id
