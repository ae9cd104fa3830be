"""What hosts' own doors ask the hot state, whatever Redis it is, with a host's rights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import Asker, HotState, Wish
from chalicelib.contract.hotstate.admission import Admissions, Refusal
from chalicelib.contract.limiting import AccountLimits, Rate
from chalicelib.contract.messages import Replica, ReplicaState
from infra.local.embedded import EmbeddedServers
from tests.contract.test_hotstate import model, token
from tests.unit.test_choice import host

ACCOUNT = AccountLimits(Rate(10, 20), 8)


@pytest.fixture
def door(servers: EmbeddedServers, hot: HotState) -> HotState:
    hot.put_token("sha", token(1))
    hot.put_model(model(1))
    return HotState.connect(servers.connections.redis_urls["host"], timeout_seconds=5)


@pytest.fixture
def gateway(servers: EmbeddedServers) -> Iterator[Admissions]:
    admissions = Admissions(servers.connections.redis_urls["gateway"], account=ACCOUNT, clock=time.monotonic)
    yield admissions
    admissions.close()


def ask(door: HotState, permits: int, *, least: int = 1, **running: tuple[int, int]) -> Any:
    asker = Asker("door", ACCOUNT, running)
    return door.credentials([Wish("sha", "m1", permits, least)], asker=asker)[0]


def test_credentials_come_with_permits_in_one_look(door: HotState) -> None:
    view = ask(door, 5)
    assert (view.token, view.model, view.granted, view.limited) == (token(1), model(1), 5, None)
    assert door.credentials([Wish("unknown", "m1", 5)])[0].granted == 0


def test_doors_and_gateways_take_from_the_same_limit(door: HotState, gateway: Admissions) -> None:
    assert ask(door, 15).granted == 15
    for one in range(5):
        assert gateway.admit("sha", "m1", lease_id=f"l{one}", cost=1).limited is None
    assert ask(door, 5).granted <= 1, "ten come back in a second"
    while (limited := ask(door, 1).limited) is None:
        pass
    there = gateway.admit("sha", "m1", lease_id="l", cost=1).limited
    assert there is not None
    assert limited.limit is there.limit is Refusal.ACCOUNT
    assert limited.wait_seconds == pytest.approx(there.wait_seconds, abs=0.1)


def test_a_block_is_what_is_left_and_never_less_than_is_of_use(door: HotState) -> None:
    assert ask(door, 100, least=3).granted == 20
    refused = ask(door, 100, least=3)
    assert (refused.granted, refused.limited.limit) == (0, Refusal.ACCOUNT)
    assert 0.2 < refused.limited.wait_seconds <= 0.3


def test_what_costs_more_than_a_burst_costs_a_burst(door: HotState, hot: HotState) -> None:
    hot.put_token("sha", msgspec.structs.replace(token(2), requests_per_second=1.0))
    assert ask(door, 17, least=17).granted == 17
    refused = ask(door, 17, least=17)
    assert (refused.granted, refused.limited.limit) == (0, Refusal.KEY)
    assert 1 < refused.limited.wait_seconds <= 2


@pytest.mark.parametrize("changes", [{"revoked": True}, {"expires_at": 1.0}])
def test_who_may_not_ask_takes_nothing(
    door: HotState, hot: HotState, raw_redis: Any, changes: dict[str, Any]
) -> None:
    hot.put_token("sha", msgspec.structs.replace(token(2), **changes))
    assert ask(door, 5).granted == 0
    assert raw_redis.keys("mr:rate:*") == []


def test_what_is_under_way_at_a_door_counts_at_the_gateways(
    door: HotState, gateway: Admissions, raw_redis: Any
) -> None:
    assert ask(door, 1, alice=(8, 0)).running == 8
    there = gateway.admit("sha", "m1", lease_id="l", cost=1).limited
    assert there is not None
    assert there.limit is Refusal.CONCURRENCY
    assert ask(door, 0, alice=(3, 8)).running == 3
    assert raw_redis.zrange("mr:running:alice", 0, -1) == [b"door/1", b"door/2", b"door/3"]
    assert gateway.admit("sha", "m1", lease_id="l", cost=1).limited is None
    assert ask(door, 0, alice=(0, 3)).running == 1


def test_what_nobody_repeats_is_forgotten(door: HotState, raw_redis: Any) -> None:
    ask(door, 0, alice=(1, 0))
    raw_redis.zadd("mr:running:alice", {"door/1": time.time() - limits.DEADLINE_SECONDS_DEFAULT - 5})
    assert ask(door, 0).running == 0


def test_versions_in_quarantine_are_shown(door: HotState, hot: HotState) -> None:
    hot.put_replica("m1", "v1", Replica("a", "boot", ReplicaState.READY))
    assert ask(door, 0).quarantined == frozenset()
    hot.quarantine("m1", "v1", seconds=60)
    assert ask(door, 0).quarantined == {"v1"}


@pytest.mark.parametrize("junk", [b"", b"junk", b"{}", b"[1]", b"\xff\xfe", b"null", b"3"])
def test_f07_a_corrupt_value_reads_as_a_miss(door: HotState, raw_redis: Any, junk: bytes) -> None:
    raw_redis.set("mr:rate:account:alice", junk)
    raw_redis.hset("mr:replicas:m1", b"v1/!", junk)
    raw_redis.set("mr:running:alice", junk)
    view = ask(door, 2, alice=(1, 0))
    assert (view.token, view.granted, view.quarantined) == (token(1), 2, frozenset())
    for key in ("mr:token:sha", "mr:model:m1"):
        raw_redis.set(key, junk)
    view = ask(door, 2)
    assert (view.token, view.model, view.granted) == (None, None, 0)


def test_f06_what_cannot_be_counted_is_told_apart(door: HotState, raw_redis: Any) -> None:
    raw_redis.config_set("maxmemory", 1)
    try:
        view = ask(door, 2)
    finally:
        raw_redis.config_set("maxmemory", 0)
    assert (view.token, view.granted, view.counted) == (token(1), 0, False)


def test_a_host_may_look_at_a_model_and_the_hosts_that_have_it(
    servers: EmbeddedServers, hot: HotState, door: HotState
) -> None:
    hot.beat(host("a"))
    hot.put_replica("m1", "v1", Replica("a", "boot-a", ReplicaState.READY))
    url = servers.connections.redis_urls["host"]
    admissions = Admissions(url, account=ACCOUNT, clock=time.monotonic)
    try:
        view = admissions.look("m1").view
    finally:
        admissions.close()
    assert (view.token, view.model, view.in_flight) == (None, model(1), {"a": 0})
    assert view.replicas == (("v1", Replica("a", "boot-a", ReplicaState.READY)),)
