"""Which version answers and which host runs it: pure decisions over what one round trip showed.

Both doors decide by these functions, so that a caller is treated alike at either.

Rendezvous hashing (Thaler and Ravishankar, 1998) gives each model its own order
of all hosts: a host that joins or leaves moves only the models it gains or held.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.hotstate.admission import RouteView
from chalicelib.contract.messages import Heartbeat, HostState, ModelRecord, ReplicaState, VersionRecord

_POINTS: Final = 2**64
_SECONDS_MIN: Final = 0.0005
"""What a request takes beside the run that a passport tells of."""
_FADE_SECONDS: Final = 30.0
_MEMORY_STEPS: Final = 8
_UNKNOWN: Final = (None, None)


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
    fresh = tuple([host for host in serving if now - host.at <= limits.HOST_SUSPECT_SECONDS])
    return fresh or tuple([host for host in serving if now - host.at <= limits.HOST_DEAD_SECONDS])


def destinations(
    view: RouteView, version: VersionRecord, *, hosts: Sequence[Heartbeat], weigh: Weigh
) -> tuple[Heartbeat, ...]:
    """Of `hosts`, which are alive and may be asked, the order in which to ask them.

    Ready replicas come first: the better of two drawn at random (Mitzenmacher, 2001), by requests in
    flight and measured latency; then the others by the same score. Then one that is loading. Then
    those where the version is cold, see `_coldest_last`. Hosts whose event loop is stuck are only asked
    where there are no others.
    """
    hosts = [host for host in hosts if host.loop_lag_seconds <= limits.LOOP_LAG_SECONDS_MAX] or hosts
    states = {
        replica.host_id: (replica.state, replica.boot_id)
        for replica_version, replica in view.replicas
        if replica_version == version.version_id
    }
    ready, loading, cold, stored = [], [], [], set()
    for host in hosts:
        state, boot_id = states.get(host.host_id, _UNKNOWN)
        if boot_id != host.boot_id:
            cold.append(host)
        elif state is ReplicaState.READY:
            ready.append(host)
        elif state is ReplicaState.LOADING:
            loading.append(host)
        else:
            cold.append(host)
            if state is ReplicaState.STORED:
                stored.add(host.host_id)
    if len(ready) > 1:
        ready = _best_of_two_first(ready, view, version, weigh)
    if len(ready) >= limits.TRIES_MAX:
        return tuple(ready)
    return (*ready, *_in_own_order(version, loading), *_coldest_last(view, version, cold, stored))


def expected_seconds(view: RouteView, version: VersionRecord, host_id: str) -> float:
    """How long a ready replica takes for one request: as measured lately, else as its passport says.

    What was measured long ago, or before the clock was set back, fades back into the passport: a replica
    that was slow once, and gets no requests for it, is tried again.
    """
    told = max(_SECONDS_MIN, version.passport.run_ms / 1000)
    measured = view.latency.get((version.version_id, host_id))
    if measured is None:
        return told
    kept = math.exp(-abs(view.now - measured.at) / _FADE_SECONDS)
    return measured.seconds * kept + told * (1 - kept)


class Weigh(msgspec.Struct, frozen=True):
    """How the asking process sees hosts itself.

    Attributes:
        generator: draws the two.
        in_flight: of a host, where it knows better than the view; None to go by the view.
        share: of its share, what a host is to get; 1 but while it warms up.
    """

    generator: random.Random
    share: Callable[[str], float]
    in_flight: Mapping[str, int] | None = None

    def score(self, view: RouteView, version: VersionRecord, host_id: str) -> float:
        """The lower, the sooner a request is answered there."""
        counted = view.in_flight if self.in_flight is None else self.in_flight
        waiting = counted.get(host_id, 0) + 1
        return waiting * expected_seconds(view, version, host_id) / self.share(host_id)


def _best_of_two_first(
    ready: list[Heartbeat], view: RouteView, version: VersionRecord, weigh: Weigh
) -> list[Heartbeat]:
    pair = _two_of(ready, weigh.generator)
    scores = [weigh.score(view, version, host.host_id) for host in pair]
    if scores[1] < scores[0]:
        pair.reverse()
    if len(ready) == len(pair):
        return pair
    others = [host for host in ready if host is not pair[0]]
    return [pair[0], *sorted(others, key=lambda host: weigh.score(view, version, host.host_id))]


def _two_of(hosts: Sequence[Heartbeat], generator: random.Random) -> list[Heartbeat]:
    """Different ones, each pair as likely as any other."""
    first, second = int(generator.random() * len(hosts)), int(generator.random() * (len(hosts) - 1))
    return [hosts[first], hosts[second + (second >= first)]]


def _coldest_last(
    view: RouteView, version: VersionRecord, hosts: Sequence[Heartbeat], stored: Container[str]
) -> Sequence[Heartbeat]:
    """First who has its files on disk, then who is to hold it, then who has the most memory free.

    Where nothing tells hosts apart the model's own order does, so that all callers wake the same one;
    memory is told in steps, since it changes from one heartbeat to the next.
    """
    if not hosts:
        return hosts

    def rank(host: Heartbeat) -> tuple[bool, bool, int]:
        assigned = (version.version_id, host.host_id) in view.assigned
        return host.host_id not in stored, not assigned, -_memory_steps_free(host)

    return sorted(_in_own_order(version, hosts), key=rank)


def _memory_steps_free(host: Heartbeat) -> int:
    free = host.memory_bytes_max - host.memory_bytes_used
    return _MEMORY_STEPS * free // max(1, host.memory_bytes_max)


def _in_own_order(version: VersionRecord, hosts: Sequence[Heartbeat]) -> Sequence[Heartbeat]:
    if len(hosts) <= 1:
        return hosts
    by_id = {host.host_id: host for host in hosts}
    return [by_id[host_id] for host_id in rendezvous(version.model_id, by_id)]


def _falls_within(percent: int, key: str) -> bool:
    """True for this share of keys, evenly, always the same ones, and still when the share is larger."""
    point = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    return point * 100 < percent * _POINTS


def _weight(model_id: str, host_id: str) -> bytes:
    return hashlib.blake2b(f"{model_id}/{host_id}".encode(), digest_size=8).digest()
