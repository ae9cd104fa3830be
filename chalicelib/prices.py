"""What things cost, as the operator says it, or by default as AWS lists it.

Defaults: on-demand list prices of AWS in us-east-1 without taxes, discounts or free tiers, from its public
price pages for API Gateway (REST), Lambda (x86), EC2 (m7i.xlarge, Linux) and S3 (Standard), first tiers.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

_Price = Annotated[float, msgspec.Meta(ge=0)]
_Size = Annotated[float, msgspec.Meta(gt=0)]
_SOURCE: Final = (
    "AWS list prices, us-east-1, on demand: API Gateway REST, Lambda x86, EC2 m7i.xlarge, S3 Standard"
)


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an estimate is made of.

    Attributes:
        currency: its three letters.
        source, as_of: where the prices are from, and of when.
        gateway_requests_million: a million requests through the API gateway.
        function_requests_million: a million calls of the function behind it.
        function_gib_second: its time, by the memory that it has.
        function_gib: the memory that the function has.
        host_hour: an hour of one host.
        host_slots: how many models it can run at the same time.
        host_gib: the memory that it has.
        storage_gib_month: what is kept in the store.
    """

    currency: str = "USD"
    source: str = _SOURCE
    as_of: str = "2026-06"
    gateway_requests_million: _Price = 3.50
    function_requests_million: _Price = 0.20
    function_gib_second: _Price = 0.0000166667
    function_gib: _Size = 1.0
    host_hour: _Price = 0.2016
    host_slots: _Size = 4
    host_gib: _Size = 16
    storage_gib_month: _Price = 0.023
