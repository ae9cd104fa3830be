"""What the hot state must do, whatever Redis it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import redis

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import (
    CandidateRecord,
    Counts,
    ModelRecord,
    PrepareJob,
    PrepareResult,
    PrepareStage,
    Replica,
    ReplicaState,
    Scope,
    TokenKind,
    TokenRecord,
    VersionRecord,
)
from tests.support.coordinating import assign
from tests.support.uploads import PASSPORT, SIGNATURE
from tests.support.waiting import wait_for
from tests.unit.test_choice import host

UNTIL = "2026-01-02T03:04:05+00:00"
VERSION = VersionRecord("v1", "m1", "alice", 1, "00" * 32, 10, "models/v1", SIGNATURE, PASSPORT)
JOB = PrepareJob("v1", "m1", "alice", 1, "00" * 32, 10, "models/v1")


def token(revision: int, *, revoked: bool = False) -> TokenRecord:
    return TokenRecord("alice", TokenKind.MODEL_TOKEN, revision, "t1", (Scope.INFER,), revoked=revoked)


def model(revision: int, active: VersionRecord | None = VERSION) -> ModelRecord:
    return ModelRecord(model_id="m1", tenant="alice", revision=revision, active=active)


def test_f16_an_older_record_never_overwrites_a_newer_one(hot: HotState) -> None:
    hot.put_token("sha", token(2, revoked=True))
    hot.put_token("sha", token(1))
    hot.put_model(model(5))
    hot.put_models([model(4, active=None), model(5, active=None)])
    assert (hot.token("sha"), hot.model("m1")) == (token(2, revoked=True), model(5))


@pytest.mark.parametrize("junk", [b"", b"junk", b"{}", b"[1]", b'{"revision": "x"}', b"\xff\xfe", b"null"])
def test_f07_a_corrupt_value_reads_as_a_miss_and_is_replaced(
    hot: HotState, raw_redis: Any, junk: bytes
) -> None:
    for key in ("mr:token:sha", "mr:model:m1", "mr:version:v1"):
        raw_redis.set(key, junk)
    raw_redis.hset("mr:hosts", "a", junk)
    raw_redis.hset("mr:hosts", "b", b"soon|" + junk)
    raw_redis.hset("mr:replicas:m1", junk, junk)
    assert (hot.token("sha"), hot.model("m1"), hot.version("v1")) == (None, None, None)
    assert (hot.hosts()[1], hot.replicas("m1")) == ((), ())
    hot.put_token("sha", token(1))
    hot.put_model(model(1))
    assert (hot.token("sha"), hot.model("m1")) == (token(1), model(1))


def test_a_host_learns_its_assignments_and_that_it_was_forgotten(hot: HotState, raw_redis: Any) -> None:
    assert not hot.beat(host("a")).known
    assign(hot, "a", ["v1", "v2"])
    assign(hot, "a", ["v2", "v3"])
    reply = hot.beat(host("a"))
    assert reply.known
    assert reply.assignments == frozenset({"v2", "v3"})
    raw_redis.flushall()
    assert not hot.beat(host("a")).known


def test_nothing_assigned_is_another_thing_than_nothing_known(hot: HotState, raw_redis: Any) -> None:
    assert hot.beat(host("a")).assignments is None
    assign(hot, "a", ["v1"])
    assign(hot, "a", [])
    assert hot.beat(host("a")).assignments == frozenset()
    raw_redis.flushall()
    assert hot.beat(host("a")).assignments is None


def test_f02_a_host_reminds_of_its_assignments_only_where_there_are_none(hot: HotState) -> None:
    hot.remind_of_assignments("a", ["v1", "v2"])
    assert hot.beat(host("a")).assignments == frozenset({"v1", "v2"})
    for assigned in (["v3"], []):
        assign(hot, "a", assigned)
        hot.remind_of_assignments("a", ["v1", "v2"])
        assert hot.beat(host("a")).assignments == frozenset(assigned)


def test_a_forgotten_host_leaves_nothing(hot: HotState, raw_redis: Any) -> None:
    hot.beat(host("a"))
    assign(hot, "a", ["v1"])
    hot.forget_host("a")
    assert raw_redis.keys("*") == [b"mr:coordinator"]


def test_replicas_of_a_model_come_and_go(hot: HotState) -> None:
    loading = Replica("a", "boot", ReplicaState.LOADING)
    hot.put_replicas([("m1", "v1", loading), ("m1", "v2", loading), ("m2", "v3", loading)])
    hot.put_replica("m1", "v1", Replica("a", "boot", ReplicaState.READY))
    hot.drop_replicas("m1", [("v2", "a")])
    hot.drop_replicas("m1", [])
    assert hot.replicas("m1") == (("v1", Replica("a", "boot", ReplicaState.READY)),)


def test_a_quarantine_is_seen_by_every_gateway_and_ends(hot: HotState, raw_redis: Any) -> None:
    hot.put_replica("m1", "v1", Replica("a", "boot", ReplicaState.READY))
    hot.quarantine("m1", "v1", seconds=60)
    assert hot.quarantined("m1") == {"v1"}
    assert len(hot.replicas("m1")) == 1
    hot.quarantine("m1", "v1", seconds=0)
    assert hot.quarantined("m1") == frozenset()
    raw_redis.hset("mr:replicas:m1", "v1/!", b"quarantined/soon")
    assert hot.quarantined("m1") == frozenset()


def test_all_quarantines_are_listed_while_they_last_the_latest_to_end_first(
    hot: HotState, raw_redis: Any
) -> None:
    raw_redis.set("mr:quarantined", "junk")
    for version_id, seconds in (("v1", 60), ("v2", 600), ("v3", 0), ("v4", 300)):
        hot.quarantine("m1", version_id, seconds=seconds)
    raw_redis.zadd("mr:quarantined", {"m1/forged": 1e300})
    found = hot.quarantines()
    assert [(one.model_id, one.version_id) for one in found] == [("m1", "v2"), ("m1", "v4"), ("m1", "v1")]
    assert found[0].until == pytest.approx(hot.hosts()[0] + 600, abs=30)
    hot.quarantine("m1", "v2", seconds=0)
    assert [one.version_id for one in hot.quarantines()] == ["v4", "v1"]


def test_one_job_per_version_and_one_taker_per_job(hot: HotState) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: hot.enqueue(JOB), range(8))) == 1
        taken = list(pool.map(lambda name: hot.take_job(f"host-{name}", wait_ms=50), range(8)))
    assert [claimed.job for claimed in taken if claimed] == [JOB]
    assert hot.stage("v1") is PrepareStage.QUEUED


def test_a_finished_job_hands_its_result_over(hot: HotState) -> None:
    hot.enqueue(JOB)
    claimed = hot.take_job("a", wait_ms=50)
    assert claimed
    hot.keep_job("a", claimed.entry_id, version_id="v1", stage=PrepareStage.OPTIMISING)
    assert hot.stage("v1") is PrepareStage.OPTIMISING
    result = PrepareResult("v1", "a", signature=SIGNATURE, passport=PASSPORT)
    hot.finish_job(claimed.entry_id, result)
    [(entry_id, found)] = hot.results(count=10)
    assert found == result
    assert not hot.enqueue(JOB), "while the result waits to be recorded nobody prepares it again"
    hot.drop_result(entry_id, version_id="v1")
    assert hot.results(count=10) == ()
    assert hot.enqueue(JOB)


def test_one_glance_shows_hosts_replicas_and_stages(hot: HotState, raw_redis: Any) -> None:
    hot.beat(host("a"))
    ready = Replica("a", "boot", ReplicaState.READY)
    hot.put_replicas([("m1", "v1", ready), ("m2", "v3", ready)])
    hot.quarantine("m1", "v9", seconds=60)
    hot.enqueue(JOB)
    seen = hot.glance(model_ids=["m1", "m3"], version_ids=["v1", "v2"])
    now, hosts = hot.hosts()
    assert seen.hosts == hosts
    assert seen.now == pytest.approx(now, abs=5)
    assert seen.replicas == {"m1": (("v1", ready),), "m3": ()}
    assert seen.quarantined == {"v9"}
    assert seen.stages == {"v1": PrepareStage.QUEUED}
    for key in ("mr:hosts", "mr:replicas:m1", "mr:prepare:v1"):
        raw_redis.delete(key)
        raw_redis.set(key, "junk")
    seen = hot.glance(model_ids=["m1"], version_ids=["v1"])
    assert (seen.hosts, seen.replicas, seen.stages) == ((), {"m1": ()}, {})


def test_f07_a_glance_at_a_redis_that_is_busy_is_a_retryable_error(hot: HotState, raw_redis: Any) -> None:
    allowed = raw_redis.config_get("busy-reply-threshold")
    raw_redis.config_set("busy-reply-threshold", 1)
    try:
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(raw_redis.eval, "while true do end", 0)
            try:
                wait_for(lambda: _is_busy(raw_redis), what="the script to be in the way")
                with pytest.raises(DependencyFailed):
                    hot.glance(model_ids=["m1"], version_ids=["v1"])
            finally:
                raw_redis.script_kill()
            with pytest.raises(redis.ResponseError):
                stuck.result()
    finally:
        raw_redis.config_set("busy-reply-threshold", allowed["busy-reply-threshold"])


def _is_busy(raw_redis: Any) -> bool:
    try:
        raw_redis.ping()
    except redis.ResponseError:
        return True
    return False


def test_a_dead_hosts_job_goes_to_another(hot: HotState, monkeypatch: pytest.MonkeyPatch) -> None:
    hot.enqueue(JOB)
    first = hot.take_job("dies", wait_ms=50)
    assert first
    assert first.deliveries == 1
    assert hot.take_job("lives", wait_ms=50) is None
    monkeypatch.setattr(limits, "PREPARE_CLAIM_SECONDS", 0.0)
    second = hot.take_job("lives", wait_ms=50)
    assert second
    assert (second.job, second.entry_id, second.deliveries) == (JOB, first.entry_id, 2)


def test_a_job_that_does_not_decode_is_dropped(hot: HotState, raw_redis: Any) -> None:
    raw_redis.xadd("mr:prepare", {"job": b"junk"})
    raw_redis.xadd("mr:prepare", {"other": b"junk"})
    assert hot.take_job("a", wait_ms=50) is None
    assert hot.take_job("a", wait_ms=50) is None
    assert raw_redis.xlen("mr:prepare") == 0


def test_f02_scripts_survive_a_flush_and_a_script_flush(hot: HotState, raw_redis: Any) -> None:
    hot.beat(host("a"))
    raw_redis.flushall()
    raw_redis.script_flush()
    assert not hot.beat(host("a")).known
    hot.put_models([model(1)])
    assert hot.model("m1") == model(1)


def test_f01_a_redis_that_is_away_is_a_retryable_error() -> None:
    away = HotState.connect("redis://127.0.0.1:9/0", timeout_seconds=0.2)
    with pytest.raises(DependencyFailed) as raised:
        away.model("m1")
    assert raised.value.retryable


def server_time(raw_redis: Any) -> float:
    seconds, micros = raw_redis.time()
    return float(seconds + micros / 1e6)


def test_a_hosts_door_sees_a_credential_and_a_model_in_one_look(hot: HotState, raw_redis: Any) -> None:
    [view] = hot.credentials([("sha", "m1")])
    assert (view.token, view.model, view.projected) == (None, None, False)
    hot.put_token("sha", token(1))
    hot.put_model(model(1))
    hot.end_projection(hot.begin_projection(), tokens_until=UNTIL, models_until=UNTIL)
    [view] = hot.credentials([("sha", "m1")])
    assert (view.token, view.model, view.projected) == (token(1), model(1), True)
    assert view.now == pytest.approx(server_time(raw_redis), abs=60)


def test_a_projection_that_lost_something_is_not_complete(hot: HotState, raw_redis: Any) -> None:
    began = hot.begin_projection()
    raw_redis.flushall()
    hot.end_projection(began, tokens_until=UNTIL, models_until=UNTIL)
    assert not hot.credentials([("sha", "m1")])[0].projected
    assert hot.begin_projection().tokens_until is None
    first, second = hot.begin_projection(), hot.begin_projection()
    hot.end_projection(first, tokens_until=UNTIL, models_until=UNTIL)
    assert not hot.credentials([("sha", "m1")])[0].projected
    hot.end_projection(second, tokens_until=UNTIL, models_until=UNTIL)
    assert hot.credentials([("sha", "m1")])[0].projected
    assert hot.begin_projection().tokens_until == UNTIL
    raw_redis.flushall()
    assert not hot.credentials([("sha", "m1")])[0].projected


def test_a_route_brings_both_versions_it_speaks_of(hot: HotState) -> None:
    second = msgspec.structs.replace(VERSION, version_id="v2", number=2)
    candidate = CandidateRecord(second, percent=10, mirror_percent=5, trial=7, drift_tolerance=0.1)
    hot.put_model(msgspec.structs.replace(model(1), candidate=candidate))
    shown = hot.model("m1")
    assert shown
    assert shown.candidate == candidate
    assert (hot.version("v1"), hot.version("v2")) == (VERSION, second)


def test_what_hosts_saw_of_a_trial_adds_up(hot: HotState, raw_redis: Any) -> None:
    seen = {"v1": Counts(requests=9, run_us=900), "v2": Counts(requests=1, errors=1, mirrored=1, differing=1)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: hot.count_rollout("m1", 7, seen), range(4)))
    assert hot.rollout("m1", 7) == {
        "v1": Counts(requests=36, run_us=3600),
        "v2": Counts(requests=4, errors=4, mirrored=4, differing=4),
    }
    assert hot.rollout("m1", 8) == {}, "another split is another trial"
    assert 0 < raw_redis.ttl("mr:rollout:m1:7") <= limits.ROLLOUT_COUNTS_SECONDS


@pytest.mark.parametrize(
    ("field", "value"), [("v1/requests", b"many"), ("v1/unknown", b"1"), ("v1", b"1"), (b"\xff", b"\xff")]
)
def test_a_corrupt_counter_reads_as_none(hot: HotState, raw_redis: Any, field: Any, value: bytes) -> None:
    raw_redis.hset("mr:rollout:m1:7", field, value)
    assert hot.rollout("m1", 7) == {}


def test_dropped_versions_are_heard_of_once_and_after_a_flush_again(hot: HotState, raw_redis: Any) -> None:
    hot.drop_versions(["v1", "v2"])
    first = hot.dropped_since(0)
    assert first.version_ids == {"v1", "v2"}
    hot.drop_versions(["v1", "v2"])
    assert hot.dropped_since(first.now).version_ids == frozenset()
    hot.drop_versions(["v3"])
    assert hot.dropped_since(first.now).version_ids == {"v3"}
    raw_redis.flushall()
    hot.drop_versions(["v1"])
    assert hot.dropped_since(first.now).version_ids == {"v1"}
    hot.forget_versions(["v1"])
    assert hot.dropped_since(0).version_ids == frozenset()


def test_a_dropped_version_is_assigned_to_nobody(hot: HotState) -> None:
    hot.beat(host("a"))
    assign(hot, "a", ["v1", "v2"])
    hot.drop_versions(["v1"])
    hot.drop_versions([])
    assert hot.beat(host("a")).assignments == frozenset({"v2"})


def test_a_version_to_be_warmed_is_assigned_beside_the_others(hot: HotState) -> None:
    hot.beat(host("a"))
    assign(hot, "a", ["v1"])
    hot.assign_too(["a", "b"], ["v2"])
    assert hot.beat(host("a")).assignments == frozenset({"v1", "v2"})
    assert hot.beat(host("b")).assignments == frozenset({"v2"})


def test_the_quarantined_versions_of_a_model(hot: HotState) -> None:
    hot.quarantine("m1", "v1", seconds=60)
    hot.quarantine("m1", "v2", seconds=0)
    assert hot.quarantined("m1") == {"v1"}


def test_a_forgotten_model_leaves_nothing(hot: HotState, raw_redis: Any) -> None:
    hot.put_model(model(1))
    hot.put_replica("m1", "v1", Replica("a", "boot", ReplicaState.READY))
    hot.forget_model("m1")
    hot.forget_versions(["v1"])
    assert raw_redis.keys("*") == []
