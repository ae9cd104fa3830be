"""What both doors read of a request, and whom they let in."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    InvalidRequest,
    ModelRocketError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from chalicelib.contract.inference import authorised, read_sticky_key
from chalicelib.contract.messages import ModelRecord, Scope, TokenKind, TokenRecord
from tests.unit.test_choice import OLD

MODEL = ModelRecord("m", "alice", 1, active=OLD)
DELETED = ModelRecord("m", "alice", 2, deleted=True)
KIND = TokenKind.MODEL_TOKEN
INFER = (Scope.INFER,)
NOW = 1_000.0
TOKEN = TokenRecord("alice", KIND, 1, "t1", INFER, model_id="m")
REVOKED = TokenRecord("alice", KIND, 2, "t1", INFER, model_id="m", revoked=True)


@pytest.mark.parametrize("text", ["a", "x" * limits.STICKY_KEY_LENGTH_MAX, "user 7@example", "~!"])
def test_a_sticky_key_is_taken_as_it_is(text: str) -> None:
    assert read_sticky_key(text) == text


@pytest.mark.parametrize("text", [None, ""])
def test_no_sticky_key(text: str | None) -> None:
    assert read_sticky_key(text) is None


@pytest.mark.parametrize("text", ["x" * (limits.STICKY_KEY_LENGTH_MAX + 1), "é", "a\n", "\x00", "a\tb"])
def test_a_bad_sticky_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="X-Sticky-Key"):
        read_sticky_key(text)


def test_the_model_of_its_token() -> None:
    assert authorised(TOKEN, MODEL, now=NOW) == MODEL


@pytest.mark.parametrize(
    ("token", "model", "error"),
    [
        pytest.param(None, MODEL, Unauthenticated, id="no token"),
        pytest.param(REVOKED, MODEL, Unauthenticated, id="revoked"),
        pytest.param(REVOKED, None, Unauthenticated, id="revoked, no model"),
        pytest.param(REVOKED, DELETED, NotFound, id="revoked with its model"),
        pytest.param(
            TokenRecord("alice", KIND, 2, "t1", INFER, model_id="other", revoked=True),
            DELETED,
            Unauthenticated,
            id="revoked by itself",
        ),
        pytest.param(TOKEN, DELETED, NotFound, id="deleted a moment ago"),
        pytest.param(TOKEN, None, NotFound, id="missing"),
        pytest.param(TokenRecord("bob", KIND, 1, "t1", INFER, model_id="m"), MODEL, NotFound, id="foreign"),
        pytest.param(replace(TOKEN, model_id="n"), MODEL, PermissionDenied, id="another's"),
        pytest.param(TOKEN, ModelRecord("m", "alice", 1), Conflict, id="nothing ready"),
        pytest.param(
            replace(TOKEN, scopes=(Scope.KEYS,)),
            MODEL,
            PermissionDenied,
            id="no scope to infer",
        ),
        pytest.param(replace(TOKEN, expires_at=NOW), MODEL, Unauthenticated, id="expired"),
    ],
)
def test_who_may_not(
    token: TokenRecord | None, model: ModelRecord | None, error: type[ModelRocketError]
) -> None:
    with pytest.raises(error):
        authorised(token, model, now=NOW)
