"""What an inference request's round trip must do, whatever Redis it is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.admission import Admission, Admissions, Lease, Refusal
from chalicelib.contract.limiting import AccountLimits, Rate
from chalicelib.contract.messages import HostState, ModelRecord, Replica, ReplicaState
from chalicelib.contract.metering import Outcome, Refused, UsageKey
from infra.local.embedded import EmbeddedServers
from tests.contract.test_hotstate import VERSION, model, server_time, token
from tests.support.coordinating import assign
from tests.support.waiting import wait_for
from tests.unit.test_choice import host

LOOSE = AccountLimits(Rate(1_000, 2_000), 256)
READY = ReplicaState.READY
Admit = Callable[..., Admission]
Connect = Callable[[AccountLimits], Admissions]


@pytest.fixture
def connect(servers: EmbeddedServers, raw_redis: Any) -> Iterator[Connect]:
    """As gateways connect, with an account's limits."""
    opened: list[Admissions] = []

    def connect(account: AccountLimits) -> Admissions:
        url = servers.connections.redis_urls["gateway"]
        opened.append(Admissions(url, account=account, clock=time.monotonic))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def admissions(connect: Connect) -> Admissions:
    return connect(LOOSE)


def admit(admissions: Admissions, lease_id: str = "lease", *, cost: int = 1) -> Admission:
    return admissions.admit("sha", "m1", lease_id=lease_id, cost=cost)


def known(hot: HotState, *, hosts: str = "a", **changed: Any) -> None:
    """A token, a model, and hosts where it is ready."""
    hot.put_token("sha", msgspec.structs.replace(token(1), **changed))
    hot.put_model(model(1))
    for name in hosts:
        hot.beat(host(name))
        hot.put_replica("m1", "v1", Replica(name, f"boot-{name}", READY))


def test_one_round_trip_shows_all_that_routing_needs(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    admission = admit(admissions)
    view = admission.view
    assert (view.token, view.model, admission.counted, admission.limited) == (token(1), model(1), True, None)
    assert [msgspec.structs.replace(one, at=0) for one in view.hosts] == [
        msgspec.structs.replace(host("a"), at=0)
    ]
    assert 0 <= view.now - view.hosts[0].at < 60
    assert view.replicas == (("v1", Replica("a", "boot-a", READY)),)
    assert (view.in_flight, admission.hosts_registered) == ({"a": 0}, 1)
    assert view.now == pytest.approx(server_time(raw_redis), abs=60)


def test_what_is_not_there_reads_as_none(admissions: Admissions, raw_redis: Any) -> None:
    view = admit(admissions).view
    assert (view.token, view.model, view.hosts, view.replicas) == (None, None, (), ())
    assert raw_redis.keys("*") == [], "what is unknown is counted nowhere"


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"{}", b"[1]", b'{"revision": "x"}', b"\xff\xfe", b"null", b"3"]
)
def test_f07_a_corrupt_value_reads_as_a_miss(
    hot: HotState, admissions: Admissions, raw_redis: Any, junk: bytes
) -> None:
    known(hot)
    for field in ("v1/b", junk):
        raw_redis.hset("mr:latency:m1", field, junk)
    raw_redis.set("mr:rate:account:alice", junk)
    raw_redis.hset("mr:hosts", "b", b"soon|" + junk)
    raw_redis.hset("mr:replicas:m1", junk, junk)
    raw_redis.hset("mr:replicas:m1", "v1/b", b"ready/" + junk)
    view = admit(admissions).view
    assert (view.token, view.model, len(view.hosts), view.latency) == (token(1), model(1), 1, {})
    for key in ("mr:token:sha", "mr:model:m1"):
        raw_redis.set(key, junk)
    view = admit(admissions).view
    assert (view.token, view.model) == (None, None)


