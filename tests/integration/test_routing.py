"""From a caller's request to a host's answer, over the real stores; the hosts are played."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.answers import Accepted, Answers
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.choice import chosen
from chalicelib.contract.errors import (
    Conflict,
    DeadlineExceeded,
    DependencyFailed,
    InvalidModel,
    InvalidRequest,
    ModelRocketError,
    NoCapacity,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
)
from chalicelib.contract.hotstate.admission import Admissions
from chalicelib.contract.limiting import AccountLimits, Rate
from chalicelib.contract.messages import Heartbeat, HostState, Replica, ReplicaState
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.tokens import Ticket, new_token, read_ticket
from chalicelib.keys import NewKey
from chalicelib.ports import HostReply
from chalicelib.routing import Clocks, InferenceAnswer, InferenceCall, OpenInference
from chalicelib.traffic import ChangeTraffic
from chalicelib.wiring import ControlPlane, new_id
from tests.integration.test_traffic import waiting
from tests.support.coordinating import assign
from tests.support.played import (
    DATA,
    INPUTS,
    Play,
    World,
    answers,
    goes_away,
    hangs,
    router_over,
    says,
)
from tests.support.uploads import deployed, uploaded
from tests.support.waiting import wait_for


def measured(world: World, raw_redis: Any, **seconds: float) -> None:
    """What hosts took for the model's requests lately, by host id."""
    now = raw_redis.time()[0]
    for host_id, taken in seconds.items():
        key = f"mr:latency:{world.version.model_id}"
        raw_redis.hset(key, f"{world.version.id}/{host_id}", f"{taken:.6f}/{now}.000000")


@pytest.fixture
def world(plane: ControlPlane, alice: Principal) -> World:
    return World(plane, alice)


def test_a_request_reaches_a_ready_host_with_its_inputs_untouched(world: World) -> None:
    world.add_host("cold", answers, state=None)
    world.add_host("warm", answers)
    answer = world.infer()
    assert answer.reply.body == b'{"result": "from warm"}'
    assert (answer.version, answer.tries) == (1, 1)
    [(_, body, headers)] = world.hosts.asked
    assert json.loads(body) == json.loads(INPUTS)
    ticket = read_ticket(headers["X-Rocket-Ticket"], b"k" * 32)
    assert ticket
    assert (ticket.request_id, ticket.version_id, ticket.boot_id) == ("req-1", world.version.id, "boot-warm")
    assert 0 < ticket.deadline_ms / 1000 - time.time() <= 25


def test_the_token_never_reaches_a_host(world: World) -> None:
    world.add_host("a", answers)
    world.infer()
    world.infer(token=None, authorization=f"Bearer {world.issued.plain}")
    assert len(world.hosts.asked) == 2
    assert world.issued.plain not in str(world.hosts.asked)


@pytest.mark.parametrize("play", [goes_away, hangs, says(503), says(421)])
def test_f27_a_host_that_does_not_answer_is_followed_by_another(
    world: World, raw_redis: Any, play: Play
) -> None:
    world.add_host("a", play)
    world.add_host("b", answers)
    measured(world, raw_redis, a=0.000_001)
    answer = world.infer()
    assert (answer.reply.body, answer.tries) == (b'{"result": "from b"}', 2)
    assert world.asked() == ["a", "b"]


@pytest.mark.parametrize("status", [200, 422, 500])
def test_an_answer_of_the_model_is_final(world: World, status: int) -> None:
    world.add_host("a", says(status))
    world.add_host("b", says(status))
    assert world.infer().reply.status == status
    assert len(world.asked()) == 1


def test_at_most_two_hosts_are_asked(world: World) -> None:
    for name in "abcd":
        world.add_host(name, goes_away)
    with pytest.raises(DependencyFailed) as raised:
        world.infer()
    assert raised.value.retryable
    assert len(set(world.asked())) == 2


