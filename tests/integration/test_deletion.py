"""How models and versions go, over the real stores."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, NotFound, Unauthenticated
from chalicelib.contract.inference import authorised
from chalicelib.keys import NewKey
from chalicelib.records import Version
from chalicelib.traffic import ChangeTraffic, RollBack
from chalicelib.wiring import ControlPlane
from tests.integration.test_traffic import waiting, warm
from tests.support.uploads import announce, deployed, prepared, send, uploaded
from tests.unit.test_choice import host

DATA = b"model bytes" * 100


def pass_time(plane: ControlPlane, **more: float) -> None:
    later = plane.deletion._now() + timedelta(**more)
    plane.deletion._now = lambda: later


def past_retention(plane: ControlPlane) -> None:
    pass_time(plane, seconds=limits.RETENTION_SECONDS + 1)


def bytes_are_there(plane: ControlPlane, version: Version) -> bool:
    return plane.objects.stored(version.object_key) is not None


def test_f61_a_deleted_model_is_gone_for_callers_and_its_owner_at_once(
    plane: ControlPlane, alice: Principal
) -> None:
    version = deployed(plane, alice, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=version.model_id))
    plane.hot.beat(host("a"))
    plane.reconciler.tick()
    plane.deletion.delete_model(alice, version.model_id)
    [view] = plane.hot.credentials([(issued.token.sha256, version.model_id)])
    assert view.model and view.model.deleted
    assert view.token and view.token.revoked
    with pytest.raises(NotFound):
        authorised(view.token, view.model, now=view.now)
    assert plane.models.list(alice, after="") == ()
    assert plane.hot.dropped_since(0).version_ids == {version.id}
    assert not plane.hot.beat(host("a")).assignments
    for call in (
        lambda: plane.models.get(alice, version.model_id),
        lambda: plane.models.version(alice, version.model_id, 1),
        lambda: plane.uploads.complete(alice, version.model_id, 1),
        lambda: plane.keys.create(alice, NewKey(model_id=version.model_id)),
        lambda: plane.traffic.roll_back(alice, version.model_id, RollBack()),
        lambda: plane.deletion.delete_model(alice, version.model_id),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_token_revoked_by_itself_is_not_valid_and_says_nothing_of_models(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    mine, other = deployed(plane, alice, DATA), deployed(plane, mallory, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=mine.model_id))
    plane.deletion.delete_model(alice, mine.model_id)
    plane.deletion.delete_model(mallory, other.model_id)
    [view] = plane.hot.credentials([(issued.token.sha256, other.model_id)])
    with pytest.raises(Unauthenticated):
        authorised(view.token, view.model, now=view.now)


def test_f62_the_name_is_free_for_another_model_with_another_id(
    plane: ControlPlane, alice: Principal
) -> None:
    first = deployed(plane, alice, DATA)
    plane.deletion.delete_model(alice, first.model_id)
    second = deployed(plane, alice, DATA)
    assert second.model_id != first.model_id
    assert second.number == 1
    plane.deletion.delete_model(alice, second.model_id)
    assert deployed(plane, alice, DATA).model_id not in (first.model_id, second.model_id)


def test_bytes_and_documents_go_when_the_retention_is_over(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    version = deployed(plane, alice, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=version.model_id))
    plane.deletion.delete_model(alice, version.model_id)
    plane.reconciler.tick()
    assert bytes_are_there(plane, version)
    past_retention(plane)
    for _ in range(3):
        plane.reconciler.tick()
    assert not bytes_are_there(plane, version)
    assert plane.store.any_version(version.id) is None
    assert plane.store.any_model(version.model_id) is None
    assert plane.store.token(issued.token.sha256) is None
    assert plane.hot.dropped_since(0).version_ids == frozenset()
    assert [key for key in raw_redis.keys("*") if version.id.encode() in key] == []
    assert [key for key in raw_redis.keys("*") if version.model_id.encode() in key] == []


def test_a_delete_that_died_halfway_is_finished(plane: ControlPlane, alice: Principal) -> None:
    from chalicelib.records import deleted

    version = deployed(plane, alice, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=version.model_id))
    late = uploaded(plane, alice, DATA + b"2")
    model = plane.models.get(alice, version.model_id)
    plane.store._tombstones.insert_one(_document(deleted(model, plane.deletion._now())))
    plane.reconciler.tick()
    with pytest.raises(NotFound):
        plane.models.get(alice, version.model_id)
    [view] = plane.hot.credentials([(issued.token.sha256, version.model_id)])
    assert view.model and view.model.deleted
    assert view.token and view.token.revoked
    assert plane.hot.dropped_since(0).version_ids == {version.id, late.id}


def test_a_flushed_hot_state_is_told_again_what_was_deleted(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    version = deployed(plane, alice, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=version.model_id))
    plane.deletion.delete_model(alice, version.model_id)
    pass_time(plane, hours=2)
    raw_redis.flushall()
    plane.reconciler.tick()
    assert plane.hot.dropped_since(0).version_ids == {version.id}
    [view] = plane.hot.credentials([(issued.token.sha256, version.model_id)])
    with pytest.raises(NotFound):
        authorised(view.token, view.model, now=view.now)


def test_a_version_without_traffic_can_be_deleted_and_its_number_is_not_used_again(
    plane: ControlPlane, alice: Principal
) -> None:
    first = deployed(plane, alice, DATA)
    second = waiting(plane, alice, DATA + b"2")
    plane.deletion.delete_version(alice, first.model_id, 2)
    with pytest.raises(NotFound):
        plane.models.version(alice, first.model_id, 2)
    with pytest.raises(NotFound):
        plane.traffic.change(alice, first.model_id, ChangeTraffic(version=2, percent=10))
    assert plane.hot.dropped_since(0).version_ids == {second.id}
    past_retention(plane)
    plane.reconciler.tick()
    assert not bytes_are_there(plane, second)
    assert bytes_are_there(plane, first)
    assert plane.store.any_version(second.id) is None
    assert plane.uploads.begin(alice, announce(DATA)).version.number == 3


def test_a_version_with_traffic_stays(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    warm(plane, first, "a")
    second = waiting(plane, alice, DATA + b"2")
    plane.traffic.change(alice, first.model_id, ChangeTraffic(version=2, percent=10))
    for number, role in ((1, "the active one"), (2, "on trial")):
        with pytest.raises(Conflict, match=role):
            plane.deletion.delete_version(alice, first.model_id, number)
    plane.traffic.roll_back(alice, first.model_id, RollBack())
    assert plane.traffic.change(alice, first.model_id, ChangeTraffic(version=2, percent=100)).model.activation
    with pytest.raises(Conflict, match="about to become active"):
        plane.deletion.delete_version(alice, first.model_id, 2)
    assert plane.models.version(alice, first.model_id, 2) == second


def test_what_is_gone_back_to_is_forgotten_with_its_version(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    deployed(plane, alice, DATA + b"2")
    plane.deletion.delete_version(alice, first.model_id, 1)
    with pytest.raises(Conflict, match="nothing to go back to"):
        plane.traffic.roll_back(alice, first.model_id, RollBack())


@pytest.mark.parametrize("late", [False, True])
def test_traffic_that_came_at_the_same_moment_saves_a_version(
    plane: ControlPlane, alice: Principal, late: bool
) -> None:
    """The delete died right after it marked the version, or a moment later would have seen the traffic."""
    first = deployed(plane, alice, DATA)
    second = waiting(plane, alice, DATA + b"2")
    plane.traffic.change(alice, first.model_id, ChangeTraffic(version=2, percent=10))
    plane.store.delete_version(second, at=plane.deletion._now())
    if late:
        past_retention(plane)
    plane.reconciler.tick()
    assert plane.hot.dropped_since(0).version_ids == frozenset()
    assert plane.models.version(alice, first.model_id, 2) == second
    assert bytes_are_there(plane, second)


@pytest.mark.parametrize("finished", [True, False])
def test_an_upload_of_a_deleted_model_leads_nowhere(
    plane: ControlPlane, alice: Principal, finished: bool
) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    send(begun, DATA)
    if finished:
        plane.uploads.complete(alice, begun.model.id, 1)
    plane.deletion.delete_model(alice, begun.model.id)
    if finished:
        prepared(plane, begun.version)
    plane.reconciler.tick()
    assert plane.store.any_model(begun.model.id) is not None
    past_retention(plane)
    for _ in range(3):
        plane.reconciler.tick()
    assert plane.store.any_model(begun.model.id) is None
    assert plane.objects.stored(begun.version.staging_key) is None
    assert plane.objects.stored(begun.version.object_key) is None


def test_so_many_are_reaped_in_one_pass(
    plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REAPED_PER_TICK_MAX", 2)
    version = deployed(plane, alice, DATA)
    for tail in (b"2", b"3"):
        deployed(plane, alice, DATA + tail)
    plane.deletion.delete_model(alice, version.model_id)
    past_retention(plane)
    assert [plane.deletion.reap().count for _ in range(3)] == [2, 1, 0]


def _document(model: Any) -> dict[str, Any]:
    from chalicelib.adapters.mongo.database import document

    return document(model)


def test_f17_a_pass_looks_at_one_page_of_what_is_deleted_and_after_a_flush_at_all(
    plane: ControlPlane, alice: Principal, raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROJECTION_PAGE", 2)
    first = deployed(plane, alice, DATA)
    gone = {deployed(plane, alice, DATA, name=f"model-{number}").model_id for number in range(5)}
    for model_id in gone:
        plane.deletion.delete_model(alice, model_id)
    plane.reconciler.tick()
    dropped: list[str] = []
    monkeypatch.setattr(plane.hot, "drop_versions", dropped.extend)
    for _ in range(3):
        plane.reconciler.tick()
    paged = len(dropped)
    dropped.clear()
    raw_redis.flushall()
    plane.reconciler.tick()
    versions = set(plane.store._versions.distinct("_id"))
    assert set(dropped) == versions - {first.id}
    assert paged < 3 * len(dropped)
