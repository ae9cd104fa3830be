"""Requests under an Idempotency-Key, in the store there is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.records import Answered, AttemptRecord
from chalicelib.wiring import ControlPlane

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = AttemptRecord(id="a", tenant="alice", request="r", began_at=NOW)
LATER = replace(RECORD, began_at=NOW + timedelta(minutes=1))


@pytest.fixture
def store(plane: ControlPlane) -> MongoStore:
    return plane.store


def test_f13_of_many_at_once_one_begins(store: MongoStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.begin_attempt(RECORD), range(8)))
    assert found.count(None) == 1
    assert [one for one in found if one is not None] == [RECORD] * 7


def test_what_was_answered_is_found_again(store: MongoStore) -> None:
    store.begin_attempt(RECORD)
    store.finish_attempt(RECORD, Answered(201, "{}"))
    assert store.begin_attempt(LATER) == replace(RECORD, answered=Answered(201, "{}"))


def test_what_is_made_again_is_found_without_an_answer(store: MongoStore) -> None:
    store.begin_attempt(RECORD)
    store.finish_attempt(RECORD, None)
    assert store.begin_attempt(LATER) == replace(RECORD, repeatable=True)


def test_what_died_is_taken_over_by_one(store: MongoStore) -> None:
    store.begin_attempt(RECORD)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: store.take_attempt(RECORD, LATER), range(8)))
    assert taken.count(True) == 1
    assert not store.take_attempt(RECORD, LATER)


def test_what_has_ended_is_not_taken_over(store: MongoStore) -> None:
    store.begin_attempt(RECORD)
    store.finish_attempt(RECORD, Answered(201, "{}"))
    assert not store.take_attempt(RECORD, LATER)


def test_a_key_that_is_given_back_is_free_unless_somebody_took_it_over(store: MongoStore) -> None:
    store.begin_attempt(RECORD)
    store.take_attempt(RECORD, LATER)
    store.forget_attempt(RECORD)
    assert store.begin_attempt(RECORD) == LATER
    store.forget_attempt(LATER)
    assert store.begin_attempt(RECORD) is None


def test_they_are_forgotten_after_a_day(store: MongoStore) -> None:
    [index] = [one for one in store._attempts.list_indexes() if "expireAfterSeconds" in one]
    assert index["expireAfterSeconds"] == limits.IDEMPOTENCY_SECONDS
    assert list(index["key"]) == ["began_at"]
