"""What only a coordinator may do, done by a test; and coordinators, one beside the other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, HostLoad, VersionLoad
from chalicelib.coordinator.planner import Policy
from chalicelib.ports import Capacity
from chalicelib.reconciler import Deciding, Loop, Reconciler, UseCases
from chalicelib.wiring import ControlPlane
from tests.unit.test_choice import host

ONCE = Loop(tick_seconds=0.01, loop_seconds=0.0, monotonic=time.monotonic, wait=time.sleep)
_HOLDER = "test"


def take_over(hot: HotState, *, epoch: int = 1) -> int:
    """Be the coordinator of a hot state that has none; the epoch."""
    assert hot.take_lease(_HOLDER).mine
    hot.raise_epoch(epoch, holder=_HOLDER)
    return epoch


def assign(hot: HotState, host_id: str, version_ids: Iterable[str]) -> None:
    hot.assign(host_id, version_ids, epoch=take_over(hot))
    hot.release_lease(_HOLDER)


def coordinator(
    plane: ControlPlane,
    holder: str,
    *,
    capacity: Capacity | None = None,
    policy: Policy | None = None,
    loop: Loop = ONCE,
) -> Reconciler:
    """Another process's, as far as it knows: it shares nothing but the stores."""
    return Reconciler(
        store=plane.store,
        hot=plane.hot,
        cases=UseCases(
            uploads=plane.uploads,
            traffic=plane.traffic,
            deletion=plane.deletion,
            operators=plane.operators,
            metering=plane.metering,
            audit=plane.audit,
            payloads=plane.payloads,
        ),
        deciding=Deciding(holder=holder, policy=policy or plane.settings.policy, capacity=capacity),
        loop=loop,
    )


def beating(host_id: str, **said: Any) -> Heartbeat:
    return msgspec.structs.replace(host(host_id), **said)


def tell(hot: HotState, host_id: str, load: dict[str, tuple[int, float]], *, number: int = 1) -> None:
    """A heartbeat that says what the host was asked in the last two seconds: by version id, how many requests
    ended, and the seconds they took.
    """
    versions = {one: VersionLoad(requests, seconds, seconds) for one, (requests, seconds) in load.items()}
    hot.beat(beating(host_id), HostLoad(2.0, versions), number=number)


def silence(raw_redis: Any, host_id: str, *, seconds: float = 60.0) -> None:
    """Its last heartbeat was so long ago."""
    seen, _, beat = raw_redis.hget("mr:hosts", host_id).partition(b"|")
    raw_redis.hset("mr:hosts", host_id, f"{float(seen) - seconds:.6f}|".encode() + beat)


def pass_lease(raw_redis: Any) -> None:
    """Whoever has the lease has had it for too long."""
    raw_redis.hset("mr:coordinator", "until", "1.0")