def test_the_hosts_own_reason_is_passed_on_when_all_refuse(world: World) -> None:
    world.add_host("a", says(503))
    answer = world.infer()
    assert (answer.reply.status, answer.reply.headers["retry-after"]) == (503, "3")


def test_f33_without_any_host_the_answer_comes_at_once(world: World) -> None:
    with pytest.raises(NoCapacity) as raised:
        world.infer()
    assert raised.value.retry_after


def test_a_silent_only_host_ends_in_a_deadline(world: World) -> None:
    world.add_host("a", hangs)
    with pytest.raises(DeadlineExceeded):
        world.infer()


def test_a_deadline_already_over_asks_nobody(world: World) -> None:
    world.add_host("a", answers)
    with pytest.raises(DeadlineExceeded):
        world.infer(deadline=0)
    assert world.asked() == []


def test_a_host_outside_the_network_is_never_spoken_to(world: World) -> None:
    world.add_host("a", answers, address="169.254.169.254")
    world.add_host("b", answers, address="evil.example")
    world.add_host("c", answers, address="::ffff:10.0.0.1")
    with pytest.raises(NoCapacity):
        world.infer()
    assert world.asked() == []


def test_a_draining_host_gets_nothing_new(world: World) -> None:
    world.add_host("a", answers, host_state=HostState.DRAINING)
    world.add_host("b", answers, state=None)
    assert [world.infer().reply.body for _ in range(4)] == [b'{"result": "from b"}'] * 4


def test_f02_a_flushed_redis_turns_no_valid_token_away(world: World, raw_redis: Any) -> None:
    raw_redis.flushall()
    world.add_host("a", answers)
    assert world.infer().reply.status == 200
    assert world.plane.hot.token(world.issued.token.sha256) is not None


def test_f01_a_redis_that_is_away_is_503_and_never_401(world: World) -> None:
    world.router = router_over(world.plane, world.hosts, redis_url="redis://127.0.0.1:9/0")
    with pytest.raises(DependencyFailed):
        world.infer()


def test_unknown_tokens_cannot_flood_the_truth(world: World) -> None:
    stands_still = Clocks(monotonic=lambda: 1.0, unix=lambda: 1.0)
    world.router = router_over(world.plane, world.hosts, clocks=stands_still)
    codes = []
    for _ in range(limits.TOKEN_READ_THROUGH_PER_SECOND + 5):
        with pytest.raises(ModelRocketError) as raised:
            world.infer(token=new_token())
        codes.append(raised.value.code)
    allowed = limits.TOKEN_READ_THROUGH_PER_SECOND
    assert codes == ["unauthenticated"] * allowed + ["dependency"] * 5


def test_a_token_is_for_its_own_model(world: World, alice: Principal) -> None:
    other = deployed(world.plane, alice, DATA, name="other")
    with pytest.raises(PermissionDenied):
        world.infer(model=other.model_id)


def test_another_tenants_model_and_a_missing_one_look_the_same(world: World, mallory: Principal) -> None:
    foreign = deployed(world.plane, mallory, DATA)
    seen = []
    for model_id in (foreign.model_id, "00000000-0000-4000-8000-000000000000", "../../x", "x" * 1000, ""):
        with pytest.raises(NotFound) as raised:
            world.infer(model=model_id)
        seen.append(raised.value.body("r"))
    assert all(one == seen[0] for one in seen)


def test_an_api_key_may_infer_all_models_of_its_account(world: World) -> None:
    key = new_token()
    world.plane.keys.ensure_api_key("alice", key)
    world.add_host("a", answers)
    assert world.infer(token=key).reply.status == 200


def test_a_quarantined_version_is_refused_before_any_host_is_asked(world: World) -> None:
    world.add_host("a", answers)
    world.plane.hot.quarantine(world.version.model_id, world.version.id, seconds=60)
    with pytest.raises(InvalidModel, match="quarantined") as raised:
        world.infer()
    assert not raised.value.retryable
    assert world.asked() == []


