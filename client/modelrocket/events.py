"""What happened to a model, in order: versions uploaded and prepared, and who got the traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from modelrocket.api import Clock
from modelrocket.models import Model, Version
from modelrocket.rollout import Split, TrafficChange

POLL_SECONDS = 2.0

Now: TypeAlias = Callable[[], str]
"""The time as the server writes it: ISO 8601, UTC."""


@dataclass(frozen=True)
class Event:
    """One line of a model's story.

    at: ISO 8601, UTC.
    what: uploaded (with the state that it has now), became (a state, while somebody watched) or traffic.
    state: of the version: uploading, preparing, ready or failed; stage: where its preparation stands.
    why: of a failure or a change of traffic; by: whose key did it.
    before, after: who answered, for a change of traffic.
    """

    at: str
    what: str
    version: int | None = None
    state: str | None = None
    stage: str | None = None
    framework: str | None = None
    bytes: int | None = None
    by: str | None = None
    why: str | None = None
    before: Split | None = None
    after: Split | None = None


def events(model: Model) -> tuple[Event, ...]:
    """As the server tells it now, the newest last. Raises what `Model` does."""
    uploads = [_upload(version) for version in model.versions()]
    changes = [_change(entry) for entry in reversed(model.traffic().history)]
    return tuple(sorted((*uploads, *changes), key=lambda event: event.at))


def following(model: Model, clock: Clock, now: Now) -> Iterator[tuple[Event, ...]]:
    """What there is, and then what is new, each time that something is; without end."""
    seen = events(model)
    yield seen
    while True:
        clock.sleep(POLL_SECONDS)
        found = events(model)
        fresh = tuple(_became(event, now) for event in found if event not in seen)
        seen = found
        if fresh:
            yield fresh


def _became(event: Event, now: Now) -> Event:
    """A version's only time is that of its upload: what changes later has the time when it was seen."""
    if event.what != "uploaded" or event.state == "uploading":
        return event
    return replace(event, at=now(), what="became")


def _upload(version: Version) -> Event:
    return Event(
        at=version.created_at,
        what="uploaded",
        version=version.number,
        state=version.state,
        stage=version.stage,
        framework=version.framework,
        bytes=version.bytes,
        why=version.reason,
    )


def _change(entry: TrafficChange) -> Event:
    return Event(
        at=entry.at,
        what="traffic",
        version=entry.after.candidate or entry.after.active,
        by=entry.by,
        why=entry.why,
        before=entry.before,
        after=entry.after,
    )
