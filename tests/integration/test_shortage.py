"""Requests and jobs that find no host: who is told what, over the real stores; hosts are played."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chalicelib.answers import Accepted, Answers
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import NoCapacity
from chalicelib.contract.hotstate import CapacityStatus, HotState
from chalicelib.contract.limits import BOOT_SECONDS_DEFAULT
from chalicelib.contract.messages import HostState, PrepareJob
from chalicelib.ports import HostReply
from chalicelib.routing import InferenceCall
from chalicelib.wiring import ControlPlane, new_id
from tests.support.played import INPUTS, World
from tests.unit.test_choice import host

PROMISE = HostReply(202, json.dumps({"host_id": "a", "boot_id": "boot-a"}).encode(), {})


@pytest.fixture
def world(plane: ControlPlane, alice: Principal) -> World:
    return World(plane, alice)


def refused(world: World) -> float:
    """When its caller is to come back."""
    with pytest.raises(NoCapacity) as raised:
        world.infer()
    assert raised.value.retry_after is not None
    return raised.value.retry_after


def test_f33_a_request_without_any_host_is_demand_and_wakes_the_coordinator(world: World) -> None:
    hot = world.plane.hot
    assert refused(world) == refused(world) == 2  # nobody starts hosts here
    assert hot.demand_since(0).unmet == {world.version.model_id: 2}
    assert hot.wait_for_wake(0.1) and not hot.wait_for_wake(0.1)


def test_f33_its_caller_is_told_how_long_a_host_takes_to_come_and_to_load(
    world: World, raw_redis: Any
) -> None:
    hot = world.plane.hot
    passport = world.version.passport
    assert passport is not None
    load = max(passport.load_cold_ms, passport.load_ms) / 1000
    hot.put_capacity_status(CapacityStatus())
    assert refused(world) == BOOT_SECONDS_DEFAULT + load

    began = raw_redis.time()[0] - 30
    raw_redis.set("mr:capacity:boot", json.dumps({"seconds": 40, "began": began, "ready": 0}))
    assert load < refused(world) <= 10 + load


def test_a_draining_host_is_none(world: World) -> None:
    world.add_host("a", lambda _: PROMISE, host_state=HostState.DRAINING)
    assert refused(world)
    assert world.asked() == []


def test_an_answer_that_is_fetched_later_waits_for_a_host(world: World) -> None:
    plane, answers = world.plane, answers_of(world)
    accepted = answers.accept(deferred(world))
    assert isinstance(accepted, Accepted)
    assert answers.fetch(authorization(world), accepted.answer_id) is None

    world.add_host("a", lambda _: PROMISE)
    assert answers.fetch(authorization(world), accepted.answer_id) is None
    view = plane.hot.answer(accepted.answer_id)

    assert world.asked() == ["a"]
    assert view is not None and (view.dispatched.host_id, view.dispatched.number) == ("a", 1)
    assert plane.hot.demand_since(0).unmet == {world.version.model_id: 2}


def test_f74_not_any_number_of_requests_waits_for_a_host(
    world: World, raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ANSWERS_WAITING_MAX", 2)
    answers = answers_of(world)
    for _ in range(2):
        assert isinstance(answers.accept(deferred(world)), Accepted)
    with pytest.raises(NoCapacity):
        answers.accept(deferred(world))
    assert len(raw_redis.keys("mr:answer:*")) == 2
    assert raw_redis.ttl(f"mr:waiting:{world.version.tenant}") > 0

    world.add_host("a", lambda _: PROMISE)
    assert isinstance(answers.accept(deferred(world)), Accepted)


def answers_of(world: World) -> Answers:
    plane = world.plane
    return Answers(hot=plane.hot, router=world.router, payloads=plane.payloads, new_id=new_id)


def authorization(world: World) -> str:
    return f"Bearer {world.issued.plain}"


def deferred(world: World) -> InferenceCall:
    body = {"model": world.version.model_id, "inputs": json.loads(INPUTS)}
    return InferenceCall(json.dumps(body).encode(), authorization(world), "req-1", 25.0)


@pytest.mark.parametrize(
    ("state", "woken"),
    [
        pytest.param(None, True, id="no host"),
        pytest.param(HostState.LAUNCHING, True, id="one that starts"),
        pytest.param(HostState.DRAINING, True, id="one that leaves"),
        pytest.param(HostState.READY, False, id="one that takes it"),
    ],
)
def test_a_job_that_no_host_would_take_wakes_the_coordinator(
    hot: HotState, state: HostState | None, woken: bool
) -> None:
    if state is not None:
        hot.beat(msgspec.structs.replace(host("a"), state=state))
    job = PrepareJob(new_id(), new_id(), "tenant", 1, "00", 1, "key")
    assert hot.enqueue(job)
    assert hot.wait_for_wake(0.1) is woken
