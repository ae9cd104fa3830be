"""What becomes of the hosts on this machine, for what is wished."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.contract.hotstate import CapacityStatus, CapacityWish, HotState
from infra.local.embedded import EmbeddedServers
from infra.local.hostpool import HostPool, numbers_to_start, status_of
from infra.local.process import ChildSpec
from infra.local.steps import Change, Member
from tests.support.coordinating import take_over

NOTHING = Change()


def member(number: int, *, ready: bool = True, ending: bool = False) -> Member:
    return Member(f"host-{number}", ready, ending)


@pytest.mark.parametrize(
    ("hosts", "ending", "members", "expected"),
    [
        pytest.param(2, (), [member(1), member(2)], (), id="enough"),
        pytest.param(1, (), [member(1), member(2)], (), id="too many, and none is named"),
        pytest.param(2, (), [member(1), member(2, ready=False)], (), id="one that starts or died counts"),
        pytest.param(0, (), [], (), id="none"),
        pytest.param(3, (), [], (1, 2, 3), id="from none"),
        pytest.param(3, (), [member(2)], (1, 3), id="the lowest free numbers"),
        pytest.param(2, (), [member(1), member(2, ending=True)], (3,), id="one that drains does not count"),
        pytest.param(2, ("host-2",), [member(1), member(2)], (3,), id="nor one that is named"),
        pytest.param(2, ("host-2",), [member(1)], (3,), id="its number stays free while it is named"),
        pytest.param(9, (), [member(1)], (2, 3, 4), id="no more than there may be"),
    ],
)
def test_hosts_are_started_for_those_that_are_missing(
    hosts: int, ending: tuple[str, ...], members: list[Member], expected: tuple[int, ...]
) -> None:
    assert numbers_to_start(CapacityWish(hosts, ending, 1), members, hosts_max=4) == expected


def test_every_host_is_told_as_what_it_is() -> None:
    members = [member(1), member(2, ready=False), member(3, ending=True), member(4, ready=False, ending=True)]
    told = CapacityStatus(running=("host-1",), starting=("host-2",), ending=("host-3", "host-4"))
    assert status_of(members) == told


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Each look is a second after the one before."""
        self.now += 1.0
        return self.now


def spec(number: int) -> ChildSpec:
    return ChildSpec(name=f"host-{number}", command=(), environment={})


def pool(redis_url: str) -> HostPool:
    return HostPool(redis_url, spec=spec, hosts_max=3, clock=Clock())


def wish(hot: HotState, hosts: int, *ending: str, epoch: int = 1) -> None:
    take_over(hot, epoch=epoch)
    hot.publish_capacity(hosts, ending, epoch=epoch)


def names(change: Change) -> tuple[list[str], set[str]]:
    return [one.name for one in change.start], set(change.end)


def test_the_wish_is_followed_and_what_runs_is_told(servers: EmbeddedServers, hot: HotState) -> None:
    wish(hot, 3)
    following = pool(servers.connections.redis_urls["stack"])

    assert following.follow([member(1)]) == NOTHING  # that was for the hosts of an earlier run
    assert hot.capacity_wish() is None
    assert hot.capacity_status() == CapacityStatus(running=("host-1",))

    wish(hot, 2, "host-1", epoch=2)
    assert names(following.follow([member(1)])) == (["host-2", "host-3"], {"host-1"})
    still = [member(1, ending=True), member(2), member(3, ready=False)]
    assert names(following.follow(still)) == ([], {"host-1"})
    assert hot.capacity_status() == status_of(still)


def test_an_older_wish_and_none_at_all_change_nothing(
    servers: EmbeddedServers, hot: HotState, raw_redis: Any
) -> None:
    following = pool(servers.connections.redis_urls["stack"])
    following.follow([])
    wish(hot, 1, epoch=5)
    assert names(following.follow([])) == (["host-1"], set())

    raw_redis.flushall()
    assert following.follow([member(1)]) == NOTHING
    wish(hot, 0, "host-1", epoch=4)
    assert following.follow([member(1)]) == NOTHING
    raw_redis.set("mr:capacity", "no wish")
    assert following.follow([member(1)]) == NOTHING


def test_all_stays_as_it_is_while_redis_is_away() -> None:
    assert pool("redis://127.0.0.1:1/0").follow([member(1)]) == NOTHING
