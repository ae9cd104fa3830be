"""Answers that are fetched later, in the hot state: one dispatch at a time, and one end."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.answers import AnswerView, Deferred, Head
from infra.local.embedded import EmbeddedServers

ASKED = Deferred("tenant", "0" * 64, "model", "req-1", "payload", {"X-Rocket-Form": "v2"}, version="2")
GOOD = Head(200, {"content-type": "application/json"}, 2)


@pytest.fixture
def host(servers: EmbeddedServers, raw_redis: Any) -> HotState:
    """As a host may use it."""
    return HotState.connect(servers.connections.redis_urls["host"], timeout_seconds=5)


def seen(hot: HotState, answer_id: str = "a") -> AnswerView:
    view = hot.answer(answer_id)
    assert view is not None
    return view


def test_a_pending_answer_knows_who_has_it(hot: HotState) -> None:
    assert hot.answer("a") is None
    hot.begin_answer("a", ASKED, claim="one")
    view = seen(hot)
    assert (view.asked, view.head, view.dispatched.host_id, view.dispatched.number) == (ASKED, None, "", 1)
    assert 0 <= view.now - view.begun < limits.ANSWER_ACCEPT_SECONDS_MAX
    hot.answer_taken("a", claim="one", number=1, host_id="h", boot_id="b")
    assert (seen(hot).dispatched.host_id, seen(hot).dispatched.boot_id) == ("h", "b")


def test_only_one_of_several_makes_the_next_dispatch(hot: HotState) -> None:
    hot.begin_answer("a", ASKED, claim="one")
    before = seen(hot).dispatched
    assert hot.claim_answer("a", before, claim="two", number=2)
    assert not hot.claim_answer("a", before, claim="three", number=2)
    hot.answer_taken("a", claim="one", number=1, host_id="late", boot_id="b")
    assert (seen(hot).dispatched.host_id, seen(hot).dispatched.number) == ("", 2)


def test_what_no_host_accepted_can_be_given_to_another_at_once(hot: HotState) -> None:
    hot.begin_answer("a", ASKED, claim="one")
    hot.answer_refused("a", claim="one", number=1)
    view = seen(hot)
    assert view.now - view.dispatched.at > limits.ANSWER_ACCEPT_SECONDS_MAX
    assert hot.claim_answer("a", view.dispatched, claim="two", number=1)
    assert seen(hot).now - seen(hot).dispatched.at < limits.ANSWER_ACCEPT_SECONDS_MAX


def test_the_first_to_end_it_ends_it_for_good(hot: HotState, host: HotState, raw_redis: Any) -> None:
    hot.begin_answer("a", ASKED, claim="one")
    assert host.finish_answer("a", GOOD, b"{}")
    assert not host.finish_answer("a", Head(500, {}, 1), b"x")
    assert not hot.claim_answer("a", seen(hot).dispatched, claim="two", number=2)
    hot.answer_taken("a", claim="one", number=1, host_id="h", boot_id="b")
    view = seen(hot)
    assert (view.head, view.body, view.dispatched.host_id) == (GOOD, b"{}", "")
    assert limits.ANSWER_KEPT_SECONDS - 60 < raw_redis.ttl("mr:answer:a") <= limits.ANSWER_KEPT_SECONDS


def test_an_answer_that_nobody_asked_for_is_not_kept(hot: HotState, host: HotState) -> None:
    assert not host.finish_answer("a", GOOD, b"{}")
    assert hot.answer("a") is None
    hot.begin_answer("a", ASKED, claim="one")
    hot.forget_answer("a")
    assert not host.finish_answer("a", GOOD, b"{}")


def test_a_pending_one_outlives_every_try(hot: HotState, raw_redis: Any) -> None:
    hot.begin_answer("a", ASKED, claim="one")
    assert raw_redis.ttl("mr:answer:a") > limits.ANSWER_DISPATCHES_MAX * limits.ANSWER_SECONDS_MAX


def test_one_in_so_many_seconds_sweeps(hot: HotState, raw_redis: Any) -> None:
    assert [hot.sweep_due(every=600) for _ in range(3)] == [True, False, False]
    assert 0 < raw_redis.ttl("mr:swept") <= 600