def test_a_model_without_a_ready_version_says_so(world: World, alice: Principal) -> None:
    waiting = uploaded(world.plane, alice, DATA, name="waiting")
    token = world.plane.keys.create(alice, NewKey(model_id=waiting.model_id)).plain
    with pytest.raises(Conflict, match="No version of this model is ready"):
        world.infer(model=waiting.model_id, token=token)


@pytest.mark.parametrize("token", [None, "", "password", "mr_" + "a" * 36, new_token])
def test_a_bad_token_is_refused(world: World, token: Any) -> None:
    with pytest.raises(Unauthenticated):
        world.infer(token=token() if callable(token) else token)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", InvalidRequest),
        (b"not json", InvalidRequest),
        (b"[]", InvalidRequest),
        (b'{"inputs": {}}', InvalidRequest),
        (b'{"model": "m"}', InvalidRequest),
        (b'{"model": 5, "inputs": {}}', InvalidRequest),
        (b'{"model": "m", "inputs": {}, "token": "\xff"}', InvalidRequest),
        (b'{"model": "m", "inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", InvalidRequest),
        (b" " * 4_400_001, PayloadTooLarge),
    ],
)
def test_f71_a_body_that_is_no_request_is_refused(world: World, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        world.router.infer(InferenceCall(body, None, "req-1", 25.0))
    assert world.asked() == []


class Canary(World):
    """Version 2 on trial beside version 1."""

    def __init__(
        self, plane: ControlPlane, owner: Principal, *, percent: int, mirror_percent: int = 0
    ) -> None:
        super().__init__(plane, owner)
        self.second = waiting(plane, owner, DATA + b"2")
        request = ChangeTraffic(version=2, percent=percent, mirror_percent=mirror_percent)
        self.trial = plane.traffic.change(owner, self.version.model_id, request).model.candidate

    def answer(self, key: str, *, sticky: str | None = None) -> InferenceAnswer:
        body = {"token": self.issued.plain, "model": self.version.model_id, "inputs": json.loads(INPUTS)}
        return self.router.infer(InferenceCall(json.dumps(body).encode(), None, key, 25.0, sticky))

    def one_of_its_callers(self) -> str:
        """A sticky key of the candidate's share."""
        model = self.plane.hot.model(self.version.model_id)
        assert model
        return next(
            key for key in map(str, range(10_000)) if chosen(model, sticky=key, request_id="") != model.active
        )

    def tickets(self) -> list[Ticket]:
        read = [read_ticket(headers["X-Rocket-Ticket"], b"k" * 32) for _, _, headers in self.hosts.asked]
        assert all(read)
        return [ticket for ticket in read if ticket]


def test_a_candidate_answers_its_share_of_requests_and_says_so(plane: ControlPlane, alice: Principal) -> None:
    world = Canary(plane, alice, percent=30)
    world.add_host("a", answers)
    versions = [world.answer(f"request-{number}").version for number in range(200)]
    assert 20 <= versions.count(2) <= 100
    ids = {1: world.version.id, 2: world.second.id}
    assert [ticket.version_id for ticket in world.tickets()] == [ids[version] for version in versions]
    assert world.trial
    assert {ticket.trial for ticket in world.tickets()} == {world.trial.trial}
    assert {ticket.mirror_version_id for ticket in world.tickets()} == {""}


def test_a_caller_with_a_sticky_key_stays_with_its_version(plane: ControlPlane, alice: Principal) -> None:
    world = Canary(plane, alice, percent=50)
    world.add_host("a", answers)
    callers = [f"caller {number}" for number in range(40)]
    for caller in callers[:8]:
        assert len({world.answer(f"request-{n}", sticky=caller).version for n in range(5)}) == 1
    assert {world.answer("request", sticky=caller).version for caller in callers} == {1, 2}


def test_a_shadow_answers_nobody_and_the_host_is_told_to_compare(
    plane: ControlPlane, alice: Principal
) -> None:
    world = Canary(plane, alice, percent=0, mirror_percent=100)
    world.add_host("a", answers)
    assert {world.answer(f"request-{number}").version for number in range(20)} == {1}
    assert {(one.version_id, one.mirror_version_id) for one in world.tickets()} == {
        (world.version.id, world.second.id)
    }
    assert world.trial
    assert {one.drift_tolerance for one in world.tickets()} == {world.trial.limits.drift_tolerance}


def test_a_model_without_a_candidate_is_neither_counted_nor_compared(world: World) -> None:
    world.add_host("a", answers)
    world.infer()
    [(_, _, headers)] = world.hosts.asked
    ticket = read_ticket(headers["X-Rocket-Ticket"], b"k" * 32)
    assert ticket
    assert (ticket.trial, ticket.mirror_version_id) == (0, "")


def test_a_quarantined_candidate_is_answered_for_by_the_active_version(
    plane: ControlPlane, alice: Principal
) -> None:
    world = Canary(plane, alice, percent=99)
    world.add_host("a", answers)
    world.plane.hot.quarantine(world.version.model_id, world.second.id, seconds=60)
    assert {world.answer(f"request-{number}").version for number in range(10)} == {1}


def test_a_quarantined_active_version_leaves_the_candidate_its_callers(
    plane: ControlPlane, alice: Principal
) -> None:
    world = Canary(plane, alice, percent=99)
    world.add_host("a", answers)
    world.plane.hot.quarantine(world.version.model_id, world.version.id, seconds=60)
    assert world.answer("request-1", sticky=world.one_of_its_callers()).version == 2


def test_an_error_of_the_candidate_is_its_answer(plane: ControlPlane, alice: Principal) -> None:
    world = Canary(plane, alice, percent=99)
    world.add_host("a", says(500))
    world.add_host("b", says(500))
    answer = world.answer("request-1", sticky=world.one_of_its_callers())
    assert (answer.reply.status, answer.version, answer.tries) == (500, 2, 1)


@pytest.mark.parametrize("play", [goes_away, hangs, says(503), says(421)])
def test_where_no_host_runs_the_candidate_the_active_version_answers(
    plane: ControlPlane, alice: Principal, play: Play
) -> None:
    world = Canary(plane, alice, percent=99)
    replica = Replica("new", "boot-new", ReplicaState.READY)
    world.add_host("new", play, state=None)
    plane.hot.put_replica(world.version.model_id, world.second.id, replica)
    world.add_host("old", answers)
    answer = world.answer("request-1", sticky=world.one_of_its_callers())
    assert (answer.reply.body, answer.version, answer.tries) == (b'{"result": "from old"}', 1, 2)
    assert [ticket.version_id for ticket in world.tickets()] == [world.second.id, world.version.id]


@pytest.mark.parametrize("play", [goes_away, says(503)])
def test_a_version_that_was_asked_for_by_its_number_is_not_replaced(
    plane: ControlPlane, alice: Principal, play: Play
) -> None:
    world = Canary(plane, alice, percent=1)
    world.add_host("a", play)
    world.add_host("b", play)
    asked = OpenInference(ModelPath(world.version.model_id, "2"), "2")
    call = InferenceCall(b"{}", f"Bearer {world.issued.plain}", "req-1", 25.0, open_inference=asked)
    with contextlib.suppress(DependencyFailed):
        assert world.router.infer(call).version == 2
    assert [ticket.version_id for ticket in world.tickets()] == [world.second.id] * 2
    said = ("X-Rocket-Form", "Inference-Header-Content-Length")
    assert [tuple(map(headers.get, said)) for _, _, headers in world.hosts.asked] == [("v2", "2")] * 2


def test_a_deleted_model_is_not_found(world: World, alice: Principal) -> None:
    world.add_host("a", answers)
    assert world.infer().reply.status == 200
    world.plane.deletion.delete_model(alice, world.version.model_id)
    with pytest.raises(NotFound):
        world.infer()


def test_a_deleted_model_is_not_found_either_after_a_flush(
    world: World, alice: Principal, raw_redis: Any
) -> None:
    world.plane.deletion.delete_model(alice, world.version.model_id)
    raw_redis.flushall()
    with pytest.raises(NotFound):
        world.infer()


def test_f02_a_flushed_redis_does_not_forget_the_candidate(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    world = Canary(plane, alice, percent=99)
    caller = world.one_of_its_callers()
    raw_redis.flushall()
    world.add_host("a", answers)
    assert world.answer("request-1", sticky=caller).version == 2


# How long a host is waited for, and whether another is asked.


def test_a_ready_host_has_a_second_and_a_cold_one_its_load(world: World, raw_redis: Any) -> None:
    world.add_host("a", answers)
    world.add_host("b", answers)
    measured(world, raw_redis, a=0.01, b=0.01)
    world.infer()
    assert world.hosts.timeouts[-1] == pytest.approx(1, abs=0.01)
    measured(world, raw_redis, a=2.0, b=2.0)
    world.infer()
    assert world.hosts.timeouts[-1] == pytest.approx(6, abs=1), "three times what is usual there"
    world.infer(deadline=2.0)
    assert world.hosts.timeouts[-1] == pytest.approx(1, abs=0.1), "a second is left for another try"


def test_a_cold_host_is_given_its_load(world: World) -> None:
    world.add_host("a", answers, state=None)
    world.add_host("b", answers, state=None)
    world.infer()
    assert 5 <= world.hosts.timeouts[-1] < 20


def test_many_rows_are_given_the_time_of_many_rows(world: World, raw_redis: Any) -> None:
    world.add_host("a", answers)
    world.add_host("b", answers)
    measured(world, raw_redis, a=0.001, b=0.001)
    rows = world.version.passport.run_ms / 1000 if world.version.passport else 0
    world.infer(inputs={"modelInput": [[0.5] * 4] * 20_000})
    few, many = 1.0, 20_000 * rows
    assert world.hosts.timeouts[-1] >= min(23, max(few, many))


def test_where_there_is_one_host_it_has_all_the_time(world: World) -> None:
    world.add_host("a", answers)
    world.infer(deadline=12)
    assert world.hosts.timeouts[-1] == pytest.approx(12, abs=1)


def test_f63_a_host_that_is_loading_is_not_followed_by_another(world: World) -> None:
    """It would only load the model once more."""
    world.add_host("a", says(503, "model_loading"))
    world.add_host("b", says(503, "model_loading"), state=None)
    answer = world.infer()
    assert (answer.reply.status, answer.reply.headers["retry-after"], answer.tries) == (503, "3", 1)
    assert world.asked() == ["a"]


def test_s10_retries_end_with_their_budget(world: World) -> None:
    world.add_host("a", says(503))
    world.add_host("b", says(503))
    for _ in range(40):
        assert world.infer().reply.status == 503
    floor = limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS
    assert len(world.asked()) == 40 + floor


def test_s10_where_no_other_may_be_asked_the_first_has_all_the_time(world: World) -> None:
    world.add_host("a", says(503))
    world.add_host("b", says(503))
    world.infer(deadline=12)
    assert world.hosts.timeouts[0] < 10
    for _ in range(40):
        world.infer()
    world.infer(deadline=12)
    assert world.hosts.timeouts[-1] == pytest.approx(12, abs=1)


def test_f27_where_no_other_host_has_the_model_the_fleet_is_looked_at_again(world: World) -> None:
    world.add_host("a", goes_away)
    world.add_host("b", answers, state=None)
    assert world.infer().reply.body == b'{"result": "from b"}'
    assert world.asked() == ["a", "b"]


def test_f43_a_broken_line_to_the_only_host_is_tried_once_more(world: World) -> None:
    plays = [goes_away, answers]

    def play(one: Heartbeat) -> HostReply:
        return plays.pop(0)(one)

    world.add_host("a", play)
    assert (world.infer().reply.status, world.asked()) == (200, ["a", "a"])


def test_f37_a_host_under_a_new_boot_id_is_looked_up_again(world: World) -> None:
    def moved(one: Heartbeat) -> HostReply:
        if one.boot_id != "boot-later":
            world.add_host("a", moved, boot_id="boot-later")
            return says(421)(one)
        return answers(one)

    world.add_host("a", moved)
    assert (world.infer().reply.status, world.asked()) == (200, ["a", "a"])


def test_f40_a_host_that_does_not_answer_us_is_left_alone_though_redis_says_it_is_well(
    world: World, raw_redis: Any
) -> None:
    world.add_host("a", goes_away)
    world.add_host("b", answers)
    measured(world, raw_redis, a=0.000_001)
    assert {world.infer().reply.status for _ in range(20)} == {200}
    assert world.asked().count("a") == limits.EJECTION_CONNECT_ERRORS


def test_a_host_that_fails_by_its_own_fault_is_left_alone_and_for_a_models_fault_is_not(
    world: World, raw_redis: Any
) -> None:
    world.add_host("a", says(500, "internal"))
    world.add_host("b", answers)
    measured(world, raw_redis, a=0.000_001)
    for _ in range(20):
        world.infer()
    assert world.asked().count("a") == limits.EJECTION_HOST_ERRORS
    world.add_host("a", says(500, "inference_failed"))
    world.add_host("b", says(500, "inference_failed"))
    world.router = router_over(world.plane, world.hosts)
    before = world.asked().count("a")
    for _ in range(20):
        assert world.infer().reply.status == 500
    assert world.asked().count("a") == before + 20


# Who is asked.


def test_a_cold_model_wakes_the_host_that_has_its_file(world: World) -> None:
    for name in "abcd":
        world.add_host(name, answers, state=None)
    world.add_host("c", answers, state=ReplicaState.STORED)
    assert [world.infer().reply.body for _ in range(5)] == [b'{"result": "from c"}'] * 5


def test_a_cold_model_wakes_the_host_it_is_assigned_to(world: World) -> None:
    for name in "abcd":
        world.add_host(name, answers, state=None)
    assign(world.plane.hot, "d", [world.version.id])
    assert [world.infer().reply.body for _ in range(5)] == [b'{"result": "from d"}'] * 5


def test_f30_a_host_three_times_slower_gets_less_than_a_third(world: World) -> None:
    """Sixteen callers at once, for as long as it takes to see."""

    def takes(seconds: float) -> Play:
        def play(one: Heartbeat) -> HostReply:
            time.sleep(seconds)
            return answers(one)

        return play

    world.add_host("a", takes(0.09))
    world.add_host("b", takes(0.03))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: world.infer(), range(200)))
        world.hosts.asked.clear()
        list(pool.map(lambda _: world.infer(), range(200)))
    assert world.asked().count("a") <= 200 / 3


