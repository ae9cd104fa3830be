"""Sizes of a deployment, as data: how much of each thing there is, and what that costs a month.

About, in USD of us-east-1's on-demand list prices of 2026-06 (730 hours), when nothing is asked:

                                    small   standard   gpu
    way out of the network              7        102   102   NAT instance; 7 endpoints in 2 zones
    Redis                               9        184   184   cache.t4g.micro; two cache.m7g.large
    MongoDB                            30        113   113   DocumentDB at half a unit; two db.t4g.medium
    hosts that always run               0        294   384   none; two m7i.xlarge; one g4dn.xlarge
    their disks                         0         14     7   80 GB of gp3 each
    secrets, key                        5          5     5
    in all                             51        712   795

The hosts' own door, where there is a certificate for one, is 17 more. Requests, storage, what DocumentDB
reads and writes, and hosts that come with demand are on top. Where MongoDB runs elsewhere its row is gone,
and the larger sizes get a NAT gateway (33) by which functions reach it.

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

    An account may run 1,000 (a new one less, until it asks), and 100 of them always belong to nobody.
    `requests_per_second`: what the API lets through, and as many at once, before the platform's own limits.
    """

    inference: int
    management: int
    requests_per_second: int


@dataclass(frozen=True, slots=True)
class HostsSize:
    """The machines that run models: as many as are needed, from `fewest` to `most`. `memory_gib`: of each."""

    instance_type: str
    memory_gib: int
    fewest: int
    most: int
    has_gpu: bool = False


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


HOSTS_NEED: Final = ("ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "secretsmanager")
"""What a machine asks for to become a host and to say what it does. S3 has a way of its own, for nothing."""

_SMALL: Final = Profile(
    name="small",
    endpoints=(),
    redis=RedisSize("cache.t4g.micro", nodes=1, snapshot_days=0),
    mongo=MongoSize("", instances=1, units_max=4),
    functions=FunctionsSize(inference=40, management=10, requests_per_second=200),
    hosts=HostsSize("m7i.xlarge", memory_gib=16, fewest=0, most=2),
)
_STANDARD: Final = Profile(
    name="standard",
    endpoints=HOSTS_NEED,
    redis=RedisSize("cache.m7g.large", nodes=2, snapshot_days=1),
    mongo=MongoSize("t4g.medium", instances=2),
    functions=FunctionsSize(inference=400, management=100, requests_per_second=2_000),
    hosts=HostsSize("m7i.xlarge", memory_gib=16, fewest=2, most=20),
)
_GPU: Final = Profile(
    name="gpu",
    endpoints=HOSTS_NEED,
    redis=_STANDARD.redis,
    mongo=_STANDARD.mongo,
    functions=_STANDARD.functions,
    hosts=HostsSize("g4dn.xlarge", memory_gib=16, fewest=1, most=10, has_gpu=True),
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in (_SMALL, _STANDARD, _GPU)}
