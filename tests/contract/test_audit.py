"""What the audit log must do, whatever MongoDB it is given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.audit import PLATFORM, Acted, Audit, Verified, chained
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, PermissionDenied
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope
from chalicelib.contract.tokens import new_token
from chalicelib.records import AuditEntry, AuditOutcome
from chalicelib.wiring import new_id
from infra.local.embedded import EmbeddedServers
from tests.support.stores import new_database

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ALICE = Principal(tenant="alice", hint="mr_alice…", scopes=frozenset({Scope.KEYS}))
MALLORY = Principal(tenant="mallory", hint="mr_mallo…", scopes=frozenset({Scope.KEYS}))
OPERATOR = Principal(tenant="operator", hint="mr_opera…", scopes=frozenset(Scope))


class Log:
    """An audit log with a clock that a test may set, and a look behind it."""

    def __init__(self, store: MongoStore, hot: HotState) -> None:
        self.store = store
        self.now = NOW
        self.monotonic = 0.0
        self.audit = Audit(
            store=store, late=hot, now=lambda: self.now, monotonic=lambda: self.monotonic, new_id=new_id
        )

    def write(self, action: str = "key.create", *, tenant: str = "alice", **more: Any) -> None:
        self.audit.record(AuditEntry(id="", tenant=tenant, actor="mr_alice…", action=action, **more))

    def actions(self, principal: Principal = ALICE, **asked: Any) -> list[str]:
        return [entry.action for entry in self.page(principal, **asked)]

    def page(self, principal: Principal = ALICE, **asked: Any) -> tuple[AuditEntry, ...]:
        question: dict[str, Any] = {"after": 0, "action": "", "object_id": "", "account": ""} | asked
        return self.audit.page(principal, **question).entries

    def verified(self, *, after: int = 0) -> Verified:
        return self.audit.verify(ALICE, after=after, account="")

    @property
    def documents(self) -> Any:
        """As somebody who may write to the database sees them."""
        return self.store._audit


@pytest.fixture
def log(servers: EmbeddedServers, hot: HotState) -> Log:
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return Log(store, hot)


def test_entries_are_read_newest_first_and_by_what_they_are_about(log: Log) -> None:
    for action, object_id in (("key.create", "k1"), ("model.delete", "m1"), ("key.create", "k2")):
        log.write(action, object_id=object_id)
    assert log.actions() == ["key.create", "model.delete", "key.create"]
    assert [entry.object_id for entry in log.page(action="key.create")] == ["k2", "k1"]
    assert log.actions(object_id="m1") == ["model.delete"]
    assert [entry.number for entry in log.page(after=3)] == [2, 1]


def test_another_tenant_sees_nothing_and_an_operator_everything(log: Log) -> None:
    log.write()
    log.audit.by_platform(Acted("", "deployment.start", "deployment", "d1"))
    assert log.page(MALLORY) == ()
    for account in ("alice", PLATFORM):
        with pytest.raises(PermissionDenied):
            log.page(MALLORY, account=account)
        with pytest.raises(PermissionDenied):
            log.audit.verify(MALLORY, after=0, account=account)
    assert log.actions(OPERATOR, account="alice") == ["key.create"]
    assert log.actions(OPERATOR, account=PLATFORM) == ["deployment.start"]


def test_pages_are_bounded_and_follow_each_other(log: Log) -> None:
    for _ in range(limits.PAGE_SIZE_MAX + 5):
        log.write()
    first = log.audit.page(ALICE, after=0, action="", object_id="", account="")
    assert (len(first.entries), first.after) == (limits.PAGE_SIZE_MAX, 6)
    rest = log.audit.page(ALICE, after=first.after or 0, action="", object_id="", account="")
    assert ([entry.number for entry in rest.entries], rest.after) == ([5, 4, 3, 2, 1], None)


def test_entries_of_many_threads_make_one_chain(log: Log) -> None:
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(log.write) for _ in range(40)]:
            done.result()
    entries = log.store.audit_range("alice", 0, 100)
    assert [entry.number for entry in entries] == list(range(1, 41))
    assert [entry.previous for entry in entries] == ["", *(entry.hash for entry in entries[:-1])]
    assert log.verified() == Verified(1, 40, complete=True, hash=entries[-1].hash)


def changed(log: Log) -> None:
    log.documents.update_one({"tenant": "alice", "number": 3}, {"$set": {"actor": "somebody else"}})


def changed_and_hashed_anew(log: Log) -> None:
    entry = log.store.audit_range("alice", 2, 1)[0]
    forged = chained(msgspec.structs.replace(entry, actor="x"), number=3, previous=entry.previous)
    log.documents.update_one({"tenant": "alice", "number": 3}, {"$set": {"actor": "x", "hash": forged.hash}})


def taken_out(log: Log) -> None:
    log.documents.delete_one({"tenant": "alice", "number": 3})


def cut_at_the_end(log: Log) -> None:
    log.documents.delete_many({"tenant": "alice", "number": {"$gte": 3}})


def cut_at_the_beginning(log: Log) -> None:
    log.documents.delete_many({"tenant": "alice", "number": {"$lt": 3}})


@pytest.mark.parametrize(
    ("tamper", "broken_at"),
    [
        (changed, 3),
        (changed_and_hashed_anew, 4),
        (taken_out, 3),
        (cut_at_the_end, 3),
        (cut_at_the_beginning, 1),
    ],
)
def test_what_is_changed_or_gone_shows(log: Log, tamper: Any, broken_at: int) -> None:
    for _ in range(5):
        log.write()
    assert log.verified().broken_at is None
    tamper(log)
    verified = log.verified()
    assert verified.broken_at == broken_at
    assert verified.why


def test_an_end_that_was_cut_shows_after_others_have_written_beyond_it(log: Log) -> None:
    for _ in range(5):
        log.write()
    cut_at_the_end(log)
    for _ in range(5):
        log.write()
    assert log.verified().broken_at == 3
    log.documents.delete_many({"tenant": "alice"})
    log.write()
    assert log.verified().broken_at == 1


def test_what_is_verified_in_several_calls_is_one_chain(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain that is right in itself does not belong behind what an earlier call has seen."""
    monkeypatch.setattr(limits, "AUDIT_VERIFIED_MAX", 2)
    monkeypatch.setattr(limits, "PROJECTION_PAGE", 2)
    for _ in range(5):
        log.write()
    first = log.verified()
    assert (first.last, first.complete, first.broken_at) == (2, False, None)
    assert log.verified(after=first.last) == Verified(3, 4, complete=False, hash=log.page(after=5)[0].hash)
    entries, previous = log.store.audit_range("alice", 2, 10), "forged"
    for entry in entries:
        forged = chained(msgspec.structs.replace(entry, actor="x"), number=entry.number, previous=previous)
        previous = forged.hash
        fields = {"actor": "x", "previous": forged.previous, "hash": forged.hash}
        log.documents.update_one({"_id": entry.id}, {"$set": fields})
    assert log.verified(after=first.last).broken_at == 3


