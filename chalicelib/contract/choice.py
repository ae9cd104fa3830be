"""Which version answers and which host runs it: pure decisions over what one round trip showed.

Both doors decide by these functions, so that a caller is treated alike at either.

Rendezvous hashing (Thaler and Ravishankar, 1998) gives each model its own order
of all hosts: a host that joins or leaves moves only the models it gains or held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.hotstate import RouteView
from chalicelib.contract.messages import Heartbeat, HostState, ModelRecord, ReplicaState, VersionRecord

_POINTS: Final = 2**64


def chosen(
    model: ModelRecord, *, sticky: str | None, request_id: str, quarantined: Container[str] = ()
) -> VersionRecord:
    """The version that answers, of a model with an active one.

    The same sticky key gets the same version for as long as the split stands, and a caller
    that has the candidate keeps it when its share grows. Without a key the request's id decides.
    A quarantined candidate answers nobody.
    """
    assert model.active is not None
    candidate = model.candidate
    if candidate is None or not candidate.percent or candidate.version.version_id in quarantined:
        return model.active
    key = f"answer/{model.model_id}/{candidate.version.version_id}/{sticky or request_id}"
    return candidate.version if _falls_within(candidate.percent, key) else model.active


def mirrored(
    model: ModelRecord, *, answering: VersionRecord, request_id: str, quarantined: Container[str] = ()
) -> VersionRecord | None:
    """The version that runs the same inputs only to be compared with the one that answers."""
    candidate, active = model.candidate, model.active
    if candidate is None or active is None or not candidate.mirror_percent:
        return None
    other = candidate.version if answering == active else active
    if other.version_id in quarantined:
        return None
    if not _falls_within(
        candidate.mirror_percent, f"mirror/{model.model_id}/{candidate.version.version_id}/{request_id}"
    ):
        return None
    return other


def rendezvous(model_id: str, host_ids: Iterable[str]) -> tuple[str, ...]:
    """Host ids in this model's own order, the best first."""
    return tuple(sorted(host_ids, key=lambda host_id: _weight(model_id, host_id), reverse=True))


def alive(hosts: Iterable[Heartbeat], *, now: float) -> tuple[Heartbeat, ...]:
    """Hosts to send to: those heard of lately, or, when there are none, those not yet given up."""
    serving = [host for host in hosts if host.state is HostState.READY]
    fresh = tuple(host for host in serving if now - host.at <= limits.HOST_SUSPECT_SECONDS)
    return fresh or tuple(host for host in serving if now - host.at <= limits.HOST_DEAD_SECONDS)


def destinations(
    view: RouteView, version_id: str, *, shuffled: Callable[[Sequence[Heartbeat]], Sequence[Heartbeat]]
) -> tuple[Heartbeat, ...]:
    """Hosts in the order in which to try them.

    Ready replicas come first in random order (least-loaded by reports herds),
    then one that is loading, then the model's own order of the rest, so that
    all callers of a cold model wake the same host.
    """
    hosts = {host.host_id: host for host in alive(view.hosts, now=view.now)}
    states = {
        replica.host_id: replica.state
        for replica_version, replica in view.replicas
        if replica_version == version_id and _same_boot(hosts.get(replica.host_id), replica.boot_id)
    }
    ordered = [hosts[host_id] for host_id in rendezvous(view_model(view), hosts)]
    ready = [host for host in ordered if states.get(host.host_id) is ReplicaState.READY]
    loading = [host for host in ordered if states.get(host.host_id) is ReplicaState.LOADING]
    rest = [host for host in ordered if host not in ready and host not in loading]
    return (*shuffled(ready), *loading, *rest)


def view_model(view: RouteView) -> str:
    return view.model.model_id if view.model else ""


def _same_boot(host: Heartbeat | None, boot_id: str) -> bool:
    return host is not None and host.boot_id == boot_id


def _falls_within(percent: int, key: str) -> bool:
    """True for this share of keys, evenly, always the same ones, and still when the share is larger."""
    point = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    return point * 100 < percent * _POINTS


def _weight(model_id: str, host_id: str) -> bytes:
    return hashlib.blake2b(f"{model_id}/{host_id}".encode(), digest_size=8).digest()
