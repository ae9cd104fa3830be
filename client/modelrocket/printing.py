"""What the command line prints of models, versions and traffic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelrocket.cells import size, table, text, time
from modelrocket.models import Model, Version
from modelrocket.rollout import Candidate, Counts, Split, Traffic, TrafficChange


def models(listed: Sequence[Model]) -> RenderableType:
    if not listed:
        return 'No models yet. In Python: modelrocket.upload(model, "name", np.float32, (None, 64))'
    shown = table("name", "id", "active", "on its way", "created")
    for model in listed:
        name, active, created = model.name, model.active, time(model.created_at)
        shown.add_row(*map(text, (name, model.id, active, _moving(model), created)))
    return shown


def versions(listed: Sequence[Version]) -> RenderableType:
    if not listed:
        return "No versions."
    shown = table("version", "state", "size", "framework", "uploaded", "")
    for version in listed:
        state = f"{version.state}: {version.stage}" if version.stage else version.state
        note = "answers" if version.active else version.reason
        shown.add_row(
            *map(text, (version.number, state, size(version.bytes), version.framework)),
            *map(text, (time(version.created_at), note)),
        )
    return shown


def traffic(now: Traffic) -> RenderableType:
    return Group(*_traffic(now))


def _traffic(now: Traffic) -> Iterator[RenderableType]:
    yield f"version {now.active} answers" if now.active else "no version answers yet"
    if now.previous is not None:
        yield f"version {now.previous} answered before: `modelrocket rollback` goes back to it"
    if now.activating is not None:
        yield f"version {now.activating} takes over as soon as hosts have loaded it"
    if now.candidate is not None:
        yield from _candidate(now.candidate, now.active)
    if now.history:
        yield from (Text(), _history(now.history))


def _candidate(candidate: Candidate, active: int | None) -> Iterator[RenderableType]:
    yield (
        f"version {candidate.version} is on trial: it answers {candidate.percent} % of callers, "
        f"{candidate.mirror_percent} % of requests are mirrored to it"
    )
    limits = candidate.limits
    yield (
        f"it goes away by itself above {_plain(limits.errors_percent_max)} % errors, "
        f"{_plain(limits.latency_ratio_max)} times the run time or {_plain(limits.drift_percent_max)} % "
        f"differing answers, judged on {_plain(limits.requests_min)} runs or more"
    )
    if candidate.counts is None or candidate.active_counts is None:
        return
    shown = table("version", "runs", "errors", "mean run", "compared", "differing")
    for number, counts in ((candidate.version, candidate.counts), (active, candidate.active_counts)):
        shown.add_row(text(number), *_counted(counts))
    yield from (Text(), shown)


def _counted(counts: Counts) -> Iterator[Text]:
    good = counts.requests - counts.errors
    mean = f"{counts.run_us / good / 1000:.3f} ms" if good > 0 else None
    yield from map(text, (counts.requests, counts.errors, mean, counts.mirrored, counts.differing))


def _history(entries: Sequence[TrafficChange]) -> Table:
    shown = table("when", "by", "why", "from", "to")
    for entry in entries:
        shown.add_row(
            *map(text, (time(entry.at), entry.by, entry.why, _split(entry.before), _split(entry.after)))
        )
    return shown


def _moving(model: Model) -> str | None:
    """What is on its way, None where nothing is."""
    if model.activating is not None:
        return f"{model.activating} takes over soon"
    candidate = model.candidate
    if candidate is None:
        return None
    return f"{candidate.percent} % to {candidate.version}, {candidate.mirror_percent} % mirrored"


def _split(split: Split) -> str:
    if split.candidate is None:
        return str(split.active or "none")
    return f"{split.active} + {split.candidate} ({split.percent} %, {split.mirror_percent} % mirrored)"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