def test_f07_a_key_of_another_kind_reads_as_a_miss(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    wrong = ("mr:leases:a", "mr:running:alice", "mr:rate:account:alice", "mr:latency:m1")
    for key in wrong:
        raw_redis.delete(key)
        raw_redis.rpush(key, "x")
    admission = admit(admissions)
    assert (admission.view.token, admission.counted) == (token(1), False)
    admissions.release(Lease("lease", "alice", "m1"), host_id="a", version_id="v1", seconds=0.1)
    assert admit(admissions).view.model == model(1)
    for key in ("mr:token:sha", "mr:model:m1", "mr:replicas:m1", "mr:hosts"):
        raw_redis.delete(key)
        raw_redis.rpush(key, "x")
    view = admit(admissions).view
    assert (view.token, view.model, view.hosts, view.replicas) == (None, None, (), ())


def test_a_host_that_says_it_is_another_is_left_out(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    raw_redis.hset(
        "mr:hosts", "a", raw_redis.hget("mr:hosts", "a").replace(b'"host_id":"a"', b'"host_id":"b"')
    )
    view = admit(admissions).view
    assert (view.hosts, view.in_flight) == ((), {})


def test_only_hosts_that_matter_are_shown_unless_the_model_is_cold(
    hot: HotState, admissions: Admissions
) -> None:
    known(hot, hosts="ab")
    for name in "cdef":
        hot.beat(host(name))
    assign(hot, "d", ["v1", "v9"])
    warm = admit(admissions)
    assert [one.host_id for one in warm.view.hosts] == ["a", "b"]
    assert (warm.hosts_registered, warm.view.assigned) == (6, frozenset())
    hot.drop_replicas("m1", [("v1", "a"), ("v1", "b")])
    cold = admit(admissions).view
    assert sorted(one.host_id for one in cold.hosts) == list("abcdef")
    assert cold.assigned == {("v1", "d")}


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda hot: hot.beat(replaced(boot_id="boot-later")), id="another boot"),
        pytest.param(lambda hot: hot.beat(replaced(state=HostState.DRAINING)), id="draining"),
        pytest.param(lambda hot: hot.put_model(second_version()), id="another version"),
    ],
)
def test_a_replica_that_cannot_answer_leaves_the_model_cold(
    hot: HotState, admissions: Admissions, spoilt: Callable[[HotState], object]
) -> None:
    known(hot)
    hot.beat(host("b"))
    spoilt(hot)
    assert sorted(one.host_id for one in admit(admissions).view.hosts) == ["a", "b"]


def replaced(**changed: Any) -> Any:
    return msgspec.structs.replace(host("a"), **changed)


def second_version() -> ModelRecord:
    return msgspec.structs.replace(model(2), active=msgspec.structs.replace(VERSION, version_id="v2"))


def test_replicas_of_hosts_that_are_gone_are_cleared_away(hot: HotState, admissions: Admissions) -> None:
    known(hot)
    hot.put_replica("m1", "v1", Replica("gone", "boot", READY))
    admit(admissions)
    assert [replica.host_id for _, replica in hot.replicas("m1")] == ["a"]


def test_leases_count_what_a_host_has_in_flight_exactly(hot: HotState, admissions: Admissions) -> None:
    known(hot, hosts="ab")
    now = admit(admissions).view.now
    leases = [Lease(f"lease-{number}", "alice", "m1") for number in range(5)]
    for lease in leases:
        admissions.lease("a", lease, now=now)
    admissions.lease("b", leases[0], now=now, instead_of="a")
    assert admit(admissions).view.in_flight == {"a": 4, "b": 1}
    for lease in leases[1:]:
        admissions.release(lease, host_id="a")
    admissions.release(leases[0], host_id="b")
    assert admit(admissions).view.in_flight == {"a": 0, "b": 0}


def test_f10_leaked_leases_expire(hot: HotState, admissions: Admissions, raw_redis: Any) -> None:
    known(hot)
    now = server_time(raw_redis)
    budget = limits.DEADLINE_SECONDS_DEFAULT + 1
    raw_redis.zadd("mr:leases:a", {"old": now - budget - 1, "young": now - budget + 20})
    raw_redis.zadd("mr:running:alice", {"old": now - budget - 1})
    assert admit(admissions).view.in_flight == {"a": 1}
    assert raw_redis.zrange("mr:running:alice", 0, -1) == [b"lease"]