# Limits.


def test_f74_who_asks_too_often_hears_when_to_come_back(world: World) -> None:
    world.add_host("a", answers)
    account = AccountLimits(Rate(0.5, 3), 256)
    world.router = router_over(world.plane, world.hosts, account=account)
    statuses = [world.infer().reply.status for _ in range(3)]
    with pytest.raises(RateLimited) as raised:
        world.infer()
    assert (statuses, raised.value.status, raised.value.details["limit"]) == ([200] * 3, 429, "account")
    assert raised.value.retry_after
    assert raised.value.headers("r")["Retry-After"] == "2"


def test_f74_one_account_does_not_use_up_anothers(world: World, mallory: Principal) -> None:
    greedy = World(world.plane, mallory, account=AccountLimits(Rate(0.001, 5), 256))
    for one in (world, greedy):
        one.add_host("a", answers)
    for _ in range(50):
        with contextlib.suppress(RateLimited):
            greedy.infer()
    assert len(greedy.asked()) == 5
    assert world.infer().reply.status == 200


def test_an_account_has_only_so_many_requests_under_way(world: World) -> None:
    begun, over = threading.Semaphore(0), threading.Event()

    def waits(one: Heartbeat) -> HostReply:
        begun.release()
        over.wait(30)
        return answers(one)

    world.add_host("a", waits)
    world.router = router_over(world.plane, world.hosts, account=AccountLimits(Rate(1_000, 2_000), 2))
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(world.infer) for _ in range(2)]
        for _ in running:
            begun.acquire()
        with pytest.raises(RateLimited) as raised:
            world.infer()
        over.set()
        assert [one.result().reply.status for one in running] == [200, 200]
    assert raised.value.details["limit"] == "concurrency"
    assert world.infer().reply.status == 200


