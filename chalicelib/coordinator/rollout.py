"""When a new version may take over, and when one on trial must go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.choice import alive, rendezvous
from chalicelib.contract.messages import Counts, Guard, Heartbeat, Replica, ReplicaState

LATENCY_NOISE_US: Final = 500
"""A candidate slower by less than this is not slow, whatever the ratio: tiny models vary so much."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """Where a model is loaded now.

    `now` and the heartbeats' `at` are on the same clock, in seconds. `replicas` are pairs of version id
    and replica. `assigned_to` tells the ids of hosts that are told to hold a version; asked where none is
    ready.
    """

    now: float
    hosts: tuple[Heartbeat, ...]
    replicas: tuple[tuple[str, Replica], ...]
    quarantined: frozenset[str] = frozenset()
    assigned_to: Callable[[str], frozenset[str]] = lambda _: frozenset()

    def ready_on(self, version_id: str) -> frozenset[str]:
        """Ids of live hosts where the version answers without a load."""
        boots = {host.host_id: host.boot_id for host in alive(self.hosts, now=self.now)}
        return frozenset(
            replica.host_id
            for replica_version, replica in self.replicas
            if replica_version == version_id
            and replica.state is ReplicaState.READY
            and boots.get(replica.host_id) == replica.boot_id
        )


def wanted_on(model_id: str, active_id: str, warmth: Warmth, *, replicas_per_model: int) -> tuple[str, ...]:
    """Hosts it is to be ready on before it takes over: those where the active version is ready, else is to
    be, else the model's own."""
    hosts = [host.host_id for host in alive(warmth.hosts, now=warmth.now)]
    holders = warmth.ready_on(active_id) or warmth.assigned_to(active_id).intersection(hosts)
    if holders:
        return tuple(sorted(holders))
    return rendezvous(model_id, hosts)[:replicas_per_model]


def may_take_over(version_id: str, wanted: Iterable[str], warmth: Warmth, *, waited_seconds: float) -> bool:
    """Everywhere it will serve; after a while somewhere; in the end it loads when it is asked for."""
    if version_id in warmth.quarantined:
        return False
    ready = warmth.ready_on(version_id)
    if ready.issuperset(wanted):
        return True
    if waited_seconds >= limits.ROLLOUT_COLD_SECONDS_MAX:
        return True
    return bool(ready) and waited_seconds >= limits.ROLLOUT_WARM_SECONDS_MAX


def judge(candidate_id: str, active_id: str, seen: Mapping[str, Counts], guard: Guard) -> str | None:
    """Why the candidate must go, for its owner; None while nothing speaks against it."""
    candidate, active = seen.get(candidate_id, Counts()), seen.get(active_id, Counts())
    return _errors(candidate, guard) or _drift(candidate, guard) or _latency(candidate, active, guard)


def _errors(candidate: Counts, guard: Guard) -> str | None:
    if candidate.requests < guard.requests_min:
        return None
    percent = 100 * candidate.errors / candidate.requests
    if percent <= guard.errors_percent_max:
        return None
    return f"errors {percent:.3g} % of {candidate.requests} requests, limit {guard.errors_percent_max:g} %"


def _drift(candidate: Counts, guard: Guard) -> str | None:
    if candidate.mirrored < guard.requests_min:
        return None
    percent = 100 * candidate.differing / candidate.mirrored
    if percent <= guard.drift_percent_max:
        return None
    return (
        f"{percent:.3g} % of {candidate.mirrored} compared answers differ from the active version's, "
        f"limit {guard.drift_percent_max:g} %"
    )


def _latency(candidate: Counts, active: Counts, guard: Guard) -> str | None:
    """Slow by the run and by the row: whichever version has more callers shares more of its runs."""
    runs, usual_runs = candidate.requests - candidate.errors, active.requests - active.errors
    if min(runs, usual_runs) < guard.requests_min:
        return None
    slow, usual = candidate.run_us / runs, active.run_us / usual_runs
    by_row = candidate.row_us / runs > guard.latency_ratio_max * active.row_us / usual_runs
    if slow - usual < LATENCY_NOISE_US or slow <= guard.latency_ratio_max * usual or not by_row:
        return None
    return (
        f"a run takes {slow / 1000:.3g} ms, the active version's {usual / 1000:.3g} ms, "
        f"limit {guard.latency_ratio_max:g} times"
    )
