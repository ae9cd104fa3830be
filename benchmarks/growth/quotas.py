"""What AWS allows, by default where one may ask for more, each with where that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DOCS: Final = "docs.aws.amazon.com"
_MEMORY: Final = "from memory, unverified"


@dataclass(frozen=True, slots=True)
class Quota:
    """`source`: without `https://`; read in November 2026. `raised`: AWS gives more to who asks."""

    value: float
    source: str
    raised: bool = False


QUOTAS: Final[Mapping[str, Quota]] = {
    "API Gateway, requests/s of an account": Quota(
        10_000, f"{_DOCS}/apigateway/latest/developerguide/limits.html", raised=True
    ),
    "Lambda, at once in an account": Quota(
        1_000, f"{_DOCS}/lambda/latest/dg/lambda-concurrency.html", raised=True
    ),
    "Lambda, requests/s of an environment": Quota(
        10, f"{_DOCS}/lambda/latest/dg/gettingstarted-limits.html, as public notes quote it"
    ),
    "Lambda, environments in 10 s": Quota(1_000, f"{_DOCS}/lambda/latest/dg/scaling-behavior.html"),
    "Secrets Manager, values/s": Quota(
        10_000,
        "aws.amazon.com/about-aws/whats-new/2025/03/aws-secrets-manager-increases-api-requests-seconds",
    ),
    "ElastiCache, connections of a node": Quota(
        65_000, f"{_DOCS}/AmazonElastiCache/latest/dg/BestPractices.Clients.Redis.Connections.html"
    ),
    "cache.m7g.large, GiB": Quota(6.38, _MEMORY),
    "cache.m7g.large, Gbit/s for long": Quota(0.937, _MEMORY),
    "ElastiCache, share of memory for data": Quota(
        0.75, "cloudburn.io/blog/amazon-elasticache-pricing (a quarter is reserved)"
    ),
    "db.t4g.medium, connections": Quota(
        1_000, f"{_DOCS}/documentdb/latest/developerguide/release-notes.html, as public notes quote it"
    ),
    "DocumentDB at half a unit, connections": Quota(
        250, f"{_DOCS}/documentdb/latest/developerguide/docdb-serverless-instance-limits.html"
    ),
    "S3, GETs/s of a prefix": Quota(
        5_500, f"{_DOCS}/AmazonS3/latest/userguide/optimizing-performance.html, as public notes quote it"
    ),
    "ECS, instances of a cluster": Quota(
        5_000,
        f"{_DOCS}/AmazonECS/latest/developerguide/operating-at-scale-service-quotas.html",
        raised=True,
    ),
    "subnets of hosts, addresses": Quota(2 * 4_091, "infra/aws/stacks/network.py: two of /20"),
}