@pytest.mark.parametrize(
    "request_of", [{"model": "00000000-0000-4000-8000-000000000000"}, {"deadline": 0}, {}], ids=str
)
def test_f10_whatever_becomes_of_a_request_nothing_of_it_goes_on_running(
    world: World, raw_redis: Any, request_of: dict[str, Any]
) -> None:
    world.add_host("a", goes_away)
    with pytest.raises(ModelRocketError):
        world.infer(**request_of)
    wait_for(
        lambda: not raw_redis.keys("mr:running:*") and not raw_redis.keys("mr:leases:*"),
        what="the leases to be given back",
    )


def test_f02_however_many_ask_the_truth_is_read_once(world: World, raw_redis: Any) -> None:
    world.add_host("a", answers)
    raw_redis.delete(f"mr:token:{world.issued.token.sha256}", f"mr:model:{world.version.model_id}")
    reads = []
    store = world.plane.store
    real = store.token

    def slowly(sha256: str) -> Any:
        reads.append(sha256)
        time.sleep(0.3)
        return real(sha256)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(12) as pool:
        patch.setattr(store, "token", slowly)
        statuses = list(pool.map(lambda _: world.infer().reply.status, range(12)))
    assert (statuses, len(reads)) == ([200] * 12, 1)


def test_where_all_that_are_ready_are_left_alone_a_cold_host_answers(world: World) -> None:
    for name in "ab":
        world.add_host(name, goes_away)
    for name in "cde":
        world.add_host(name, answers, state=ReplicaState.STORED)
    for _ in range(2):
        with pytest.raises(DependencyFailed):
            world.infer()
    assert world.infer().reply.status == 200


