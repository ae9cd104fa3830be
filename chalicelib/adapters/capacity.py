"""Who starts and stops hosts here."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.adapters.capacity_ecs import EcsCapacity, ecs_client
from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.contract.hotstate import HotState
from chalicelib.ports import Capacity
from chalicelib.settings import CapacityKind, Settings


def capacity(settings: Settings, hot: HotState, *, clock: Callable[[], float]) -> Capacity | None:
    """None where nobody does. `clock`: monotonic seconds."""
    match settings.capacity:
        case CapacityKind.NONE:
            return None
        case CapacityKind.LOCAL:
            return LocalCapacity(hot)
        case CapacityKind.ECS:
            cluster, service = settings.ecs_cluster, settings.ecs_service
            return EcsCapacity(ecs_client(), cluster=cluster, service=service, hot=hot, clock=clock)