def test_entries_whose_time_is_over_while_they_are_verified_are_no_alarm(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write("old")
    log.now += timedelta(seconds=limits.AUDIT_SECONDS + 1)
    log.write("new")
    read = log.store.audit_range

    def after_a_pass(*asked: Any) -> Any:
        log.audit.settle()
        return read(*asked)

    with monkeypatch.context() as patch:
        patch.setattr(log.store, "audit_range", after_a_pass)
        assert log.verified().broken_at is None
    assert log.verified() == Verified(2, 2, complete=True, hash=log.page()[0].hash)


def test_a_range_is_verified_from_where_it_begins(log: Log) -> None:
    for _ in range(5):
        log.write()
    changed(log)
    assert log.verified(after=3).broken_at is None
    assert log.verified(after=3).first == 4
    assert log.verified(after=5) == Verified(0, 0, complete=True)


def test_entries_go_when_their_time_is_over_and_the_chain_holds(log: Log) -> None:
    for _ in range(3):
        log.write("old")
    log.now += timedelta(days=300)
    log.write("new")
    log.now += timedelta(days=100)
    log.audit.settle()
    assert log.actions() == ["new"]
    assert log.verified().broken_at is None
    log.write("newer")
    assert [entry.number for entry in log.page()] == [5, 4]
    log.now += timedelta(days=400)
    log.audit.settle()
    assert log.actions() == []
    log.write("after all were gone")
    assert [entry.number for entry in log.page()] == [6]
    assert log.verified() == Verified(6, 6, complete=True, hash=log.page()[0].hash)


class Away(DependencyFailed):
    pass


@pytest.fixture
def without_truth(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    def away(*_: Any) -> None:
        raise Away("away")

    with monkeypatch.context() as patch:
        patch.setattr(log.store, "audit_tail", away)
        yield patch


def test_an_entry_that_cannot_be_written_is_written_later_once_under_its_own_time(
    log: Log, hot: HotState, without_truth: pytest.MonkeyPatch
) -> None:
    log.write("model.delete")
    log.write("model.delete", outcome=AuditOutcome.REFUSED, code="not_found")
    log.write("key.revoke", outcome=AuditOutcome.FAILED, code="dependency")
    with pytest.raises(DependencyFailed):
        log.audit.settle()
    without_truth.undo()
    log.now += timedelta(minutes=5)
    waiting, _ = hot.late(10)
    log.audit.settle()
    hot.push_late(waiting)  # as if the pass had died before it dropped it
    log.audit.settle()
    halfway, entry = log.page()
    assert (halfway.action, halfway.outcome) == ("key.revoke", AuditOutcome.FAILED)
    assert (entry.action, entry.at, entry.outcome) == ("model.delete", NOW, AuditOutcome.OK)
    assert hot.late(10) == ()
    assert log.verified().broken_at is None


def test_an_entry_that_nobody_can_keep_is_in_the_log_of_the_process(
    log: Log,
    hot: HotState,
    without_truth: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(_: bytes) -> None:
        raise Away("away")

    without_truth.setattr(hot, "push_late", away)
    with caplog.at_level(logging.ERROR):
        log.write("model.delete")
    entries = [record.entry for record in caplog.records if hasattr(record, "entry")]
    assert len(entries) == 1
    assert msgspec.json.decode(entries[0], type=AuditEntry).action == "model.delete"


@pytest.mark.parametrize("outcome", [AuditOutcome.REFUSED, AuditOutcome.FAILED])
def test_nobody_fills_the_log_with_what_was_not_done(log: Log, outcome: AuditOutcome) -> None:
    for _ in range(3 * limits.AUDIT_REFUSALS_PER_SECOND):
        log.write("account.login", outcome=outcome, code="unauthenticated")
    assert len(log.page()) == limits.AUDIT_REFUSALS_PER_SECOND
    log.write("model.delete")
    assert log.actions(action="model.delete") == ["model.delete"]


def test_credentials_that_callers_put_where_they_do_not_belong_are_not_kept(log: Log) -> None:
    secret = new_token()
    log.write(object_id=secret, object_name=f"my {secret}", user_agent=f"curl {secret}", request_id=secret)
    log.write(user_agent="x" * 10_000, object_name="y" * 10_000)
    kept = str(list(log.documents.find({})))
    assert secret not in kept
    assert secret[4:20] not in kept
    assert len(log.page()[0].user_agent) == limits.USER_AGENT_LENGTH_MAX
