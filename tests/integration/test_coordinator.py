"""What the coordinator sees, keeps of it, and tells whom, over the real stores; the hosts are played."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from chalicelib import fleetviews, wiring
from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, InvalidRequest, NotFound
from chalicelib.contract.hotstate import CapacityStatus
from chalicelib.contract.messages import ModelRecord, Replica, ReplicaState
from chalicelib.coordinator.planner import Assign, Policy, plan
from chalicelib.decisions import Tick, ticks
from chalicelib.models import Pin
from chalicelib.reconciler import Loop
from chalicelib.records import Decision, Version
from chalicelib.wiring import ControlPlane
from tests.support.coordinating import beating, coordinator, silence, tell
from tests.support.uploads import deployed, uploaded

DATA = b"model bytes" * 100
FROM_ZERO = msgspec.json.decode(b'{"scaling": {"hosts_min": 0}}', type=Policy)
HASTY = msgspec.json.decode(b'{"placement": {"changes_min": 100}}', type=Policy)


def decided(plane: ControlPlane) -> Decision:
    decision = plane.reconciler.tick()
    assert decision is not None
    return decision


def states(plane: ControlPlane) -> list[Tick]:
    now = datetime.now(UTC)
    return list(ticks(plane.store.journal(now - timedelta(days=1), now + timedelta(days=1))))


def assigned(plane: ControlPlane, *host_ids: str) -> list[set[str]]:
    found = plane.hot.assignments(host_ids)
    return [set(found[host_id]) for host_id in host_ids]


# What is recorded.


def test_every_tick_can_be_replayed_as_it_was(plane: ControlPlane, alice: Principal) -> None:
    versions = [deployed(plane, alice, DATA + b"%d" % n, name=f"model-{n}") for n in range(3)]
    made = []
    for number in range(1, 5):
        for host_id in "ab"[:number]:
            tell(plane.hot, host_id, {versions[0].id: (4, 1.5)}, number=number)
        made.append(decided(plane))
    replayed = states(plane)
    assert [one.decision.id for one in replayed] == [1, 2, 3, 4]
    assert [one.decision.whole for one in replayed] == [True, False, False, False]
    for before, one in zip(made, replayed, strict=True):
        again = plan(one.state, one.policy)
        assert (again.actions, again.reasons) == (before.actions, before.reasons)
    asked = next(view for view in replayed[-1].state.models if view.demand)
    assert asked.active.version_id == versions[0].id
    assert asked.demand is not None
    assert (asked.demand.requests_per_second, asked.demand.concurrency) == (4.0, 1.5)


def test_the_journal_goes_on_where_a_tick_could_not_be_recorded(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Decision) -> None:
        raise DependencyFailed("away")

    plane.hot.beat(beating("a"))
    decided(plane)
    with monkeypatch.context() as patch:
        patch.setattr(plane.store, "record_decision", away)
        with pytest.raises(DependencyFailed):
            plane.reconciler.tick()
    decided(plane)
    decided(plane)
    assert [one.decision.whole for one in states(plane)] == [True, True, False]


def test_another_coordinator_begins_with_all_it_sees(plane: ControlPlane) -> None:
    plane.hot.beat(beating("a"))
    for holder in ("one", "other"):
        decision = coordinator(plane, holder).tick()
        assert decision is not None
        assert decision.whole
    assert [one.decision.epoch for one in states(plane)] == [1, 2]


def test_a_step_that_fails_does_not_keep_the_fleet_from_being_placed(
    plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = deployed(plane, alice, DATA)
    plane.hot.beat(beating("a"))

    def away(_: str) -> int:
        raise DependencyFailed("away")

    monkeypatch.setattr(plane.deletion, "reap", away)
    with pytest.raises(DependencyFailed):
        plane.reconciler.tick()
    assert assigned(plane, "a") == [{version.id}]


def test_an_action_that_fails_does_not_stop_the_others(
    plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = deployed(plane, alice, DATA)
    for host_id in "ab":
        plane.hot.beat(beating(host_id))
    assign = plane.hot.assign

    def away_for_a(host_id: str, version_ids: Iterable[str], *, epoch: int) -> None:
        if host_id == "a":
            raise DependencyFailed("away")
        assign(host_id, version_ids, epoch=epoch)

    with monkeypatch.context() as patch:
        patch.setattr(plane.hot, "assign", away_for_a)
        decided(plane)
    assert assigned(plane, "a", "b") == [set(), {version.id}]
    decided(plane)
    assert assigned(plane, "a", "b")[1] == {version.id}


def test_a_coordinator_that_is_woken_does_not_wait_for_its_next_tick(plane: ControlPlane) -> None:
    """Else this would take ten minutes."""
    times = iter((0.0, 0.0, 1000.0))
    loop = Loop(
        tick_seconds=600,
        loop_seconds=700,
        monotonic=lambda: next(times),
        wait=lambda seconds: wiring._wait(plane.hot, seconds),
    )
    plane.hot.wake()
    assert coordinator(plane, "woken", loop=loop).run() == 2
    assert [one.decision.id for one in states(plane)] == [1, 2]
    assert plane.hot.take_lease("next").mine, "an invocation that is over gives the lease back"


def test_while_it_is_anothers_turn_nobody_takes_the_wake_up_from_it(plane: ControlPlane) -> None:
    assert plane.hot.take_lease("the other").mine
    times, slept = iter((0.0, 0.0, 1000.0)), list[float]()
    loop = Loop(
        tick_seconds=600,
        loop_seconds=700,
        monotonic=lambda: next(times),
        wait=lambda seconds: wiring._wait(plane.hot, seconds),
        sleep=slept.append,
    )
    plane.hot.wake()
    assert coordinator(plane, "standing by", loop=loop).run() == 2
    assert slept == [600]
    assert plane.hot.wait_for_wake(0.1), "it is still there for the other"


def test_a_coordinator_that_has_much_to_read_keeps_its_lease(
    plane: ControlPlane, alice: Principal, raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        deployed(plane, alice, DATA + b"%d" % number, name=f"model-{number}")
    monkeypatch.setattr(limits, "PROJECTION_PAGE", 1)
    put_models, left = plane.hot.put_models, []

    def slow(models: Iterable[ModelRecord]) -> None:
        now = raw_redis.time()[0]
        left.append(float(raw_redis.hget("mr:coordinator", "until")) - now)
        raw_redis.hset("mr:coordinator", "until", f"{now + 2}.0")
        put_models(models)

    monkeypatch.setattr(plane.hot, "put_models", slow)
    decided(plane)
    assert len(left) == 3
    assert min(left) > limits.COORDINATOR_LEASE_SECONDS - 2


# What is seen.


def test_s9_a_request_that_found_no_host_brings_one_and_no_more(
    plane: ControlPlane, alice: Principal
) -> None:
    version = deployed(plane, alice, DATA)
    decider = coordinator(plane, "c", capacity=LocalCapacity(plane.hot), policy=FROM_ZERO)
    plane.hot.put_capacity_status(CapacityStatus())
    decider.tick()
    plane.hot.count_unmet(version.model_id)
    for number in range(1, 4):
        decider.tick()
        wish = plane.hot.capacity_wish()
        assert wish is not None and wish.hosts == 1
        plane.hot.put_capacity_status(CapacityStatus(running=("host-1",)))
        tell(plane.hot, "host-1", {}, number=number)


def test_hosts_that_say_nothing_are_not_idle(plane: ControlPlane, alice: Principal, raw_redis: Any) -> None:
    version = deployed(plane, alice, DATA)
    plane.hot.beat(beating("a"))
    decided(plane)
    tell(plane.hot, "a", {version.id: (1, 0.1)})
    decided(plane)
    raw_redis.flushall()
    decided(plane)
    assert [one.state.demand_known for one in states(plane)] == [False, True, False]
    assert all(one.state.samples == () for one in states(plane) if not one.state.demand_known)


def test_a_host_that_died_is_forgotten_with_its_replicas(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    version = deployed(plane, alice, DATA)
    for host_id in ("live", "dead"):
        plane.hot.beat(beating(host_id))
    decided(plane)
    for host_id in ("live", "dead", "long gone"):
        plane.hot.put_replica(version.model_id, version.id, Replica(host_id, "boot", ReplicaState.READY))
    silence(raw_redis, "dead")
    decided(plane)
    assert [one.host_id for one in plane.hot.hosts()[1]] == ["live"]
    assert [there.host_id for _, there in plane.hot.replicas(version.model_id)] == ["live"]


# What models there are.


class Told:
    """The models that passes wrote into the hot state."""

    def __init__(self, plane: ControlPlane, patch: pytest.MonkeyPatch) -> None:
        self.ids: list[str] = []
        put_models = plane.hot.put_models

        def noted(records: Iterable[ModelRecord]) -> None:
            records = list(records)
            self.ids += [record.model_id for record in records]
            put_models(records)

        patch.setattr(plane.hot, "put_models", noted)


@pytest.fixture
def models(plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """They were made long ago."""
    first = deployed(plane, alice, DATA, name="model-0")
    model = plane.store._models.find_one({"_id": first.model_id}) or {}
    old = plane.store.clock().replace(year=2020)
    plane.store._models.update_many({}, {"$set": {"changed_at": old}})
    for number in range(1, 12):
        copy = {**model, "_id": f"00000000-0000-4000-8000-0000000000{number:02}", "name": f"model-{number}"}
        plane.store._models.insert_one({**copy, "changed_at": old})
    monkeypatch.setattr(limits, "PROJECTION_PAGE", 5)
    return [first]


def test_f17_a_pass_reads_what_changed_and_one_page_of_the_rest(
    plane: ControlPlane, alice: Principal, models: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(plane, monkeypatch)
    decided(plane)
    assert len(set(told.ids)) == 12, "everything the first time"
    for _ in range(4):
        told.ids.clear()
        decided(plane)
        assert len(told.ids) <= limits.PROJECTION_PAGE
    told.ids.clear()
    plane.models.pin(alice, models[0].model_id, Pin(True))
    decided(plane)
    assert models[0].model_id in told.ids
    assert len(told.ids) <= 1 + limits.PROJECTION_PAGE
    [pinned] = [view for view in states(plane)[-1].state.models if view.pinned]
    assert pinned.model_id == models[0].model_id


def test_f02_a_hot_state_that_lost_its_mark_gets_every_model(
    plane: ControlPlane, models: list[Version], raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(plane)
    told = Told(plane, monkeypatch)
    for lose in (
        raw_redis.flushall,
        lambda: raw_redis.delete("mr:projected:models"),
        lambda: raw_redis.set("mr:projected:models", "nonsense"),
    ):
        lose()
        told.ids.clear()
        decided(plane)
        assert len(set(told.ids)) == 12


def test_f07_a_route_that_the_hot_state_lost_by_itself_comes_back(
    plane: ControlPlane, models: list[Version], raw_redis: Any
) -> None:
    decided(plane)
    raw_redis.delete(f"mr:model:{models[0].model_id}")
    for _ in range(4):  # 12 models, 5 at a time, and around
        decided(plane)
    assert plane.hot.model(models[0].model_id) is not None


def test_what_is_gone_from_the_truth_goes_also_where_nobody_told(
    plane: ControlPlane, alice: Principal, models: list[Version]
) -> None:
    plane.hot.beat(beating("a"))
    decided(plane)
    assert len(states(plane)[-1].state.models) == 12
    plane.deletion.delete_model(alice, models[0].model_id)
    plane.store._models.delete_one({"name": "model-7"})
    for _ in range(4):
        decided(plane)
    assert len(states(plane)[-1].state.models) == 10


def test_a_model_is_new_for_a_while(plane: ControlPlane, alice: Principal) -> None:
    version = deployed(plane, alice, DATA)
    decided(plane)
    assert states(plane)[-1].state.models[0].new
    long_ago = datetime.now(UTC) - timedelta(seconds=limits.MODEL_NEW_SECONDS + 1)
    plane.store._versions.update_one({"_id": version.id}, {"$set": {"created_at": long_ago}})
    decided(plane)
    assert not states(plane)[-1].state.models[0].new


# What is told, and to whom.


@pytest.fixture
def shared(plane: ControlPlane, alice: Principal, mallory: Principal) -> dict[str, Version]:
    """Two models of Alice's and one of Mallory's on two hosts."""
    owners = {"mine": alice, "mine too": alice, "hers": mallory}
    made = {name: deployed(plane, who, DATA + name.encode(), name=name) for name, who in owners.items()}
    for host_id in "ab":
        plane.hot.beat(beating(host_id))
    coordinator(plane, "hasty", policy=HASTY).tick()
    assert assigned(plane, "a", "b") == [{version.id for version in made.values()}] * 2
    return made


def test_an_operator_sees_the_fleet_and_why_it_is_so(plane: ControlPlane, shared: dict[str, Version]) -> None:
    shown = plane.fleet.show()
    assert [(one.beat.host_id, one.assigned, one.leaving) for one in shown.hosts] == [
        ("a", 3, False),
        ("b", 3, False),
    ]
    assert shown.last is not None
    assert [reason.subject for reason in shown.last.reasons].count("fleet") == 1
    explained = plane.fleet.decisions(before=None, limit=10)
    said = " ".join(reason.text for some in explained.reasons.values() for reason in some)
    assert all(name in said for name in shared)
    assert not any(version.model_id in said for version in shared.values())


def test_an_operator_sees_what_waits_for_a_host_and_who_decided_when(
    plane: ControlPlane, alice: Principal
) -> None:
    uploaded(plane, alice, DATA)
    decision = decided(plane)
    told = fleetviews.shown(plane.fleet.show(), ())
    assert (told.jobs_unfinished, told.epoch, told.decided_at) == (1, decision.epoch, decision.at)


def test_an_owner_is_told_of_the_own_model_and_nothing_of_others(
    plane: ControlPlane, alice: Principal, shared: dict[str, Version]
) -> None:
    mine, hers = shared["mine"], shared["hers"]
    explained = plane.fleet.decisions_of(alice, mine.model_id, before=None, limit=10)
    [reasons] = explained.reasons.values()
    assert reasons
    assert {reason.subject for reason in reasons} == {mine.model_id}
    assert not any(hers.model_id in reason.text or "hers" in reason.text for reason in reasons)
    assert plane.fleet.hosts_of(alice, mine.model_id) == ("a", "b")


def test_an_owner_is_not_told_the_id_of_a_model_that_a_reason_speaks_of(
    plane: ControlPlane, alice: Principal, shared: dict[str, Version]
) -> None:
    mine, hers = shared["mine"], shared["hers"]
    [decision] = plane.store.decisions(before=None, limit=1)
    text = f"Model {mine.model_id} makes room for {hers.model_id}, beside {shared['mine too'].model_id}."
    reason = msgspec.structs.replace(decision.reasons[0], subject=mine.model_id, text=text)
    plane.store.record_decision(
        msgspec.structs.replace(decision, id=decision.id + 1, reasons=(reason,), entry=b"")
    )
    explained = plane.fleet.decisions_of(alice, mine.model_id, before=None, limit=1)
    [[told]] = explained.reasons.values()
    assert told.text == "Model mine makes room for another model, beside mine too."
    assert explained.names.keys().isdisjoint({hers.model_id})


def test_a_blast_radius_names_ones_own_models_and_counts_others(
    plane: ControlPlane, alice: Principal, mallory: Principal, shared: dict[str, Version]
) -> None:
    radius = plane.fleet.blast_radius(alice, shared["mine"].model_id)
    assert (radius.hosts, radius.own, radius.others) == (("a", "b"), {2: ("mine too",)}, {2: 1})
    plane.hot.assign("b", [shared["mine"].id], epoch=plane.store.standing().epoch)
    radius = plane.fleet.blast_radius(alice, shared["mine"].model_id)
    assert (radius.own, radius.others) == ({1: ("mine too",)}, {1: 1})
    assert plane.fleet.blast_radius(mallory, shared["hers"].model_id).own == {}


def test_nobody_is_told_anything_of_anothers_model(
    plane: ControlPlane, mallory: Principal, shared: dict[str, Version]
) -> None:
    model_id = shared["mine"].model_id
    for ask in (
        lambda: plane.fleet.blast_radius(mallory, model_id),
        lambda: plane.fleet.decisions_of(mallory, model_id, before=None, limit=1),
        lambda: plane.fleet.hosts_of(mallory, model_id),
        lambda: plane.models.pin(mallory, model_id, Pin(True)),
    ):
        with pytest.raises(NotFound):
            ask()


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_page_of_decisions_has_a_limit(plane: ControlPlane, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        plane.fleet.decisions(before=None, limit=limit)


def test_pinning_twice_changes_once(plane: ControlPlane, alice: Principal) -> None:
    model_id = deployed(plane, alice, DATA).model_id
    assert plane.models.pin(alice, model_id, Pin(True)) == plane.models.pin(alice, model_id, Pin(True))
    assert plane.models.get(alice, model_id).pinned
    assert not plane.models.pin(alice, model_id, Pin(False)).pinned


def test_a_settled_fleet_is_left_alone(plane: ControlPlane, shared: dict[str, Version]) -> None:
    decision = decided(plane)
    assert [action for action in decision.actions if isinstance(action, Assign)] == []
    assert not decided(plane).changed