def test_f10_a_heartbeat_drops_leases_that_nothing_runs_for(hot: HotState, raw_redis: Any) -> None:
    known(hot)
    now = server_time(raw_redis)
    old = {f"old-{number}": now - 10 + number / 10 for number in range(5)}
    raw_redis.zadd("mr:leases:a", {**old, "fresh-1": now, "fresh-2": now})
    hot.beat(replaced(in_flight=2))
    assert raw_redis.zrange("mr:leases:a", 0, -1) == [b"old-3", b"old-4", b"fresh-1", b"fresh-2"]
    hot.forget_host("a")
    assert not raw_redis.exists("mr:leases:a")


def test_an_account_has_only_so_many_requests_under_way(hot: HotState, connect: Connect) -> None:
    admissions = connect(AccountLimits(Rate(1_000, 2_000), 3))
    known(hot)
    admitted = [admit(admissions, str(number)).limited for number in range(4)]
    assert [one and one.limit for one in admitted] == [None, None, None, Refusal.CONCURRENCY]
    admissions.release(Lease("0", "alice", "m1"))
    assert admit(admissions, "5").limited is None


def test_f74_an_account_may_send_its_rate_and_hears_exactly_when_to_come_back(
    hot: HotState, connect: Connect, raw_redis: Any
) -> None:
    admissions = connect(AccountLimits(Rate(0.5, 3), 256))
    known(hot)
    seen = [admit(admissions, str(number)).limited for number in range(5)]
    assert [one and one.limit for one in seen] == [None, None, None, Refusal.ACCOUNT, Refusal.ACCOUNT]
    assert seen[3] and seen[4]
    assert 1.5 < seen[4].wait_seconds <= seen[3].wait_seconds <= 2
    arrival = float(raw_redis.get("mr:rate:account:alice"))
    raw_redis.set("mr:rate:account:alice", f"{arrival - 2_000_000:.0f}")
    assert admit(admissions, "later").limited is None, "as if it had waited"


def test_f74_what_is_refused_consumes_nothing(hot: HotState, connect: Connect, raw_redis: Any) -> None:
    admissions = connect(AccountLimits(Rate(0.1, 2_000), 256))
    known(hot, requests_per_second=0.01)
    assert admit(admissions).limited is None
    before = [raw_redis.get(f"mr:rate:{what}") for what in ("account:alice", "key:t1")]
    for number in range(20):
        limited = admit(admissions, str(number)).limited
        assert limited and limited.limit is Refusal.KEY
        assert 90 < limited.wait_seconds <= 100
    assert [raw_redis.get(f"mr:rate:{what}") for what in ("account:alice", "key:t1")] == before
    assert raw_redis.zcard("mr:running:alice") == 1


def test_a_large_body_costs_more_and_never_more_than_a_burst(hot: HotState, connect: Connect) -> None:
    admissions = connect(AccountLimits(Rate(0.001, 20), 256))
    known(hot)
    assert admit(admissions, cost=17).limited is None
    assert [admit(admissions, name, cost=2).limited is None for name in "ab"] == [True, False]
    small = connect(AccountLimits(Rate(0.001, 5), 256))
    hot.put_token("sha", msgspec.structs.replace(token(2), tenant="bob"))
    assert [admit(small, name, cost=17).limited is None for name in "ab"] == [True, False]


def test_a_keys_own_limit_has_a_burst_of_two_seconds(hot: HotState, admissions: Admissions) -> None:
    known(hot, requests_per_second=5.0)
    limited = [admit(admissions, str(number)).limited for number in range(12)]
    assert [one is None for one in limited] == [True] * 10 + [False] * 2
    assert limited[-1] and limited[-1].limit is Refusal.KEY


def test_f45_f46_a_clock_that_was_set_back_locks_nobody_out(
    hot: HotState, connect: Connect, raw_redis: Any
) -> None:
    """Limits go by Redis's own clock, whatever a gateway's says; and that may jump too."""
    admissions = connect(AccountLimits(Rate(1, 5), 256))
    known(hot)
    ahead = (server_time(raw_redis) + 3600) * 1_000_000
    raw_redis.set("mr:rate:account:alice", f"{ahead:.0f}")
    limited = admit(admissions).limited
    assert limited
    assert limited.wait_seconds <= 1.1
    time.sleep(limited.wait_seconds)
    assert admit(admissions).limited is None


