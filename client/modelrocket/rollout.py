"""Where a model's traffic goes, as the server tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

Told = Mapping[str, Any]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Limits:
    """When a candidate is taken away by itself. None leaves it to the server.

    errors_percent_max: of its runs, those that failed through the model's own fault.
    latency_ratio_max: its mean run time over the active version's.
    drift_percent_max: of the compared requests, those that it answered differently.
    requests_min: nothing is judged on fewer runs.
    drift_tolerance: floats are the same up to this, absolute below 1 and relative above.
    """

    errors_percent_max: float | None = None
    latency_ratio_max: float | None = None
    drift_percent_max: float | None = None
    requests_min: int | None = None
    drift_tolerance: float | None = None

    def chosen(self) -> dict[str, float | int]:
        """Those that are not left to the server."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Counts:
    """What hosts saw of one version since the trial began; `run_us` is microseconds in the model, summed.

    mirrored, differing: of a candidate: requests that both versions ran, and those of them that they answered
        differently.
    """

    requests: int = 0
    errors: int = 0
    run_us: int = 0
    mirrored: int = 0
    differing: int = 0


@dataclass(frozen=True)
class Candidate:
    """A version on trial: it answers `percent` of callers, and runs `mirror_percent` of requests besides.

    counts, active_counts: of it and of the active version; None where they were not asked for or are away.
    """

    version: int
    percent: int
    mirror_percent: int
    limits: Limits
    counts: Counts | None = None
    active_counts: Counts | None = None


@dataclass(frozen=True)
class Split:
    """Which versions answer whom at one time."""

    active: int | None
    candidate: int | None = None
    percent: int = 0
    mirror_percent: int = 0


@dataclass(frozen=True)
class TrafficChange:
    """One line of a model's history: when (ISO 8601), by whom, and why."""

    at: str
    by: str
    why: str
    before: Split
    after: Split


@dataclass(frozen=True)
class Traffic:
    """The versions that have a model's traffic, or are about to.

    previous: what a rollback goes to.
    activating: takes over as soon as hosts have loaded it.
    history: the newest change first.
    """

    active: int | None
    previous: int | None
    activating: int | None
    candidate: Candidate | None
    history: tuple[TrafficChange, ...] = ()


def read_traffic(told: Told) -> Traffic:
    return Traffic(
        active=told["active"],
        previous=told["previous"],
        activating=told["activating"],
        candidate=read_candidate(told["candidate"]),
        history=tuple(_change(entry) for entry in told["history"]),
    )


def read_candidate(told: Told | None) -> Candidate | None:
    if told is None:
        return None
    counts = told.get("counts") or {}
    return Candidate(
        version=told["version"],
        percent=told["percent"],
        mirror_percent=told["mirror_percent"],
        limits=_known(Limits, told["limits"]),
        counts=_known(Counts, counts["candidate"]) if counts else None,
        active_counts=_known(Counts, counts["active"]) if counts else None,
    )


def _change(told: Told) -> TrafficChange:
    before, after = _known(Split, told["from"]), _known(Split, told["to"])
    return TrafficChange(at=told["at"], by=told["by"], why=told["why"], before=before, after=after)


def _known(kind: type[Value], told: Told) -> Value:
    """Fields that a newer server has besides are passed over."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in names})
