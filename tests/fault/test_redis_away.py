"""The gateway while the hot state is away, slow or silent: cut for real, between the two."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, RateLimited, Unauthenticated
from chalicelib.contract.limiting import AccountLimits, Rate
from chalicelib.contract.tokens import new_token
from chalicelib.routing import Clocks
from chalicelib.wiring import ControlPlane
from tests.support.faultyproxy import FaultyProxy, Line, faulty_proxy
from tests.support.played import World, answers, router_over
from tests.support.waiting import wait_for

AWAY = (Line.CUT, Line.BLACKHOLE, Line.DELAY)


class Clock:
    """Real time, and as much more as a test wants."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Cut(World):
    """A gateway whose way to Redis goes through a proxy."""

    def __init__(
        self, plane: ControlPlane, owner: Principal, proxy: FaultyProxy, account: AccountLimits | None = None
    ) -> None:
        super().__init__(plane, owner)
        self.clock = Clock()
        self.proxy = proxy
        parts = urlsplit(plane.settings.redis_url)
        address = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}"
        self.router = router_over(
            plane,
            self.hosts,
            redis_url=parts._replace(netloc=address).geturl(),
            clocks=Clocks(monotonic=self.clock, unix=time.time),
            account=account,
        )
        self.add_host("a", answers)

    def served(self) -> bool:
        try:
            return self.infer().reply.status == 200
        except DependencyFailed:
            return False


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultyProxy]:
    port = urlsplit(plane.settings.redis_url).port
    assert port
    with faulty_proxy(port) as proxy:
        proxy.delay = 0.4
        yield proxy


@pytest.fixture
def world(plane: ControlPlane, alice: Principal, proxy: FaultyProxy) -> Cut:
    return Cut(plane, alice, proxy)


@pytest.mark.parametrize("line", AWAY)
def test_f01_f04_f05_what_was_seen_goes_on_being_served_for_a_minute_and_heals(
    world: Cut, line: Line
) -> None:
    wait_for(world.served, what="the first answer")
    world.proxy.line = line
    assert all(world.infer().reply.status == 200 for _ in range(20))
    world.clock.ahead = limits.OUTAGE_CACHE_SECONDS + 1
    with pytest.raises(DependencyFailed):
        world.infer()
    world.proxy.line = Line.PASS
    wait_for(world.served, what="requests to be served again", seconds=15)


@pytest.mark.parametrize("line", AWAY)
def test_f01_an_unknown_token_is_503_and_never_401(world: Cut, line: Line) -> None:
    wait_for(world.served, what="the first answer")
    world.proxy.line = line
    for _ in range(limits.HOT_MISSES_MAX + 2):
        with pytest.raises(DependencyFailed) as raised:
            world.infer(token=new_token())
        assert raised.value.retryable
    world.proxy.line = Line.PASS
    wait_for(lambda: refused(world, new_token()), what="tokens to be looked up again", seconds=15)


def refused(world: Cut, token: str) -> bool:
    try:
        world.infer(token=token)
    except DependencyFailed:
        return False
    except Unauthenticated:
        return True
    raise AssertionError("an unknown token was served")


@pytest.mark.parametrize("line", [Line.BLACKHOLE, Line.DELAY])
def test_f04_f05_connections_do_not_pile_up(world: Cut, line: Line) -> None:
    """A hundred callers at once, while every reply is out of time."""
    wait_for(world.served, what="the first answer")
    world.proxy.line = line
    before = world.proxy.connections
    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: world.infer().reply.status, range(100)))
    assert statuses == [200] * 100
    assert world.proxy.connections - before <= 40, "at most one per thread, before the circuit opens"
    wait_for(lambda: world.proxy.open <= 1, what="connections to be closed")


def test_f04_a_late_reply_is_never_taken_for_anothers(world: Cut, alice: Principal) -> None:
    """The answer to one token's question comes when another's is asked."""
    wait_for(world.served, what="the first answer")
    world.proxy.line, world.proxy.delay = Line.DELAY, 0.15
    for _ in range(8):
        with pytest.raises(ModelRocketError) as raised:
            world.infer(token=new_token())
        assert raised.value.code in ("dependency", "unauthenticated")
        assert world.infer().reply.status == 200


def test_f74_without_redis_each_process_lets_a_tenth_through(
    plane: ControlPlane, alice: Principal, proxy: FaultyProxy
) -> None:
    world = Cut(plane, alice, proxy, AccountLimits(Rate(1, 100), 256))
    wait_for(world.served, what="the first answer")
    proxy.line = Line.CUT
    codes = []
    for _ in range(30):
        try:
            codes.append(str(world.infer().reply.status))
        except RateLimited as error:
            codes.append(error.code)
            assert error.retry_after
    assert codes.count("200") in (10, 11, 12)
    assert set(codes) == {"200", "rate_limited"}


def test_a_revoked_token_is_refused_at_once_while_redis_is_there(world: Cut, alice: Principal) -> None:
    wait_for(world.served, what="the first answer")
    world.plane.keys.revoke(alice, world.issued.token.id)
    with pytest.raises(Unauthenticated):
        world.infer()
    world.proxy.line = Line.CUT
    for _ in range(limits.HOT_MISSES_MAX + 2):
        with pytest.raises(ModelRocketError):
            world.infer()
