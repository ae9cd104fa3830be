"""How many copies a model needs, by how it was used."""

from __future__ import annotations

from math import ceil, exp
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from chalicelib.coordinator.shards import DRAWN_MAX
from chalicelib.coordinator.state import ModelMemory, ModelView

Positive = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
_ROUNDING: Final = 1e-9
"""2.0000000001 copies are 2."""


class PlacementPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When models get and lose copies, and where.

    The two-copies rule, the hysteresis and the bound on changes are those of IBM's ModelMesh; skew and memory
    limits are starting points.

    Attributes:
        utilisation: of a host's slots, what copies are planned to use.
        peak_fall_seconds: in which a model's remembered peak falls to 1/e.
        idle_seconds: a model that was not used for so long needs no copy any more.
        hot_seconds: and after so long no host is kept for its memory alone.
        reuse_seconds_min, reuse_seconds_max: a model used again between these is likely to be used again
            soon: one failing host should not make it cold.
        remember_seconds: for so long the use of a model is remembered.
        models_remembered_max: the most lately used ones.
        shrink_ratio: copies go when the others would be less busy than this, of what they are planned for.
        shrink_hold_seconds: and when their number has not changed for so long.
        plentiful: share of the fleet's memory up to which models have copies nobody asked for.
        copies_plentiful: so many each.
        full: share of a host's memory above which it gets no more, and loses what is not needed there.
        skew: a host with more than so many times its share of the load gets no more.
        changes_ratio, changes_min: copies loaded or dropped each `changes_seconds`, per host, and at least.
        hold_seconds: after the memory was lost, nothing is dropped for so long.
        beyond_seconds_max: hosts beyond those that were asked for are their provider's own, while it rolls
            out a release, say; for longer they are too many.
        leave_seconds_max: a host that is to leave is waited for so long, while its models load elsewhere.
        candidates_max: of a larger fleet each model has so many hosts to choose from.
        boots_max: a host that has not registered after so many boot times is reported.
    """

    utilisation: Share = 0.7
    peak_fall_seconds: Positive = 60.0
    idle_seconds: Seconds = 1800.0
    hot_seconds: Seconds = 600.0
    reuse_seconds_min: Seconds = 420.0
    reuse_seconds_max: Seconds = 2400.0
    remember_seconds: Seconds = 3600.0
    models_remembered_max: Count = 20_000
    shrink_ratio: Share = 2 / 3
    shrink_hold_seconds: Seconds = 1800.0
    plentiful: Share = 0.7
    copies_plentiful: Count = 2
    full: Share = 0.9
    skew: Annotated[float, Meta(ge=1)] = 1.25
    changes_ratio: Share = 1 / 3
    changes_min: Count = 2
    changes_seconds: Positive = 10.0
    hold_seconds: Seconds = 300.0
    beyond_seconds_max: Seconds = 900.0
    leave_seconds_max: Seconds = 120.0
    candidates_max: Annotated[int, Meta(ge=2, le=DRAWN_MAX)] = DRAWN_MAX
    boots_max: Positive = 3.0


class Need(msgspec.Struct, frozen=True, gc=False):
    """What one model is worth.

    Attributes:
        copies: that its callers need, or its owner asked for.
        wanted: with the one that is there in case a host fails.
        peak: requests at once.
        used_at: when it was last used; 0 where that is forgotten.
        hot: there should be hosts enough to hold it.
    """

    copies: int = 0
    wanted: int = 0
    peak: float = 0.0
    used_at: float = 0.0
    hot: bool = False


IDLE: Final = Need()


def used(
    model: ModelView, before: ModelMemory | None, *, now: float, policy: PlacementPolicy
) -> ModelMemory | None:
    """What is remembered of its use after this tick, its copies not yet counted; None for nothing."""
    concurrency = asked_for(model)
    if concurrency is None:
        if before is None or now - before.used_at > policy.remember_seconds:
            return None
        return before
    if before is None:
        return ModelMemory(peak=concurrency, used_at=now, used_before=now, copies=0, since=now)
    gap = now - before.used_before
    return ModelMemory(
        peak=max(concurrency, _peak(before, now=now, policy=policy)),
        used_at=now,
        used_before=now if gap > policy.reuse_seconds_max else before.used_before,
        copies=before.copies,
        since=before.since,
        again_at=now if policy.reuse_seconds_min <= gap <= policy.reuse_seconds_max else before.again_at,
    )


def asked_for(model: ModelView) -> float | None:
    """Requests at once, those included for which there was no host; None when nobody asked."""
    demand = model.demand
    if demand is None or not (demand.requests_per_second or demand.concurrency or demand.unmet_per_second):
        return None
    return demand.concurrency + demand.unmet_per_second * model.active.run_ms / 1000


def need(
    model: ModelView,
    memory: ModelMemory | None,
    *,
    slots_per_host: float,
    now: float,
    policy: PlacementPolicy,
) -> Need:
    """`memory` is that after this tick."""
    favoured = model.pinned or model.new
    if memory is None:
        if not favoured and not model.following:
            return IDLE
        return Need(copies=1, wanted=2 if favoured else 1, hot=True)
    peak = _peak(memory, now=now, policy=policy)
    carried = policy.utilisation * slots_per_host
    unused = now - memory.used_at
    kept = favoured or bool(model.following)
    copies = 0
    if kept or unused < policy.idle_seconds:
        copies = max(1, ceil(peak / carried - _ROUNDING) if carried > 0 else 0)
    twice = favoured or used_again(memory, now=now, policy=policy)
    wanted = max(copies, 2) if copies and twice else copies
    return Need(copies, wanted, peak, memory.used_at, hot=kept or unused < policy.hot_seconds)


def used_again(memory: ModelMemory, *, now: float, policy: PlacementPolicy) -> bool:
    return memory.again_at > 0 and now - memory.again_at < policy.reuse_seconds_max


def _peak(memory: ModelMemory, *, now: float, policy: PlacementPolicy) -> float:
    return memory.peak * exp(-max(0.0, now - memory.used_at) / policy.peak_fall_seconds)
