"""`plan(state, policy) → actions`: idempotent, and *set*, never *change by*.

What is not known is left alone: without a heartbeat from any host nothing is
assigned or forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.contract.choice import alive
from chalicelib.contract.messages import Heartbeat
from chalicelib.coordinator.placement import place
from chalicelib.coordinator.state import FleetState


@dataclass(frozen=True, slots=True)
class Policy:
    """`host_dead_seconds`: a host silent for longer is forgotten."""

    replicas_per_model: int
    host_dead_seconds: float


@dataclass(frozen=True, slots=True)
class Assign:
    """This host should hold exactly these versions."""

    host_id: str
    version_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetHost:
    """This host is dead: its registration goes."""

    host_id: str
    boot_id: str


Action = Assign | ForgetHost


def plan(state: FleetState, policy: Policy) -> tuple[Action, ...]:
    """What to do now, in a stable order."""
    dead = tuple(host for host in state.hosts if _dead(host, state, policy))
    placed = place(
        state.models,
        [host.host_id for host in alive(state.hosts, now=state.now)],
        replicas_per_model=policy.replicas_per_model,
    )
    forget = tuple(ForgetHost(host.host_id, host.boot_id) for host in sorted(dead, key=_host_id))
    return forget + tuple(Assign(host_id, version_ids) for host_id, version_ids in sorted(placed.items()))


def _dead(host: Heartbeat, state: FleetState, policy: Policy) -> bool:
    return state.now - host.at > policy.host_dead_seconds


def _host_id(host: Heartbeat) -> str:
    return host.host_id
