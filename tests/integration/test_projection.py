"""Tokens come into the hot state, whatever it has lost, with work that does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.messages import Scope, TokenRecord
from chalicelib.keys import IssuedToken, NewKey
from chalicelib.wiring import ControlPlane


class Writes:
    """The tokens that passes wrote into the hot state."""

    def __init__(self, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sha256s: list[str] = []
        put_tokens = plane.hot.put_tokens

        def noted(records: Sequence[tuple[str, TokenRecord]]) -> None:
            records = list(records)
            self.sha256s += [sha256 for sha256, _ in records]
            put_tokens(records)

        monkeypatch.setattr(plane.hot, "put_tokens", noted)


@pytest.fixture
def tokens(plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch) -> list[IssuedToken]:
    """They were made long ago."""
    made = [plane.keys.create(alice, NewKey(scopes=(Scope.INFER,))) for _ in range(12)]
    plane.store._tokens.update_many({}, {"$set": {"changed_at": plane.store.clock().replace(year=2020)}})
    monkeypatch.setattr(limits, "PROJECTION_PAGE", 5)
    return made


@pytest.fixture
def writes(plane: ControlPlane, tokens: object, monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(plane, monkeypatch)


def test_f17_a_pass_writes_what_changed_and_one_page_of_the_rest(
    plane: ControlPlane, alice: Principal, tokens: list[IssuedToken], writes: Writes
) -> None:
    plane.reconciler.tick()
    assert len(set(writes.sha256s)) == 13, "everything the first time"
    writes.sha256s.clear()
    plane.store.change_token(tokens[0].token, tokens[0].token)  # by a call that died before it told
    plane.reconciler.tick()
    assert tokens[0].token.sha256 in writes.sha256s
    assert len(writes.sha256s) <= 1 + limits.PROJECTION_PAGE


@pytest.mark.parametrize("lost", ["everything", "the mark", "the mark's sense"])
def test_f02_a_hot_state_that_lost_its_mark_gets_everything(
    plane: ControlPlane, tokens: list[IssuedToken], writes: Writes, raw_redis: Any, lost: str
) -> None:
    plane.reconciler.tick()
    if lost == "everything":
        raw_redis.flushall()
    elif lost == "the mark":
        raw_redis.delete("mr:projected:tokens")
    else:
        raw_redis.set("mr:projected:tokens", "nonsense")
    writes.sha256s.clear()
    plane.reconciler.tick()
    assert {one.token.sha256 for one in tokens} <= set(writes.sha256s)


def test_a_flush_in_the_middle_of_a_pass_is_made_up_for_by_the_next(
    plane: ControlPlane, tokens: list[IssuedToken], raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.reconciler.tick()
    with monkeypatch.context() as patch:
        patch.setattr(plane.store, "tombstones_page", lambda *_: raw_redis.flushall() and ())
        plane.reconciler.tick()
    assert raw_redis.get("mr:projected") is None
    plane.reconciler.tick()
    assert all(plane.hot.token(one.token.sha256) for one in tokens)


def test_f07_an_entry_that_the_hot_state_lost_by_itself_comes_back(
    plane: ControlPlane, tokens: list[IssuedToken], raw_redis: Any
) -> None:
    plane.reconciler.tick()
    raw_redis.delete(f"mr:token:{tokens[3].token.sha256}")
    raw_redis.set(f"mr:token:{tokens[4].token.sha256}", b"\xffjunk")
    for _ in range(4):  # 13 tokens, 5 at a time, and around
        plane.reconciler.tick()
    assert all(plane.hot.token(one.token.sha256) for one in tokens)