@pytest.mark.parametrize("changed", [{"revoked": True}, {"expires_at": 1.0}])
def test_a_credential_that_is_over_counts_towards_nothing(
    hot: HotState, admissions: Admissions, raw_redis: Any, changed: Any
) -> None:
    known(hot, **changed)
    assert admit(admissions).view.token == msgspec.structs.replace(token(1), **changed)
    assert not raw_redis.exists("mr:rate:account:alice", "mr:running:alice")


def test_f30_latency_is_a_moving_average_of_what_was_measured(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot, hosts="ab")
    lease = Lease("lease", "alice", "m1")
    admissions.release(lease, host_id="a", version_id="v1", seconds=0.1)
    admissions.release(lease, host_id="b", version_id="v1")
    latency = admit(admissions).view.latency
    assert set(latency) == {("v1", "a")}
    assert latency["v1", "a"].seconds == pytest.approx(0.1)
    now = server_time(raw_redis)
    raw_redis.hset("mr:latency:m1", "v1/a", f"0.100000/{now - 5:.6f}")
    admissions.release(lease, host_id="a", version_id="v1", seconds=0.3)
    measured = admit(admissions).view.latency["v1", "a"]
    assert 0.2 < measured.seconds < 0.26, "five seconds old weighs 1/e"
    assert 0 < raw_redis.ttl("mr:latency:m1") <= 3600
    for number in range(80):
        admissions.release(lease, host_id=f"h{number}", version_id="v1", seconds=0.1)
    assert len(admit(admissions).view.latency) <= 64


def test_a_release_counts_usage(hot: HotState, admissions: Admissions, raw_redis: Any) -> None:
    key = UsageKey("alice", "t1", "m1", 1)
    lease = Lease("lease", "alice", "m1")
    admissions.release(lease, host_id="a", version_id="v1", outcome=Outcome(key=key, status=200, rows=3))
    wait_for(lambda: raw_redis.smembers("mr:usage:minutes"), what="usage to be counted")
    [minute] = raw_redis.smembers("mr:usage:minutes")
    assert raw_redis.hget(f"mr:usage:{minute.decode()}", "t1/m1/1/rows") == b"3"


def test_who_was_refused_is_counted_by_the_code_of_the_error(
    admissions: Admissions, hot: HotState, raw_redis: Any
) -> None:
    key = UsageKey("alice", "t1", "", 0)
    for refused in (Refused(key, "rate_limited"), Refused(key, "rate_limited"), Refused(key, "no such code")):
        admissions.refuse(refused)
    minute = int(raw_redis.time()[0]) // 60

    def codes() -> list[dict[str, int]]:
        counted = [one.counted for one in hot.usage_under_way("alice", minute - 1)]
        return [measures.codes for minute in counted for measures in minute.values()]

    wait_for(lambda: codes() == [{"rate_limited": 2, "internal": 1}], what="refusals to be counted")