def test_where_those_with_the_model_may_not_be_asked_the_fleet_is(world: World) -> None:
    world.add_host("elsewhere", answers, address="10.9.9.9")
    world.add_host("b", answers, state=None)
    assert world.infer().reply.body == b'{"result": "from b"}'


def test_s10_where_nobody_else_could_be_asked_nothing_is_taken_from_the_budget(world: World) -> None:
    world.add_host("a", says(503))
    for _ in range(limits.RETRIES_PER_SECOND_MIN * limits.RETRY_WINDOW_SECONDS + 10):
        assert world.infer().reply.status == 503
    plays = [goes_away, answers]

    def play(one: Heartbeat) -> HostReply:
        return plays.pop(0)(one)

    world.add_host("a", play)
    assert world.infer().reply.status == 200


def test_another_accounts_callers_in_a_hurry_eject_no_host(
    world: World, mallory: Principal, raw_redis: Any
) -> None:
    slow = World(world.plane, mallory)
    slow.router, slow.hosts = world.router, world.hosts
    for one in (slow, world):
        one.add_host("a", hangs)
        one.add_host("b", answers)
        measured(one, raw_redis, a=0.000_001)
    for _ in range(10):
        with contextlib.suppress(DeadlineExceeded):
            slow.infer(deadline=0.02)
    world.add_host("a", answers)
    world.hosts.asked.clear()
    assert world.infer().reply.body == b'{"result": "from a"}'


