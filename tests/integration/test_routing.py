"""From a caller's request to a host's answer, over the real stores; the hosts are played."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chalicelib.auth import IssuedToken, Principal
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
    Unauthenticated,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, HostState, Replica, ReplicaState
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.tokens import Ticket, new_token, read_ticket
from chalicelib.ports import HostReply, HostUnreachable
from chalicelib.records import Version
from chalicelib.routing import Clocks, Dispatching, InferenceAnswer, InferenceCall, OpenInference, Router
from chalicelib.traffic import ChangeTraffic
from chalicelib.wiring import ControlPlane
from tests.integration.test_traffic import waiting
from tests.support.uploads import deployed, uploaded
from tests.unit.test_choice import host

DATA = b"model bytes" * 100
INPUTS = '{"modelInput": [[1, 2, 3, 4]]}'
Play = Callable[[Heartbeat], HostReply]


class PlayedHosts:
    """Hosts whose answers the test writes; remembers who was asked what."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        self.asked.append((host.host_id, body, headers))
        return self.plays[host.host_id](host)


def answers(host: Heartbeat) -> HostReply:
    return HostReply(200, b'{"result": "from %s"}' % host.host_id.encode())


def goes_away(_: Heartbeat) -> HostReply:
    raise HostUnreachable("reset", timed_out=False)


def hangs(_: Heartbeat) -> HostReply:
    raise HostUnreachable("silent", timed_out=True)


def says(status: int) -> Play:
    return lambda _: HostReply(status, b'{"error": {"code": "x"}}', {"retry-after": "3"})


class World:
    """A deployed model, its token, and hosts to route to."""

    def __init__(self, plane: ControlPlane, owner: Principal) -> None:
        self.plane = plane
        self.hosts = PlayedHosts()
        self.version: Version = deployed(plane, owner, DATA)
        self.issued: IssuedToken = plane.auth.issue_model_token(owner, self.version.model_id, name="")
        self.router = self.router_with(plane.hot)

    def router_with(self, hot: HotState, *, clocks: Clocks | None = None) -> Router:
        return Router(
            store=self.plane.store,
            hot=hot,
            hosts=self.hosts,
            clocks=clocks or Clocks(monotonic=time.monotonic, unix=time.time),
            dispatching=Dispatching(key=b"k" * 32, network=self.plane.settings.host_network),
            generator=random.Random(0),
        )

    def add_host(self, host_id: str, play: Play, *, ready: bool = True, **changed: Any) -> None:
        self.hosts.plays[host_id] = play
        self.plane.hot.beat(msgspec.structs.replace(host(host_id), **changed))
        if ready:
            replica = Replica(host_id, f"boot-{host_id}", ReplicaState.READY)
            self.plane.hot.put_replica(self.version.model_id, self.version.id, replica)

    def infer(
        self, *, deadline: float = 25.0, authorization: str | None = None, **body: Any
    ) -> InferenceAnswer:
        whole = {
            "token": self.issued.plain,
            "model": self.version.model_id,
            "inputs": json.loads(INPUTS),
            **body,
        }
        return self.router.infer(
            InferenceCall(
                body=json.dumps({k: v for k, v in whole.items() if v is not None}).encode(),
                authorization=authorization,
                request_id="req-1",
                deadline_seconds=deadline,
            )
        )

    def asked(self) -> list[str]:
        return [host_id for host_id, _, _ in self.hosts.asked]


@pytest.fixture
def world(plane: ControlPlane, alice: Principal) -> World:
    return World(plane, alice)


def test_a_request_reaches_a_ready_host_with_its_inputs_untouched(world: World) -> None:
    world.add_host("cold", answers, ready=False)
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
def test_f27_a_host_that_does_not_answer_is_followed_by_another(world: World, play: Play) -> None:
    world.add_host("a", play)
    world.add_host("b", answers)
    world.router._random = random.Random(1)
    bodies = {world.infer().reply.body for _ in range(8)}
    assert bodies == {b'{"result": "from b"}'}
    assert {"a", "b"} == set(world.asked())


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
    world.add_host("a", answers, state=HostState.DRAINING)
    world.add_host("b", answers, ready=False)
    assert [world.infer().reply.body for _ in range(4)] == [b'{"result": "from b"}'] * 4


def test_f02_a_flushed_redis_turns_no_valid_token_away(world: World, raw_redis: Any) -> None:
    raw_redis.flushall()
    world.add_host("a", answers)
    assert world.infer().reply.status == 200
    assert world.plane.hot.route(world.issued.token.sha256, world.version.model_id).token is not None


def test_f01_a_redis_that_is_away_is_503_and_never_401(world: World) -> None:
    world.router = world.router_with(HotState.connect("redis://127.0.0.1:9/0", timeout_seconds=0.2))
    with pytest.raises(DependencyFailed):
        world.infer()


def test_unknown_tokens_cannot_flood_the_truth(world: World) -> None:
    stands_still = Clocks(monotonic=lambda: 1.0, unix=lambda: 1.0)
    world.router = world.router_with(world.plane.hot, clocks=stands_still)
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
    world.plane.auth.ensure_api_key("alice", key)
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
    token = world.plane.auth.issue_model_token(alice, waiting.model_id, name="").plain
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
        model = self.plane.hot.route("-", self.version.model_id).model
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
    world.add_host("new", play, ready=False)
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