def test_scripts_survive_a_script_flush_and_connections_a_restart(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    admit(admissions)
    raw_redis.script_flush()
    assert admit(admissions).view.model == model(1)
    raw_redis.client_kill_filter(_type="normal", skipme=True)
    assert admit(admissions).view.model == model(1)


def test_f06_a_full_redis_still_admits(hot: HotState, admissions: Admissions, raw_redis: Any) -> None:
    known(hot)
    raw_redis.config_set("maxmemory", 1)
    try:
        admissions.lease("a", Lease("other", "alice", "m1"), now=server_time(raw_redis))
        assert admit(admissions).view.token == token(1)
        admissions.release(Lease("lease", "alice", "m1"), host_id="a", version_id="v1", seconds=0.1)
        assert admit(admissions).view.model == model(1)
    finally:
        raw_redis.config_set("maxmemory", 0)
    assert admit(admissions).counted


def test_f06_a_redis_that_takes_no_writes_still_admits_and_says_so(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    raw_redis.config_set("min-replicas-to-write", 1)
    try:
        admission = admit(admissions)
    finally:
        raw_redis.config_set("min-replicas-to-write", 0)
    assert (admission.view.token, admission.counted) == (token(1), False)


def test_f01_a_redis_that_is_away_is_a_retryable_error() -> None:
    away = Admissions("redis://127.0.0.1:9/0", account=LOOSE, clock=time.monotonic)
    for _ in range(limits.HOT_MISSES_MAX + 3):
        with pytest.raises(DependencyFailed) as raised:
            admit(away)
        assert raised.value.retryable
    away.release(Lease("lease", "alice", "m1"))


def test_f09_what_is_registered_beside_it_is_not_looked_at(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    """Commands that the server ran for one admission: the same with 100 more models, tokens and hosts."""
    known(hot, hosts="ab")
    admit(admissions)
    alone = commands_run(raw_redis, lambda: admit(admissions))
    hot.put_tokens((f"sha-{number}", token(1)) for number in range(100))
    hot.put_models(msgspec.structs.replace(model(1), model_id=f"m-{number}") for number in range(100))
    for number in range(100):
        hot.beat(host(f"other-{number}"))
    assert commands_run(raw_redis, lambda: admit(admissions)) == alone


def commands_run(raw_redis: Any, action: Callable[[], object]) -> int:
    raw_redis.config_resetstat()
    action()
    stats = raw_redis.info("commandstats")
    return sum(
        one["calls"]
        for name, one in stats.items()
        if name not in ("cmdstat_config|resetstat", "cmdstat_info")
    )


def test_f54_a_record_with_fields_to_come_is_read(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    raw_redis.set("mr:token:sha", msgspec.json.encode({**msgspec.to_builtins(token(1)), "later": 1}))
    hot.put_model(model(1))
    assert admit(admissions).view.token == token(1)


@pytest.mark.parametrize("junk", ["nan", "-nan", "inf", "-inf", "1e400", "-1"])
def test_f07_a_limit_that_stands_at_no_time_counts_as_nothing(
    hot: HotState, admissions: Admissions, raw_redis: Any, junk: str
) -> None:
    known(hot)
    raw_redis.set("mr:rate:account:alice", junk)
    limited = admit(admissions, "first").limited
    time.sleep(limited.wait_seconds if limited else 0)
    assert admit(admissions, "second").limited is None
    assert 0 < float(raw_redis.get("mr:rate:account:alice")) < (server_time(raw_redis) + 60) * 1e6


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e999", "-0.0"])
def test_f07_a_latency_that_is_no_time_is_left_out(
    hot: HotState, admissions: Admissions, raw_redis: Any, seconds: str
) -> None:
    known(hot)
    raw_redis.hset("mr:latency:m1", mapping={"v1/a": f"{seconds}/1.0", "v1/b": f"1.0/{seconds}"})
    latency = admit(admissions).view.latency
    assert ("v1", "a") not in latency
    assert all(0 < one.seconds < math.inf and 0 <= one.at < math.inf for one in latency.values())


def test_a_request_that_asks_again_pays_once_and_runs_once(
    hot: HotState, connect: Connect, raw_redis: Any
) -> None:
    """Its first question may have been answered without its hearing it."""
    admissions = connect(AccountLimits(Rate(0.001, 2), 1))
    known(hot)
    assert [admit(admissions, "one", cost=2).limited for _ in range(3)] == [None] * 3
    assert raw_redis.zcard("mr:running:alice") == 1
    limited = admit(admissions, "two").limited
    assert limited and limited.limit is Refusal.ACCOUNT


def test_f07_f10_leases_that_are_none_stop_no_heartbeat(
    hot: HotState, admissions: Admissions, raw_redis: Any
) -> None:
    known(hot)
    raw_redis.set("mr:leases:a", "junk")
    raw_redis.set("mr:assignments:a", "junk")
    assert hot.beat(host("a")).known
    admissions.lease("a", Lease("lease", "alice", "m1"), now=server_time(raw_redis))
    assert admit(admissions).view.in_flight == {"a": 1}


def test_f10_f46_leases_from_before_the_clock_was_set_back_are_dropped(
    hot: HotState, connect: Connect, raw_redis: Any
) -> None:
    admissions = connect(AccountLimits(Rate(1_000, 2_000), 3))
    known(hot)
    ahead = server_time(raw_redis) + 3600
    raw_redis.zadd("mr:leases:a", {"lost": ahead})
    raw_redis.zadd("mr:running:alice", {f"lost-{number}": ahead for number in range(3)})
    hot.beat(host("a"))
    admission = admit(admissions)
    assert (admission.limited, admission.view.in_flight) == (None, {"a": 0})
