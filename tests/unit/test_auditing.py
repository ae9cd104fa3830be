"""What the audit log says of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.api import Asked
from chalicelib.auditing import entries, entry
from chalicelib.auth import Principal
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, NotFound, Overloaded
from chalicelib.http import Happened
from chalicelib.records import AuditEntry, AuditOutcome

ALICE = Principal("alice", "mr_alice…", frozenset())


@dataclass
class Named:
    id: str
    name: str = ""
    email: str = ""


@dataclass
class Holding:
    """An answer that has what it is about inside, beside a secret."""

    key: Any = None
    model: Any = None
    account: Any = None
    secret: str = "s3cret"


def happened(
    action: str,
    *,
    principal: Principal | None = ALICE,
    path: dict[str, str] | None = None,
    answer: Any = None,
    error: ModelRocketError | None = None,
) -> Happened:
    asked = Asked(
        request_id="req-1",
        method="POST",
        path="/v1/…",
        find_address=lambda: "192.0.2.7",
        headers={"user-agent": "python", "authorization": "Bearer s3cret", "cookie": "s3cret"},
        query={"q": "s3cret"},
        raw=b"s3cret",
    )
    return Happened(
        action=action, principal=principal, asked=asked, path=path or {}, answer=answer, error=error
    )


def told(action: str, **more: Any) -> AuditEntry:
    return entry(happened(action, **more))


@pytest.mark.parametrize(
    ("action", "path", "answer", "about"),
    [
        pytest.param("model.delete", {"model_id": "m1"}, None, ("model", "m1", ""), id="by the path"),
        pytest.param(
            "version.delete",
            {"model_id": "m1", "number": "3"},
            None,
            ("version", "m1", "version 3"),
            id="a version by its model and number",
        ),
        pytest.param(
            "key.create", {}, Holding(key=Named("k1", "deploy")), ("key", "k1", "deploy"), id="what was made"
        ),
        pytest.param(
            "token.create",
            {"model_id": "m1"},
            Named("t1", "phone"),
            ("token", "t1", "phone"),
            id="what was made of what the path names",
        ),
        pytest.param("key.create", {}, None, ("key", "", ""), id="nothing was made"),
        pytest.param(
            "model.traffic",
            {"model_id": "m1"},
            Holding(model=Named("m2")),
            ("model", "m1", ""),
            id="the path names it, whatever is answered",
        ),
    ],
)
def test_what_it_was_about(
    action: str, path: dict[str, str], answer: Any, about: tuple[str, str, str]
) -> None:
    said = told(action, path=path, answer=answer)
    assert (said.object_type, said.object_id, said.object_name) == about


def test_who_when_from_where_and_how_it_ended() -> None:
    assert told("model.delete", path={"model_id": "m1"}, error=NotFound("no")) == AuditEntry(
        id="",
        tenant="alice",
        actor="mr_alice…",
        action="model.delete",
        outcome=AuditOutcome.REFUSED,
        code="not_found",
        object_type="model",
        object_id="m1",
        address="192.0.2.7",
        user_agent="python",
        request_id="req-1",
    )


@pytest.mark.parametrize(
    ("error", "principal", "outcome"),
    [
        (DependencyFailed("away"), ALICE, AuditOutcome.FAILED),
        (ModelRocketError("a defect"), ALICE, AuditOutcome.FAILED),
        (DependencyFailed("away"), None, AuditOutcome.REFUSED),
        (Overloaded("busy"), ALICE, AuditOutcome.REFUSED),
    ],
)
def test_what_ended_halfway_is_not_said_to_be_refused(
    error: ModelRocketError, principal: Principal | None, outcome: AuditOutcome
) -> None:
    said = told("key.revoke", path={"key_id": "k1"}, principal=principal, error=error)
    assert (said.outcome, said.code, said.object_id) == (outcome, error.code, "k1")
    [_] = entries(happened("account.suspend", path={"account_id": "bob"}, principal=principal, error=error))


def test_who_logs_in_is_known_by_the_answer_alone() -> None:
    account = Named("alice", email="alice@example.com")
    said = told("session.create", principal=None, answer=Holding(account=account))
    assert (said.tenant, said.actor) == ("alice", "alice@example.com")
    refused = told("session.create", principal=None, error=NotFound("no"))
    assert (refused.tenant, refused.actor) == ("", "")


def test_an_account_that_an_operator_changes_has_it_in_its_own_log_too() -> None:
    path = {"account_id": "bob"}
    own, others = entries(happened("account.suspend", path=path))
    assert (own.tenant, own.actor, own.object_id) == ("alice", "mr_alice…", "bob")
    assert (others.tenant, others.actor, others.address) == ("bob", "operator", "")
    assert len(entries(happened("account.suspend", path=path, error=NotFound("no")))) == 1
    assert len(entries(happened("account.suspend", path={"account_id": "alice"}))) == 1


@pytest.mark.parametrize("action", ["key.create", "model.delete", "session.create"])
def test_no_header_query_body_or_secret_of_an_answer_is_told(action: str) -> None:
    said = told(action, path={"model_id": "m1"}, answer=Holding(key=Named("k1"), account=Named("alice")))
    assert "s3cret" not in str(said)
