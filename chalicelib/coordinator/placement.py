"""Which hosts should hold which versions."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.contract.choice import rendezvous
from chalicelib.coordinator.state import ModelState


def place(
    models: Iterable[ModelState], host_ids: Iterable[str], *, replicas_per_model: int
) -> dict[str, tuple[str, ...]]:
    """Version ids per host: each model on the first hosts of its own rendezvous order.

    A host that joins takes models over and shuffles none among the others. Versions that follow the
    active one go to where it is held as well, so that they are loaded before they take over.
    """
    hosts = tuple(host_ids)
    held: dict[str, list[str]] = {host_id: [] for host_id in hosts}
    for model in models:
        shard = rendezvous(model.model_id, hosts)[:replicas_per_model]
        for host_id in shard:
            held[host_id].append(model.version_id)
        for host_id in model.held_on.intersection(hosts).union(shard):
            held[host_id].extend(model.following)
    return {host_id: tuple(sorted(version_ids)) for host_id, version_ids in held.items()}
