"""What AWS asks for things, each with where that was read and of when. Nothing here was read off a bill.

US dollars of us-east-1, on demand, without taxes, discounts or free tiers. What the platform itself estimates
users' costs with is taken from there (`chalicelib.prices`), so that it is written down once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chalicelib.prices import Prices

REGION: Final = "us-east-1"
HOURS_A_MONTH: Final = 730
UNVERIFIED: Final = "from memory, unverified"
_ESTIMATES: Final = Prices()


class Per(StrEnum):
    """What a price is of."""

    HOUR = "hour"
    MONTH = "month"
    GB_MONTH = "GB and month"
    GB = "GB"
    MILLION = "million"
    GIB_SECOND = "GiB and second"


@dataclass(frozen=True, slots=True)
class Price:
    """`source`: where it was read, without `https://`. `as_of`: its date; empty where it has none."""

    usd: float
    per: Per
    source: str
    as_of: str = ""

    @property
    def month_usd(self) -> float:
        """Of one that is there all the time. Raises ValueError for what is used up."""
        match self.per:
            case Per.HOUR:
                return self.usd * HOURS_A_MONTH
            case Per.MONTH | Per.GB_MONTH:
                return self.usd
        raise ValueError(f"what costs by the {self.per} has no price a month")


_OWN: Final = "chalicelib/prices.py"
_LISTED: Final = "AWS Price List API, as public code quotes it"
_QUOTED: Final = "public code and guides that quote it"
_DOCUMENTDB: Final = "www.usage.ai/blogs/aws/database-savings-plans/documentdb/pricing-breakdown"
_CLOUDWATCH: Final = "www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards"
_VPC: Final = "www.factualminds.com/blog/amazon-vpc-pricing-endpoints-peering-transit-gateway"
_CLOUDFRONT: Final = "aws.amazon.com/cloudfront/pricing"

PRICES: Final[Mapping[str, Price]] = {
    # By the hour
    "endpoint in a zone": Price(0.01, Per.HOUR, _VPC),
    "NAT gateway": Price(0.045, Per.HOUR, "cloudburn.io/blog/aws-nat-gateway-pricing", "2026-02"),
    "public IPv4 address": Price(0.005, Per.HOUR, "cloudburn.io/blog/aws-nat-gateway-pricing", "2026-02"),
    "load balancer": Price(0.0225, Per.HOUR, _QUOTED),
    "t4g.nano": Price(0.0042, Per.HOUR, _QUOTED),
    "m7i.xlarge": Price(_ESTIMATES.host_hour, Per.HOUR, _OWN, _ESTIMATES.as_of),
    "g4dn.xlarge": Price(0.526, Per.HOUR, _QUOTED),
    "cache.t4g.micro": Price(0.0128, Per.HOUR, _LISTED, "2026-10-02"),
    "cache.m7g.large": Price(0.1264, Per.HOUR, _LISTED, "2026-10-02"),
    "db.t4g.medium": Price(0.0757, Per.HOUR, UNVERIFIED),
    "DocumentDB unit": Price(0.0822, Per.HOUR, _DOCUMENTDB, "2026-06"),
    # By the month
    "secret": Price(
        0.40, Per.MONTH, "hivebook.wiki/wiki/aws-secrets-manager-rotated-secrets-dynamic-db-credentials-kms"
    ),
    "KMS key": Price(1.00, Per.MONTH, UNVERIFIED),
    "alarm on a metric": Price(0.10, Per.MONTH, UNVERIFIED),
    "metric of our own": Price(0.30, Per.MONTH, "signoz.io/guides/cloudwatch-pricing", "2026-02-15"),
    "dashboard": Price(3.00, Per.MONTH, _CLOUDWATCH, "2026-06-13"),
    "budget": Price(0.00, Per.MONTH, UNVERIFIED),
    # By what is kept
    "gp3 disk": Price(0.08, Per.GB_MONTH, _QUOTED),
    "S3": Price(_ESTIMATES.storage_gib_month, Per.GB_MONTH, _OWN, _ESTIMATES.as_of),
    "DocumentDB storage": Price(0.10, Per.GB_MONTH, _DOCUMENTDB, "2026-06"),
    # By what is used
    "API Gateway calls": Price(_ESTIMATES.gateway_requests_million, Per.MILLION, _OWN, _ESTIMATES.as_of),
    "Lambda calls": Price(_ESTIMATES.function_requests_million, Per.MILLION, _OWN, _ESTIMATES.as_of),
    "Lambda time": Price(_ESTIMATES.function_gib_second, Per.GIB_SECOND, _OWN, _ESTIMATES.as_of),
    "CloudFront requests": Price(1.00, Per.MILLION, "wring.co/blog/aws-cloudfront-pricing-guide"),
    "CloudFront transfer": Price(0.085, Per.GB, _CLOUDFRONT),
    "logs": Price(0.50, Per.GB, _CLOUDWATCH, "2026-06-13"),
    "DocumentDB reads and writes": Price(0.20, Per.MILLION, _DOCUMENTDB, "2026-06"),
}
"""First tiers."""

API_TIERS: Final = (
    (333e6, PRICES["API Gateway calls"].usd),
    (1e9, 2.80),
    (20e9, 2.38),
    (float("inf"), 1.51),
)
"""Up to so many calls a month, a million costs so much: docs.aws.amazon.com/whitepapers/latest/
best-practices-api-gateway-private-apis-integration/cost-optimization.html"""
