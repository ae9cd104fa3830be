"""From a caller's request to a host's answer, over the real stores; the hosts are played."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chalicelib.auth import IssuedToken, Principal
from chalicelib.contract import limits
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
from chalicelib.contract.tokens import new_token, read_ticket
from chalicelib.ports import HostReply, HostUnreachable
from chalicelib.records import Version
from chalicelib.routing import Clocks, Dispatching, InferenceAnswer, InferenceCall, Router
from chalicelib.wiring import ControlPlane
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
