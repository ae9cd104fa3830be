"""The function that a deployment on AWS is set up with: harmless to repeat, and nobody is locked out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient

from chalicelib.accounts import LogIn
from chalicelib.adapters.mongo import database
from chalicelib.bootstrap import handler
from chalicelib.contract.errors import Conflict
from chalicelib.contract.tokens import new_token, token_sha256
from chalicelib.founding import OPERATOR
from chalicelib.keys import fingerprint
from chalicelib.records import Account, Role, named_account_id
from chalicelib.sessions import Source
from chalicelib.wiring import ControlPlane

ID = named_account_id(OPERATOR)
PASSWORD = "a tram to the harbour"


@pytest.fixture(autouse=True)
def environment(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the function's: the records, and nothing else."""
    monkeypatch.setenv("MODELROCKET_MONGO_URL", plane.settings.mongo_url)
    monkeypatch.setenv("MODELROCKET_MONGO_DATABASE", plane.settings.mongo_database)
    for other in ("REDIS_URL", "S3_BUCKET", "DISPATCH_KEY", "PUBLIC_URL"):
        monkeypatch.delenv(f"MODELROCKET_{other}", raising=False)


def call(**order: Any) -> Any:
    return handler(msgspec.to_builtins(order), None)


def test_the_first_key_is_an_operators(plane: ControlPlane) -> None:
    key = new_token()
    assert call(first_key=fingerprint(key)) == {"first_key_added": True}
    account, token = plane.store.account(ID), plane.store.token(token_sha256(key))
    assert account is not None and account.role is Role.OPERATOR
    assert token is not None and (token.tenant, token.hint) == (ID, fingerprint(key).hint)
    assert plane.auth.authenticate(f"Bearer {key}").tenant == ID


def test_the_second_time_nothing_is_made(plane: ControlPlane) -> None:
    call(first_key=fingerprint(new_token()))
    second = new_token()
    assert call(first_key=fingerprint(second)) == {"first_key_added": False}
    assert plane.store.token(token_sha256(second)) is None


def test_whoever_heard_no_answer_asks_again_and_has_the_same_key(plane: ControlPlane) -> None:
    known = fingerprint(new_token())
    assert [call(first_key=known)["first_key_added"] for _ in range(2)] == [True, True]
    assert len(plane.store.tokens(ID, model_id=None, after="", limit=10)) == 1


def test_what_died_on_the_way_to_the_first_key_goes_on(plane: ControlPlane) -> None:
    """The account was made and no key; or the key too, and nobody was told."""
    plane.store.ensure_account(
        Account(id=ID, name=OPERATOR, created_at=datetime.now(UTC), role=Role.OPERATOR)
    )
    key = new_token()
    for _ in range(2):
        assert call(first_key=fingerprint(key)) == {"first_key_added": True}
    assert plane.auth.authenticate(f"Bearer {key}").tenant == ID
    assert len(plane.store.tokens(ID, model_id=None, after="", limit=10)) == 1


def test_who_logs_in_already_needs_no_first_key(plane: ControlPlane) -> None:
    call(log_in={"email": "ada@example.org", "password_hash": plane.accounts._passwords.hash(PASSWORD)})
    assert call(first_key=fingerprint(new_token())) == {"first_key_added": False}


def test_whoever_lost_the_key_gets_another(plane: ControlPlane) -> None:
    call(first_key=fingerprint(new_token()))
    another = new_token()
    for _ in range(2):
        call(key=fingerprint(another))
    assert plane.auth.authenticate(f"Bearer {another}").tenant == ID
    assert len(plane.store.tokens(ID, model_id=None, after="", limit=10)) == 2


def test_indexes_are_there_before_anything_else(plane: ControlPlane) -> None:
    with MongoClient[Any](plane.settings.mongo_url) as client:
        client.drop_database(plane.settings.mongo_database)
        assert call() == {"first_key_added": False}
        indexes = client[plane.settings.mongo_database]["accounts"].index_information()
    assert "email_once" in indexes


def test_an_index_of_much_that_is_there_already_takes_its_time(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than whoever answers requests waits for an answer."""
    monkeypatch.setattr(database, "_SILENCE_MS", 30)
    with MongoClient[Any](plane.settings.mongo_url) as client:
        audit = client[plane.settings.mongo_database]["audit"]
        audit.drop_indexes()
        audit.insert_many({"tenant": "t", "number": number, "at": number} for number in range(60_000))
        assert call() == {"first_key_added": False}
        assert len(audit.index_information()) > 1


def test_the_operator_logs_in_with_a_password_that_was_never_sent(plane: ControlPlane) -> None:
    hashed = plane.accounts._passwords.hash(PASSWORD)
    call(log_in={"email": "Ada@Example.org", "password_hash": hashed})
    logged_in = plane.accounts.log_in(LogIn("ada@example.org", PASSWORD), Source("10.0.0.1", ""))
    assert (logged_in.account.id, logged_in.account.role) == (ID, Role.OPERATOR)
    assert not logged_in.account.password_expired


def test_an_address_that_has_an_account_is_not_taken_from_it(plane: ControlPlane) -> None:
    from chalicelib.operators import NewAccount

    plane.operators.create(NewAccount("bob@example.org", PASSWORD))
    hashed = plane.accounts._passwords.hash(PASSWORD)
    with pytest.raises(Conflict):
        call(log_in={"email": "bob@example.org", "password_hash": hashed})


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"first_key": {"sha256": "5a" * 32, "hint": "mr_" + "0" * 36}}, id="a whole key"),
        pytest.param({"first_key": {"sha256": "no", "hint": "mr_00000…"}}, id="no hash"),
        pytest.param({"log_in": {"email": "a@example.org", "password_hash": PASSWORD}}, id="a password"),
        pytest.param({"body": "{}"}, id="a request"),
    ],
)
def test_it_takes_nothing_but_what_it_is_told_by_those_who_deploy(order: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        handler(order, None)
