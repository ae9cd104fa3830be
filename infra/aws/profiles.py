"""Sizes of a deployment, as data: how much of each thing there is. `infra.aws.costs` says what that costs.

small      Something to try, and to leave on: nothing runs that could be started when it is needed, and
           nothing twice. It is away for minutes when a machine or a zone fails, and hosts come with the
           first request.
standard   To rely on: each store has a second node in another zone, two hosts are always there, and hosts
           have no way to the internet at all, so none that a zone could take with it. Redis is asked by
           every request, so its nodes have no CPU credits that could run out.
gpu        The same with hosts that have one NVIDIA T4 each: the g-class GPU that costs least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RedisSize:
    """One shard: scripts touch several keys at once. `nodes`: the primary and its replicas."""

    node_type: str
    nodes: int
    snapshot_days: int


@dataclass(frozen=True, slots=True)
class MongoSize:
    """`instance_type`: empty for capacity that follows demand, from half a unit (1 GiB) to `units_max`."""

    instance_type: str
    instances: int
    units_max: float = 0.0


@dataclass(frozen=True, slots=True)
class FunctionsSize:
    """How many of each may run at once: that share of what the account may run is theirs alone.

    An account may run 1,000 (a new one less, until it asks), and 100 of them always belong to nobody. All of
    them at once are not to have more connections than MongoDB takes: docs/scale.md counts them.
    `requests_per_second`: what the API lets through, and as many at once, before the platform's own limits.
    """

    inference: int
    management: int
    requests_per_second: int


@dataclass(frozen=True, slots=True)
class HostsSize:
    """The machines that run models: as many as are needed, from `fewest` to `most`.

    `memory_gib`, `gpu_memory_gib`: of each, as AWS lists it; the latter is 0 where there is no GPU.
    `boot_seconds`: taken for the time from asking for a host until it serves, a machine for it included.
    """

    instance_type: str
    memory_gib: int
    fewest: int
    most: int
    boot_seconds: int
    gpu_memory_gib: int = 0

    @property
    def has_gpu(self) -> bool:
        return self.gpu_memory_gib > 0

    @property
    def policy(self) -> dict[str, dict[str, int]]:
        """The coordinator's, as far as it is not as usual: docs/guides/scaling.md says what it gives."""
        return {
            "scaling": {
                "hosts_min": self.fewest,
                "hosts_max": self.most,
                "boot_seconds": self.boot_seconds,
                "stable_seconds": _STABLE_SECONDS,
                "down_delay_seconds": _DOWN_DELAY_SECONDS,
            }
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSize:
    """From when on somebody is told: docs/operations.md says of what. Counts are of five minutes.

    Attributes:
        requests_min: below so many a share of them says nothing.
        errors_percent: of requests, that failed for the platform's own fault.
        latency_seconds: in which 99 of 100 calls of the API should be answered.
        function_failures: of one function that ended without an answer, or were refused for want of a place.
        records_gib: what the records take, beyond which somebody should know why.
    """

    requests_min: int
    errors_percent: int
    latency_seconds: int
    function_failures: int
    records_gib: int


@dataclass(frozen=True, slots=True)
class Profile:
    """`endpoints`: AWS's services that are reached without leaving the network.

    Where there are none a NAT instance leads out, which costs a seventh of them in one zone.
    """

    name: str
    endpoints: tuple[str, ...]
    redis: RedisSize
    mongo: MongoSize
    functions: FunctionsSize
    hosts: HostsSize
    watch: WatchSize


_STABLE_SECONDS: Final = 180
_DOWN_DELAY_SECONDS: Final = 300
"""Where hosts take minutes to come: a longer look at the load, since what it is expected to be then is
extrapolated from it, and no haste to give away what takes as long to get back."""
_BOOT_SECONDS: Final = 180
_GPU_BOOT_SECONDS: Final = 300
"""ECS looks about once a minute for tasks without a machine; an instance, its agent and the image take the
rest, and a GPU's image is several times as large. Nobody has measured it yet; the coordinator does so itself,
but only for what it tells callers.
"""
HOSTS_NEED: Final = ("ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "secretsmanager")
"""What a machine asks for to become a host and to say what it does. S3 has a way of its own, for nothing."""

_SMALL: Final = Profile(
    name="small",
    endpoints=(),
    redis=RedisSize("cache.t4g.micro", nodes=1, snapshot_days=0),
    mongo=MongoSize("", instances=1, units_max=4),
    functions=FunctionsSize(inference=40, management=10, requests_per_second=200),
    hosts=HostsSize("m7i.xlarge", memory_gib=16, fewest=0, most=2, boot_seconds=_BOOT_SECONDS),
    watch=WatchSize(
        requests_min=50, errors_percent=10, latency_seconds=15, function_failures=5, records_gib=10
    ),
)
_STANDARD: Final = Profile(
    name="standard",
    endpoints=HOSTS_NEED,
    redis=RedisSize("cache.m7g.large", nodes=2, snapshot_days=1),
    mongo=MongoSize("t4g.medium", instances=2),
    functions=FunctionsSize(inference=400, management=90, requests_per_second=2_000),
    hosts=HostsSize("m7i.xlarge", memory_gib=16, fewest=2, most=20, boot_seconds=_BOOT_SECONDS),
    watch=WatchSize(
        requests_min=500, errors_percent=2, latency_seconds=5, function_failures=20, records_gib=100
    ),
)
_GPU: Final = Profile(
    name="gpu",
    endpoints=HOSTS_NEED,
    redis=_STANDARD.redis,
    mongo=_STANDARD.mongo,
    functions=_STANDARD.functions,
    hosts=HostsSize(
        "g4dn.xlarge", memory_gib=16, fewest=1, most=10, boot_seconds=_GPU_BOOT_SECONDS, gpu_memory_gib=16
    ),
    watch=_STANDARD.watch,
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in (_SMALL, _STANDARD, _GPU)}
