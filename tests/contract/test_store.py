"""What the store must do, whatever MongoDB it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pymongo.collection import Collection

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.messages import (
    Guard,
    Preparation,
    PrepareResult,
    Scope,
    TokenKind,
    VersionFile,
    WeightsFile,
    encode,
)
from chalicelib.ports import ChangePoint, Kept
from chalicelib.records import (
    Account,
    Activation,
    Candidate,
    Model,
    Split,
    Token,
    TrafficChange,
    Version,
    VersionState,
    activated,
    deleted,
)
from chalicelib.wiring import ControlPlane
from tests.support.uploads import CERTIFICATE, PASSPORT, SIGNATURE

PREPARATION = Preparation(onnxruntime="1.0", host_class="here")
READY = PrepareResult(
    "v1", "h", signature=SIGNATURE, passport=PASSPORT, certificate=CERTIFICATE, preparation=PREPARATION
)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


@pytest.fixture
def store(plane: ControlPlane) -> MongoStore:
    return plane.store


def model(name: str = "digits", *, tenant: str = "alice", model_id: str = "m1") -> Model:
    return Model(id=model_id, tenant=tenant, name=name, created_at=NOW)


def version(number: int = 1, *, version_id: str = "v1", tenant: str = "alice") -> Version:
    return Version(
        id=version_id,
        model_id="m1",
        tenant=tenant,
        number=number,
        state=VersionState.UPLOADING,
        created_at=NOW,
        bytes=2**31,
        sha256="00" * 32,
        framework="test",
        staging_key=f"staging/{version_id}",
        object_key=f"models/{version_id}",
    )


def token(sha256: str, *, tenant: str = "alice", model_id: str | None = None) -> Token:
    return Token(
        id=sha256,
        sha256=sha256,
        tenant=tenant,
        kind=TokenKind.MODEL_TOKEN,
        name="",
        hint="mr_…",
        created_at=NOW,
        scopes=(Scope.INFER,),
        model_id=model_id,
    )


def test_what_is_written_is_read_back_whole(store: MongoStore) -> None:
    assert store.ensure_model(model()) == model()
    assert store.add_version(version())
    assert store.version("alice", "m1", 1) == version()
    assert store.any_version("v1") == version()


def test_the_first_account_of_an_id_stays(store: MongoStore) -> None:
    first = store.ensure_account(Account(id="1", name="alice", created_at=NOW))
    assert store.ensure_account(Account(id="1", name="bob", created_at=NOW)) == first
    assert store.ensure_account(Account(id="2", name="alice", created_at=NOW)) != first


def test_two_tenants_may_use_the_same_name(store: MongoStore) -> None:
    assert store.ensure_model(model()).id == "m1"
    assert store.ensure_model(model(model_id="m2")).id == "m1"
    assert store.ensure_model(model(tenant="bob", model_id="m3")).id == "m3"


def test_a_tenant_sees_nothing_of_another(store: MongoStore) -> None:
    store.ensure_model(model())
    store.add_version(version())
    assert store.model("bob", "m1") is None
    assert store.models("bob", "", 10) == ()
    assert store.version("bob", "m1", 1) is None
    assert store.versions("bob", "m1", 0, 10) == ()
    assert store.last_number("bob", "m1") == 0


def test_of_many_uploads_at_once_each_gets_its_own_number(store: MongoStore) -> None:
    store.ensure_model(model())

    def add(attempt: int) -> bool:
        return store.add_version(version(1 + attempt % 5, version_id=f"v{attempt}"))

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(add, range(50))) == 5
    assert store.last_number("alice", "m1") == 5


def test_a_state_changes_once_and_only_forwards(store: MongoStore) -> None:
    store.add_version(version())
    assert not store.finish_ready(READY)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: store.start_preparing("v1"), range(8))) == 1
    assert store.finish_ready(READY)
    assert not store.finish_failed("v1", state=VersionState.PREPARING, reason="late")
    ready = store.any_version("v1")
    assert ready == msgspec.structs.replace(
        version(),
        state=VersionState.READY,
        signature=SIGNATURE,
        passport=PASSPORT,
        certificate=CERTIFICATE,
        preparation=encode(PREPARATION).decode(),
    )


def test_a_move_that_the_states_do_not_know_is_a_defect(store: MongoStore) -> None:
    with pytest.raises(ValueError, match="cannot go from ready to failed"):
        store.finish_failed("v1", state=VersionState.READY, reason="")


def change(number: int) -> TrafficChange:
    return TrafficChange(
        at=NOW, by="mr_…", why="activated", before=Split(active=number - 1), after=Split(active=number)
    )


def test_traffic_moves_only_from_the_revision_seen(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    first = activated(seen, version(1))
    assert store.change_model(seen, first, change(1))
    assert not store.change_model(seen, activated(seen, version(2)), change(2))
    assert store.model("alice", "m1") == first
    assert store.history("alice", "m1") == (change(1),)
    assert store.history("bob", "m1") == ()


def test_of_many_changes_at_once_one_is_made(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda n: store.change_model(seen, activated(seen, version(n)), change(n)), range(1, 9))
        )
    assert sum(made) == 1
    assert len(store.history("alice", "m1")) == 1


def test_all_that_a_model_says_of_its_traffic_is_read_back(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    candidate = Candidate(version=2, version_id="v2", percent=10, mirror_percent=5, limits=Guard(), trial=1)
    activation = Activation(version=3, version_id="v3", since=NOW, by="mr_…")
    changed = msgspec.structs.replace(
        activated(seen, version(1)), candidate=candidate, activation=activation, numbers_used=7
    )
    assert store.change_model(seen, changed, None)
    assert store.model("alice", "m1") == changed
    assert store.history("alice", "m1") == ()


def test_the_history_keeps_the_latest_changes(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    for number in range(1, limits.TRAFFIC_HISTORY_MAX + 4):
        changed = activated(seen, version(number))
        assert store.change_model(seen, changed, change(number))
        seen = changed
    history = store.history("alice", "m1")
    assert len(history) == limits.TRAFFIC_HISTORY_MAX
    assert history[-1] == change(limits.TRAFFIC_HISTORY_MAX + 3)


def test_f62_a_deleted_model_is_seen_by_the_platform_only_and_its_name_is_free(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    tombstone = deleted(seen, NOW)
    store.delete_model(tombstone)
    store.delete_model(tombstone)
    assert not store.change_model(seen, activated(seen, version(1)), None)
    assert store.model("alice", "m1") is None
    assert store.models("alice", "", 10) == store.models_page("", 10) == ()
    assert store.any_model("m1") == tombstone
    assert store.tombstones_page("", 10) == (tombstone,)
    assert store.tombstones_page("m1", 10) == ()
    assert store.ensure_model(model(model_id="m2")).id == "m2"
    assert [one.id for one in store.models("alice", "", 10)] == ["m2"]


def test_a_deleted_version_counts_for_numbers_and_is_listed_nowhere(store: MongoStore) -> None:
    for number in (1, 2, 3):
        store.add_version(version(number, version_id=f"v{number}"))
    gone = version(3, version_id="v3")
    assert store.delete_version(gone, at=NOW)
    assert not store.delete_version(gone, at=NOW)
    assert store.version("alice", "m1", 3) is None
    assert [one.number for one in store.versions("alice", "m1", 0, 2)] == [1, 2]
    assert store.last_number("alice", "m1") == 3
    assert store.versions_in(VersionState.DELETED, activation_pending=True, limit=10) == ()
    [listed] = store.deleted_page("", 10)
    assert (listed.id, listed.deleted_at) == ("v3", NOW)
    assert store.deleted_page("v3", 10) == ()
    store.remove_version(version(1))
    store.remove_version(gone)
    assert store.deleted_page("", 10) == ()
    assert store.last_number("alice", "m1") == 2


def test_pages_of_versions_are_full_though_some_are_deleted(store: MongoStore) -> None:
    for number in range(1, 10):
        one = version(number, version_id=f"v{number}")
        store.add_version(one)
        if number in (2, 3, 4, 5, 9):
            store.delete_version(one, at=NOW)
    assert [one.number for one in store.versions("alice", "m1", 0, 3)] == [1, 6, 7]
    assert [one.number for one in store.versions("alice", "m1", 7, 3)] == [8]


def test_the_latest_version_of_each_model_comes_without_what_was_found_of_it(store: MongoStore) -> None:
    def of(model_id: str, number: int, **said: Any) -> Version:
        made = version(number, version_id=f"{model_id}-{number}")
        return msgspec.structs.replace(made, model_id=model_id, **said)

    weights = WeightsFile("11" * 32, 5, "w")
    failed = of("m1", 11, state=VersionState.FAILED, reason="It is empty.", weights=weights, framework="x")
    for one in (of("m1", 2), failed, of("m1", 9), of("m2", 1), of("m3", 1)):
        store.add_version(msgspec.structs.replace(one, receipt="{}", preparation="{}"))
    store.add_version(msgspec.structs.replace(of("m1", 12), id="b", tenant="bob"))
    gone = of("m2", 2)
    store.add_version(gone)
    assert {one.id: one for one in store.latest_versions("alice", ["m1", "m2", "m4"])} == {
        "m1-11": failed,
        "m2-2": gone,
    }
    store.delete_version(gone, at=NOW)
    assert [one.id for one in store.latest_versions("alice", ["m2"])] == ["m2-1"]
    assert store.latest_versions("alice", []) == ()


def test_the_versions_of_a_model_go_together_and_a_second_time_changes_nothing(store: MongoStore) -> None:
    for number in (1, 2):
        store.add_version(version(number, version_id=f"v{number}"))
    later = NOW.replace(hour=5)
    assert sorted(store.delete_versions("alice", "m1", at=NOW)) == ["v1", "v2"]
    assert sorted(store.delete_versions("alice", "m1", at=later)) == ["v1", "v2"]
    assert {one.deleted_at for one in store.deleted_page("", 10)} == {NOW}
    assert store.delete_versions("bob", "m1", at=NOW) == ()


def test_the_tokens_of_a_model_are_revoked_once_and_others_stay(store: MongoStore) -> None:
    for name, model_id in (("a", "m1"), ("b", "m1"), ("c", "m2"), ("d", None)):
        store.add_token(token(name, model_id=model_id))
    first = store.revoke_model_tokens("alice", "m1", at=NOW)
    assert {(one.sha256, one.revoked_at, one.revision) for one in first} == {("a", NOW, 2), ("b", NOW, 2)}
    assert store.revoke_model_tokens("alice", "m1", at=NOW.replace(hour=5)) == first
    untouched = [store.token(name) for name in "cd"]
    assert untouched == [token("c", model_id="m2"), token("d")]


def test_only_a_tombstone_can_be_removed(store: MongoStore) -> None:
    seen = store.ensure_model(model())
    store.add_token(token("a", model_id="m1"))
    store.remove_model("m1")
    assert store.model("alice", "m1") == seen
    store.delete_model(deleted(seen, NOW))
    store.remove_model("m1")
    assert store.any_model("m1") is None
    assert store.token("a") is None


def test_versions_are_found_by_state_oldest_first(store: MongoStore) -> None:
    for number in (3, 1, 2):
        minute = NOW.replace(minute=number)
        store.add_version(
            msgspec.structs.replace(version(number, version_id=f"v{number}"), created_at=minute)
        )
    found = store.versions_in(VersionState.UPLOADING, activation_pending=True, limit=2)
    assert [one.number for one in found] == [1, 2]
    assert store.versions_in(VersionState.READY, activation_pending=True, limit=2) == ()


def test_pages_go_through_everything_once(store: MongoStore) -> None:
    hashes = [f"{number:064x}" for number in range(25)]
    for sha256 in hashes:
        assert store.add_token(token(sha256))
    assert not store.add_token(token(hashes[0]))
    seen: list[str] = []
    while page := store.tokens_page(seen[-1] if seen else "", 10):
        seen += [one.sha256 for one in page]
    assert seen == hashes


def test_changes_of_tokens_are_told_once_each_in_the_order_they_came(store: MongoStore) -> None:
    hashes = [f"{number:064x}" for number in range(12)]
    for sha256 in hashes:
        store.add_token(token(sha256))
    at = store.clock()
    store._tokens.update_many({}, {"$set": {"changed_at": at}})  # all in the same millisecond
    again = token(hashes[3])
    assert store.change_token(again, msgspec.structs.replace(again, revision=2))
    point, seen = ChangePoint(at.replace(year=2020)), []
    while True:
        page, following = store.changed_tokens(point, 5)
        if following == point:
            break
        point = following
        seen += [one.sha256 for one in page]
    assert seen == [*hashes[:3], *hashes[4:], hashes[3]]
    assert not store.change_token(again, msgspec.structs.replace(again, revision=2)), "it has changed"


def test_tokens_that_ended_before_a_time_are_found(store: MongoStore) -> None:
    early, late = NOW.replace(year=2025), NOW.replace(year=2027)
    ends = [("a", "revoked_at", early), ("b", "expires_at", early), ("c", "revoked_at", late)]
    for sha256, field, at in (*ends, ("d", "expires_at", late), ("e", "expires_at", None)):
        store.add_token(msgspec.structs.replace(token(sha256), **{field: at}))
    assert {one.sha256 for one in store.ended_tokens(NOW, 10)} == {"a", "b"}
    assert len(store.ended_tokens(NOW, 1)) == 1


def test_tokens_are_counted_per_model(store: MongoStore) -> None:
    store.add_token(token("a", model_id="m1"))
    store.add_token(token("b", model_id="m2"))
    store.add_token(token("c", tenant="bob", model_id="m1"))
    assert store.count_tokens("alice", "m1", at=NOW) == 1


def test_what_counts_against_quotas_is_counted_per_tenant_and_model(store: MongoStore) -> None:
    weights = WeightsFile("00" * 32, 5, "w")
    store.add_version(msgspec.structs.replace(version(1), weights=weights))
    store.add_version(version(2, version_id="v2"))
    store.add_version(msgspec.structs.replace(version(1, version_id="v3"), model_id="m2"))
    store.add_version(version(1, version_id="v4", tenant="bob"))
    assert store.kept("alice") == Kept(3, 3 * 2**31 + 5)
    assert store.kept("alice", model_id="m1") == Kept(2, 2 * 2**31 + 5)
    assert store.kept("bob", model_id="m2") == store.kept("carol") == Kept()


@pytest.mark.parametrize("state", VersionState)
def test_a_version_that_failed_or_was_deleted_does_not_count(store: MongoStore, state: VersionState) -> None:
    store.add_version(msgspec.structs.replace(version(), state=state))
    gone = state in (VersionState.FAILED, VersionState.DELETED)
    assert store.kept("alice") == (Kept() if gone else Kept(1, 2**31))


def test_models_are_found_by_name_and_counted_per_tenant(store: MongoStore) -> None:
    for name in ("a", "b"):
        store.ensure_model(model(name, model_id=name))
    store.ensure_model(msgspec.structs.replace(model("a", tenant="bob", model_id="c"), pinned=True))
    assert store.model_named("bob", "a") == store.model("bob", "c")
    assert store.model_named("bob", "b") is None
    assert (store.count_models("alice"), store.count_pinned("alice")) == (2, 0)
    assert (store.count_models("bob"), store.count_pinned("bob")) == (1, 1)
    store.delete_model(deleted(model("a", model_id="a"), NOW))
    assert store.model_named("alice", "a") is None
    assert store.count_models("alice") == 1


def test_a_document_that_does_not_fit_reads_as_absent(store: MongoStore) -> None:
    store.ensure_model(model())
    store._models.update_one({"_id": "m1"}, {"$set": {"revision": "many"}})
    assert store.model("alice", "m1") is None
    assert store.models_page("", 10) == ()


def collections(store: MongoStore) -> dict[str, Collection[Any]]:
    """All that the store has, by their names in the database."""
    held = [
        one
        for value in vars(store).values()
        for one in (value.values() if isinstance(value, dict) else (value,))
    ]
    return {one.name: one for one in held if isinstance(one, Collection)}


def test_f14_every_acknowledged_write_is_a_majority_write_on_disk(store: MongoStore) -> None:
    """No collection that the store writes to is weaker, and all those that there are were looked at."""
    store.create_indexes()
    found = collections(store)
    assert set(found) >= set(next(iter(found.values())).database.list_collection_names())
    for name, collection in found.items():
        assert collection.write_concern.document == {"w": "majority", "j": True}, name


def test_f11_a_database_that_is_away_is_a_retryable_error() -> None:
    away = MongoStore("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200&timeoutMS=200", database="x")
    away._accounts.database.client.close()
    with pytest.raises(DependencyFailed) as raised:
        away.token("00")
    assert raised.value.retryable
    assert "127.0.0.1" not in raised.value.message


def test_an_upload_id_is_set_once_and_replaced_only_by_who_knows_it(store: MongoStore) -> None:
    store.add_version(version())
    with ThreadPoolExecutor(8) as pool:
        set_ = pool.map(lambda n: store.set_upload_id(version(), VersionFile.WEIGHTS, f"id{n}"), range(8))
        assert sum(set_) == 1
    seen = store.any_version("v1")
    assert seen
    assert set(seen.upload_ids) == {VersionFile.WEIGHTS}
    assert store.set_upload_id(seen, VersionFile.WEIGHTS, "anew")
    assert not store.set_upload_id(seen, VersionFile.WEIGHTS, "late")
    assert store.set_upload_id(seen, VersionFile.MODEL, "graph")
    again = store.any_version("v1")
    assert again
    assert again.upload_ids == {VersionFile.WEIGHTS: "anew", VersionFile.MODEL: "graph"}
    store.start_preparing("v1")
    assert not store.set_upload_id(again, VersionFile.MODEL, "too late")


def test_what_does_not_fit_does_not_end_a_page(store: MongoStore) -> None:
    for number in range(6):
        store.ensure_model(msgspec.structs.replace(model(), id=f"m{number}", name=f"n{number}"))
    store._models.update_many({"_id": {"$in": ["m0", "m2"]}}, {"$set": {"created_at": "never"}})
    assert [one.id for one in store.models("alice", "", 3)] == ["m1", "m3", "m4"]
    assert [one.id for one in store.models("alice", "m4", 3)] == ["m5"]
