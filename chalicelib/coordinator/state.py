"""The world as one immutable value."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.contract.messages import Heartbeat


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model with an active version.

    Attributes:
        following: versions on trial or about to take over.
        held_on: hosts where the active version is ready, if there are any to follow it.
    """

    model_id: str
    version_id: str
    following: tuple[str, ...] = ()
    held_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FleetState:
    """Hosts that have registered and not been forgotten, and what should be served.

    `now` and the heartbeats' `at` are on the same clock, in seconds.
    """

    now: float
    hosts: tuple[Heartbeat, ...]
    models: tuple[ModelState, ...]