def test_f07_what_a_host_says_of_itself_and_is_no_number_is_not_counted(world: World, raw_redis: Any) -> None:
    def boasts(_: Heartbeat) -> HostReply:
        headers = {
            "x-rows": "9" * 5_000,
            "x-batch-rows": "1",
            "server-timing": "run;dur=" + "9" * 400,
        }
        return HostReply(200, b"{}", headers)

    world.add_host("a", boasts)
    assert world.infer().reply.status == 200
    wait_for(lambda: not raw_redis.keys("mr:running:*"), what="the lease to be given back")


def test_a_later_try_holds_its_host_from_when_it_begins(world: World, raw_redis: Any) -> None:
    """Not from when its request came: a heartbeat would take it for a lost one."""
    ahead = [0.0]
    clocks = Clocks(monotonic=lambda: time.monotonic() + ahead[0], unix=time.time)
    world.router = router_over(world.plane, world.hosts, clocks=clocks)
    scores: list[float] = []

    def late(one: Heartbeat) -> HostReply:
        ahead[0] += 10
        return hangs(one)

    def looks(one: Heartbeat) -> HostReply:
        wait_for(lambda: raw_redis.zcard("mr:leases:b"), what="the lease")
        scores.extend(score for _, score in raw_redis.zrange("mr:leases:b", 0, -1, withscores=True))
        return answers(one)

    world.add_host("a", late)
    world.add_host("b", looks)
    measured(world, raw_redis, a=0.000_001)
    now = raw_redis.time()[0]
    assert world.infer().tries == 2
    assert [9 < score - now < 12 for score in scores] == [True]


