"""How often an account may ask for what is not inference."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from chalicelib.api import Asked
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import RateLimited
from chalicelib.guards import RouteGuards

ASKED = Asked(
    request_id="r", method="GET", path="/v1/models", find_address=str, headers={}, query={}, raw=b""
)


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def guards(clock: Clock, tenants: list[str]) -> RouteGuards:
    """Each request is the next tenant's."""
    auth: Any = Mock()
    auth.authenticate = lambda _: Principal(tenants.pop(0), "", frozenset())
    unused: Any = None
    return RouteGuards(auth, unused, unused, unused, "http://127.0.0.1", clock)


def test_f74_an_account_that_asks_too_often_is_told_when_to_come_back() -> None:
    burst = int(2 * limits.MANAGEMENT_REQUESTS_PER_SECOND)
    clock = Clock()
    guarded = guards(clock, ["alice"] * (burst + 1) + ["bob", "alice"])
    for _ in range(burst):
        guarded.authenticate(ASKED)
    with pytest.raises(RateLimited) as refused:
        guarded.authenticate(ASKED)
    guarded.authenticate(ASKED)  # bob
    assert refused.value.retry_after is not None
    clock.at += refused.value.retry_after
    guarded.authenticate(ASKED)
