"""Who coordinates, and what one that does not know that it is over may do: nothing, in either store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.adapters.mongo import coordination as mongo
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, StaleEpoch
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Replica, ReplicaState
from chalicelib.coordinator.planner import Assign, ForgetHost, Policy, Reason, SetCapacity
from chalicelib.ports import Standing
from chalicelib.records import Decision
from infra.local.embedded import EmbeddedServers
from tests.support.coordinating import assign, take_over
from tests.support.stores import new_database
from tests.support.waiting import wait_for
from tests.unit.test_choice import host

AT = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return store


def decision(number: int, *, epoch: int = 1, **said: Any) -> Decision:
    told: dict[str, Any] = {
        "at": AT + timedelta(seconds=number),
        "changed": True,
        "actions": (Assign("a", ("v1",)), SetCapacity(2, ("b",)), ForgetHost("c", "boot")),
        "reasons": (Reason("fleet", "because"), Reason("m1", "so there")),
        "whole": True,
        "policy": Policy(),
        "entry": b"\x00whole",
    }
    return Decision(id=number, epoch=epoch, **(told | said))


def shown(one: Decision) -> Decision:
    return msgspec.structs.replace(one, entry=b"")


# The lease, in the hot state.


def test_one_coordinator_at_a_time_has_the_lease(hot: HotState) -> None:
    assert hot.take_lease("first").mine
    assert hot.take_lease("first").mine, "whoever has it renews it"
    refused = hot.take_lease("second")
    assert (refused.mine, refused.holder) == (False, "first")
    hot.release_lease("second")
    assert not hot.take_lease("second").mine, "nobody gives back what is another's"
    hot.release_lease("first")
    assert hot.take_lease("second").mine


def test_a_lease_runs_out(hot: HotState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COORDINATOR_LEASE_SECONDS", 0.05)
    assert hot.take_lease("first").mine
    wait_for(lambda: hot.take_lease("second").mine, what="the lease to run out")


@pytest.mark.parametrize("junk", [{"until": "soon"}, {"until": "9e99"}, {"until": ""}])
def test_f07_a_lease_that_makes_no_sense_is_none(hot: HotState, raw_redis: Any, junk: dict[str, str]) -> None:
    raw_redis.hset("mr:coordinator", mapping={"holder": "first", **junk})
    assert hot.take_lease("second").mine


def test_f07_what_is_no_lease_at_all_is_replaced(hot: HotState, raw_redis: Any) -> None:
    raw_redis.set("mr:coordinator", "junk")
    assert take_over(hot) == 1


@pytest.mark.parametrize("junk", ["9" * 25, "1e300", "soon", "-1"])
def test_f07_an_epoch_that_nobody_can_have_had_is_none(hot: HotState, raw_redis: Any, junk: str) -> None:
    raw_redis.hset("mr:coordinator", "epoch", junk)
    assert hot.take_lease("test").epoch == 0
    hot.raise_epoch(1, holder="test")
    assert hot.take_lease("test").epoch == 1


def test_the_epoch_that_stands_never_goes_back(hot: HotState) -> None:
    take_over(hot, epoch=10)
    with pytest.raises(StaleEpoch):
        hot.raise_epoch(9, holder="test")
    assert hot.take_lease("test").epoch == 10
    hot.release_lease("test")
    assert hot.take_lease("next").epoch == 10, "it outlives the lease"
    with pytest.raises(StaleEpoch):
        hot.raise_epoch(11, holder="test")


WRITES: dict[str, Callable[[HotState, int], object]] = {
    "assign": lambda hot, epoch: hot.assign("a", ["v9"], epoch=epoch),
    "forget": lambda hot, epoch: hot.forget_silent_host("a", silent_seconds=0, epoch=epoch),
    "memory": lambda hot, epoch: hot.put_memory(b"memory", epoch=epoch),
    "replicas": lambda hot, epoch: hot.drop_replicas_of_gone("m1", [("v1", "gone")], epoch=epoch),
    "capacity": lambda hot, epoch: hot.publish_capacity(9, (), epoch=epoch),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("stands", [None, 3, 5])
def test_f48_a_write_under_another_epoch_changes_nothing(
    hot: HotState, raw_redis: Any, stands: int | None, write: Callable[[HotState, int], object]
) -> None:
    hot.beat(host("a"))
    assign(hot, "a", ["v1"])
    hot.put_replica("m1", "v1", Replica("gone", "boot", ReplicaState.READY))
    raw_redis.delete("mr:coordinator")
    if stands:
        take_over(hot, epoch=stands)
    before = {key: raw_redis.dump(key) for key in raw_redis.keys("*")}
    with pytest.raises(StaleEpoch):
        write(hot, 4)
    assert {key: raw_redis.dump(key) for key in raw_redis.keys("*")} == before
    raw_redis.delete("mr:coordinator")
    take_over(hot, epoch=4)
    write(hot, 4)
    assert {key: raw_redis.dump(key) for key in raw_redis.keys("*")} != before


def test_a_host_that_has_left_meanwhile_leaves_no_assignments(hot: HotState, raw_redis: Any) -> None:
    hot.beat(host("a"))
    hot.forget_host("a")
    assign(hot, "a", ["v1"])
    assert raw_redis.keys("mr:assignments:*") == []


def test_a_host_with_many_versions_is_assigned_all_of_them(hot: HotState) -> None:
    hot.beat(host("a"))
    many = [f"v{number}" for number in range(2_500)]
    assign(hot, "a", many)
    assert hot.assignments(["a", "b"]) == {"a": tuple(sorted(many)), "b": ()}
    assign(hot, "a", [])
    assert hot.assignments(["a"]) == {"a": ()}


def test_a_host_that_was_heard_of_meanwhile_is_not_forgotten(hot: HotState, raw_redis: Any) -> None:
    hot.beat(host("a"))
    epoch = take_over(hot)
    assert not hot.forget_silent_host("a", silent_seconds=15, epoch=epoch)
    assert [one.host_id for one in hot.hosts()[1]] == ["a"]
    raw_redis.hset("mr:hosts", "b", b"1.0|junk")
    raw_redis.hset("mr:hosts", "c", b"junk")
    for silent in ("b", "c"):
        assert hot.forget_silent_host(silent, silent_seconds=15, epoch=epoch)
    assert raw_redis.hkeys("mr:hosts") == [b"a"]


def test_only_replicas_of_hosts_that_are_gone_are_dropped(hot: HotState) -> None:
    hot.beat(host("a"))
    replicas = [Replica(name, "boot", ReplicaState.READY) for name in ("a", "gone")]
    hot.put_replicas([("m1", "v1", replica) for replica in replicas])
    hot.quarantine("m1", "v1", seconds=60)
    pairs = [("v1", "a"), ("v1", "gone"), ("v1", "!")]
    hot.drop_replicas_of_gone("m1", pairs, epoch=take_over(hot))
    assert hot.replicas_of(["m1", "m2"]) == {"m1": (("v1", replicas[0]),), "m2": ()}
    assert hot.quarantined("m1") == {"v1"}


# Epochs and decisions, in the truth.


def test_epochs_only_grow_also_above_what_the_hot_state_has_seen(store: MongoStore) -> None:
    assert store.standing() == Standing()
    assert [store.next_epoch("a"), store.next_epoch("b")] == [1, 2]
    assert store.next_epoch("a", above=41) == 42, "the truth was put back to an earlier day"
    assert store.standing() == Standing(epoch=42)


def test_f48_no_two_coordinators_get_the_same_epoch(store: MongoStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(lambda number: store.next_epoch(f"c{number}"), range(8)))
    assert sorted(epochs) == list(range(1, 9))


def test_decisions_are_read_newest_first(store: MongoStore) -> None:
    epoch = store.next_epoch("a")
    first, quiet, third = (
        decision(1, epoch=epoch),
        decision(2, epoch=epoch, changed=False, reasons=(Reason("m2", "still"),), policy=None, whole=False),
        decision(3, epoch=epoch, actions=()),
    )
    for one in (first, quiet, third):
        store.record_decision(one)
    assert store.standing() == Standing(epoch, 3)
    assert store.decisions(before=None, limit=9) == (shown(third), shown(first))
    assert store.decisions(before=3, limit=9) == (shown(first),)
    assert store.decisions(before=None, limit=1, changes_only=False) == (shown(third),)
    assert store.decisions(before=None, limit=9, subject="m2", changes_only=False) == (shown(quiet),)
    assert store.decisions(before=None, limit=9, subject="m1") == (shown(third), shown(first))


@pytest.mark.parametrize("stale", [decision(2, epoch=1), decision(3, epoch=2), decision(1, epoch=2)])
def test_f48_a_decision_of_a_coordinator_that_is_over_is_refused(store: MongoStore, stale: Decision) -> None:
    """Its epoch, or what it takes to be the last decision, is not what stands."""
    store.next_epoch("a")
    store.record_decision(decision(1, epoch=1))
    store.next_epoch("b")
    with pytest.raises(StaleEpoch):
        store.record_decision(stale)
    assert store.standing() == Standing(2, 1)
    assert store.decisions(before=None, limit=9) == (shown(decision(1, epoch=1)),)


def test_the_journal_begins_with_the_last_whole_entry_before(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo, "_PAGE", 2)
    monkeypatch.setattr(mongo, "_PART_BYTES", 4)
    store.next_epoch("a")
    whole = {1, 4, 7}
    written = [
        decision(number, whole=number in whole, entry=bytes(range(number + 2))) for number in range(1, 9)
    ]
    for one in written:
        store.record_decision(one)

    def journal(since: int, until: int) -> list[Decision]:
        return list(store.journal(AT + timedelta(seconds=since), AT + timedelta(seconds=until)))

    assert journal(5, 8) == written[3:]
    assert journal(4, 6) == written[3:6]
    assert journal(-9, 3) == written[:3]
    assert journal(20, 30) == written[6:][:2]
    store._decisions.delete_many({"_id": {"$lt": 3}})  # their time was over
    assert journal(2, 8) == written[3:]


@pytest.mark.parametrize("field", ["said", "policy", "at"])
def test_f54_what_another_release_wrote_is_left_out(store: MongoStore, field: str) -> None:
    store.next_epoch("a")
    store.record_decision(decision(1))
    store.record_decision(decision(2))
    change: dict[str, Any] = {"$unset": {"at": 1}} if field == "at" else {"$set": {field: b'{"x": 1}'}}
    store._decisions.update_one({"_id": 2}, change)
    assert [one.id for one in store.decisions(before=None, limit=9)] == [1]


def test_f12_a_truth_that_is_away_is_a_dependency_that_failed() -> None:
    away = MongoStore("mongodb://127.0.0.1:9/", database="none")
    with pytest.raises(DependencyFailed):
        away.standing()
    with pytest.raises(DependencyFailed):
        away.next_epoch("a")