def test_an_answer_that_is_fetched_later_is_paid_for_once(world: World, alice: Principal) -> None:
    def promises(one: Heartbeat) -> HostReply:
        return HostReply(202, json.dumps({"host_id": one.host_id, "boot_id": one.boot_id}).encode())

    world.add_host("a", promises)
    key = world.plane.keys.create(alice, NewKey(model_id=world.version.model_id, requests_per_second=1)).plain
    answers = Answers(hot=world.plane.hot, router=world.router, payloads=world.plane.payloads, new_id=new_id)
    body = {"model": world.version.model_id, "inputs": json.loads(INPUTS), "padding": "x" * 600_000}
    call = InferenceCall(json.dumps(body).encode(), f"Bearer {key}", "req-1", 25.0)
    assert isinstance(answers.accept(call), Accepted)
    with pytest.raises(RateLimited):
        answers.accept(call)


def test_a_key_of_few_requests_may_run_a_model_that_the_hot_state_has_lost(
    world: World, alice: Principal, raw_redis: Any
) -> None:
    world.add_host("a", answers)
    key = world.plane.keys.create(alice, NewKey(model_id=world.version.model_id, requests_per_second=1)).plain
    raw_redis.delete(f"mr:model:{world.version.model_id}")
    assert world.infer(token=key, padding="x" * 600_000).reply.status == 200
    raw_redis.delete(f"mr:model:{world.version.model_id}")
    with pytest.raises(RateLimited):
        world.infer(token=key)
    wait_for(lambda: not raw_redis.keys("mr:running:*"), what="the lease to be given back")


def test_a_token_that_was_revoked_while_its_request_waited_is_not_remembered(
    world: World, alice: Principal
) -> None:
    """The hot state goes away right after it was refused."""
    ahead = [0.0]
    clocks = Clocks(monotonic=lambda: time.monotonic() + ahead[0], unix=time.time)
    admissions = Admissions(
        world.plane.settings.redis_url, account=world.plane.settings.account_limits, clock=clocks.monotonic
    )
    world.router = router_over(world.plane, world.hosts, clocks=clocks, admissions=admissions)

    def waits(one: Heartbeat) -> HostReply:
        ahead[0] += limits.CHECKED_AGAIN_SECONDS + 1
        world.plane.keys.revoke(alice, world.issued.token.id)
        return answers(one)

    world.add_host("a", waits)
    with pytest.raises(Unauthenticated):
        world.infer()
    for _ in range(limits.HOT_MISSES_MAX):
        admissions._wires.breaker.missed(now=clocks.monotonic())
    with pytest.raises(DependencyFailed):
        world.infer()
