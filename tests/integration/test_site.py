"""What everybody is told, and the public demo, over the real stores; the hosts are played."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    DependencyFailed,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import token_sha256
from chalicelib.contract.transfers import HELD
from chalicelib.keys import KeyState, NewKey, RotateKey, state
from chalicelib.payloads import is_id
from chalicelib.ports import HostReply
from chalicelib.records import Token
from chalicelib.routing import InferenceCall
from chalicelib.settings import SignUpMode
from chalicelib.site import ChooseDemo, Demo, Site, Told
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support.people import Clock, People, fresh_store
from tests.support.played import World, answers
from tests.support.uploads import deployed, uploaded

NOBODY_KNOWS = Told(sign_up_open=False, demo=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(plane: ControlPlane, clock: Clock) -> Site:
    return another_process(plane, clock)


@pytest.fixture
def world(plane: ControlPlane, alice: Principal) -> World:
    made = World(plane, alice)
    made.add_host("a", answers)
    return made


def another_process(plane: ControlPlane, clock: Clock) -> Site:
    return Site(store=plane.store, keys=plane.keys, accounts=plane.accounts, monotonic=clock.monotonic)


def chosen(site: Site, who: Principal, model_id: str) -> Demo:
    told = site.choose_demo(who, ChooseDemo(model_id))
    assert told.demo is not None
    return told.demo


def token_of(plane: ControlPlane, demo: Demo) -> Token:
    found = plane.store.token(token_sha256(demo.secret))
    assert found is not None
    return found


def public_and_alive(plane: ControlPlane) -> list[str]:
    """SHA-256 of every demo token that works."""
    now = plane.keys.now()
    page = plane.store.tokens_page("", 1_000)
    return [
        one.sha256
        for one in page
        if one.kind is TokenKind.DEMO_TOKEN and state(one, now) is KeyState.LIVE and not one.suspended
    ]


def test_everybody_may_try_the_model_that_was_chosen(
    plane: ControlPlane, alice: Principal, site: Site, world: World
) -> None:
    assert site.tell().demo is None
    demo = chosen(site, alice, world.version.model_id)
    assert site.tell().demo == demo
    assert (demo.model.id, demo.model.name) == (world.version.model_id, "digits")
    assert world.version.signature is not None
    assert demo.takes == world.version.signature.inputs[0]
    assert world.infer(token=demo.secret).reply.status == 200
    token = token_of(plane, demo)
    assert (token.scopes, token.model_id) == ((Scope.INFER,), world.version.model_id)
    assert token.requests_per_second == limits.DEMO_REQUESTS_PER_SECOND


def test_a_demo_s_token_can_do_nothing_else(
    plane: ControlPlane, alice: Principal, site: Site, world: World
) -> None:
    plain = chosen(site, alice, world.version.model_id).secret
    other = deployed(plane, alice, b"another model", name="other")
    with pytest.raises(PermissionDenied, match="another model"):
        world.infer(token=plain, model=other.model_id)
    with pytest.raises(Unauthenticated):
        plane.auth.authenticate(f"Bearer {plain}")
    with pytest.raises(PermissionDenied, match="inputs in the request"):
        world.router.permit(plain, world.version.model_id, size=10**6)
    later = InferenceCall(
        body=b'{"token": "%s", "model": "%s", "inputs": {}}'
        % (plain.encode(), world.version.model_id.encode()),
        authorization=None,
        request_id="later",
        deadline_seconds=5,
    )
    with pytest.raises(PermissionDenied, match="at once"):
        plane.answers.accept(later)
    answer_id = plane.payloads.new_id()
    assert is_id(answer_id)
    with pytest.raises(NotFound):
        plane.answers.fetch(f"Bearer {plain}", answer_id)
    explained = plane.explaining.shown(plain)
    assert explained.own is not None and explained.account is None  # how busy the account is, is its own
    assert [one.scope for one in explained.permissions if one.allowed] == [Scope.INFER]
    kept = plane.keys.create(alice, NewKey(model_id=world.version.model_id))
    assert world.router.permit(kept.plain, world.version.model_id, size=10**6)  # any other token may


def test_a_demo_s_token_puts_nothing_in_the_store_and_reads_nothing_there(
    plane: ControlPlane, alice: Principal, site: Site, world: World
) -> None:
    plain = chosen(site, alice, world.version.model_id).secret
    payload_id = plane.payloads.keep(alice.tenant, b"{}")
    with pytest.raises(PermissionDenied, match="inputs in the request"):
        world.infer(token=plain, inputs=None, inputs_from=payload_id)
    assert world.asked() == []
    assert world.infer(inputs=None, inputs_from=payload_id).reply.status == 200  # any other token may
    world.add_host("a", lambda _: HostReply(200, b"", {HELD.lower(): "10000000"}))
    with pytest.raises(PermissionDenied, match="its reply can hold"):
        world.infer(token=plain)


def test_one_that_is_chosen_again_keeps_its_token(
    plane: ControlPlane, alice: Principal, site: Site, world: World, clock: Clock
) -> None:
    first = chosen(site, alice, world.version.model_id)
    assert chosen(another_process(plane, clock), alice, world.version.model_id) == first
    assert public_and_alive(plane) == [token_sha256(first.secret)]


def test_the_one_before_is_refused_from_then_on_whoever_chose_it(
    plane: ControlPlane, alice: Principal, mallory: Principal, site: Site, world: World
) -> None:
    before = chosen(site, alice, world.version.model_id)
    assert world.infer(token=before.secret)
    theirs = deployed(plane, mallory, b"a model of theirs", name="theirs")
    after = chosen(site, mallory, theirs.model_id)
    with pytest.raises(Unauthenticated):
        world.infer(token=before.secret)
    assert public_and_alive(plane) == [token_sha256(after.secret)]
    taken_away = site.choose_demo(alice, ChooseDemo(None))
    assert taken_away.demo is None
    assert site.choose_demo(alice, ChooseDemo(None)) == site.tell() == taken_away
    assert public_and_alive(plane) == []


@pytest.mark.parametrize("ended", ["deleted", "revoked", "rotated", "suspended"])
def test_what_would_not_answer_is_no_demo(
    plane: ControlPlane, alice: Principal, site: Site, world: World, clock: Clock, ended: str
) -> None:
    demo = chosen(site, alice, world.version.model_id)
    token = token_of(plane, demo)
    match ended:
        case "deleted":
            plane.deletion.delete_model(alice, demo.model.id)
        case "revoked":
            plane.keys.revoke(alice, token.id)
        case "rotated":
            plane.keys.rotate(alice, token.id, RotateKey())
        case "suspended":
            plane.store.mark_suspended(alice.tenant, True)
    assert site.tell().demo == demo
    clock.pass_by(seconds=limits.SITE_SECONDS)
    assert site.tell().demo is None
    if ended in ("revoked", "rotated"):
        assert chosen(site, alice, demo.model.id).secret != demo.secret


def test_what_cannot_be_a_demo(
    plane: ControlPlane, alice: Principal, mallory: Principal, site: Site, world: World
) -> None:
    with pytest.raises(NotFound) as foreign:
        site.choose_demo(mallory, ChooseDemo(world.version.model_id))
    with pytest.raises(NotFound) as missing:
        site.choose_demo(mallory, ChooseDemo("00000000-0000-4000-8000-000000000000"))
    assert foreign.value.message == missing.value.message
    preparing = uploaded(plane, alice, b"not ready yet", name="preparing")
    with pytest.raises(Conflict, match="answers yet"):
        site.choose_demo(alice, ChooseDemo(preparing.model_id))
    _with_two_inputs(plane, world)
    with pytest.raises(InvalidRequest, match="has 2"):
        site.choose_demo(alice, ChooseDemo(world.version.model_id))
    assert plane.store.demo() is None
    assert public_and_alive(plane) == []


def _with_two_inputs(plane: ControlPlane, world: World) -> None:
    twice = {"$push": {"signature.inputs": {"name": "more", "dtype": "float32", "shape": [None]}}}
    plane.store._versions.update_one({"_id": world.version.id}, twice)


def test_a_key_that_may_not_infer_publishes_nothing(
    plane: ControlPlane, alice: Principal, site: Site, world: World
) -> None:
    made = plane.keys.create(alice, NewKey(scopes=(Scope.MODELS_READ,)))
    limited = plane.auth.authenticate(f"Bearer {made.plain}")
    with pytest.raises(PermissionDenied, match='"infer"'):
        site.choose_demo(limited, ChooseDemo(world.version.model_id))
    assert site.tell().demo is None


def test_a_choice_that_is_refused_leaves_the_demo_as_it_is(
    plane: ControlPlane, alice: Principal, site: Site, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = chosen(site, alice, world.version.model_id)
    other = deployed(plane, alice, b"another model", name="other")
    made = plane.keys.create(alice, NewKey(scopes=(Scope.MODELS_READ,)))
    limited = plane.auth.authenticate(f"Bearer {made.plain}")
    with pytest.raises(PermissionDenied, match='"infer"'):
        site.choose_demo(limited, ChooseDemo(other.model_id))
    monkeypatch.setattr(limits, "MODEL_TOKENS_MAX", 0)
    with pytest.raises(Conflict, match="all it may have"):
        site.choose_demo(alice, ChooseDemo(other.model_id))
    assert public_and_alive(plane) == [token_sha256(before.secret)]
    assert world.infer(token=before.secret).reply.status == 200


def test_of_many_that_choose_at_once_no_token_is_left_over(
    plane: ControlPlane, alice: Principal, world: World, clock: Clock
) -> None:
    models = [world.version.model_id, deployed(plane, alice, b"the second", name="second").model_id]

    def choose(number: int) -> None:
        with suppress(Conflict):
            another_process(plane, clock).choose_demo(alice, ChooseDemo(models[number % 2]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(choose, range(16)))
    last = plane.store.demo()
    assert set(public_and_alive(plane)) <= {token_sha256(last.secret) if last else ""}
    demo = chosen(another_process(plane, clock), alice, models[0])
    assert public_and_alive(plane) == [token_sha256(demo.secret)]


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [(SignUpMode.OPEN, True, True), (SignUpMode.FIRST, True, False), (SignUpMode.CLOSED, False, False)],
)
def test_it_says_whether_a_sign_up_would_be_let_in(
    servers: EmbeddedServers, hot: HotState, mode: SignUpMode, before: bool, after: bool
) -> None:
    people = People(fresh_store(servers), hot, sign_up=mode)
    site = Site(
        store=people.store, keys=people.keys, accounts=people.accounts, monotonic=people.clock.monotonic
    )
    assert site.tell().sign_up_open is before
    People(people.store, hot).sign_up("ada")
    people.clock.pass_by(seconds=limits.SITE_SECONDS)
    assert site.tell().sign_up_open is after


class Truth:
    """Counts what is asked of the store's demo; away when told so."""

    def __init__(self, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.away = 0, False
        read = plane.store.demo

        def demo() -> Any:
            self.asked += 1
            if self.away:
                raise DependencyFailed("away")
            return read()

        monkeypatch.setattr(plane.store, "demo", demo)


def test_while_the_truth_is_away_it_goes_on_saying_what_was_known(
    plane: ControlPlane,
    alice: Principal,
    site: Site,
    world: World,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = site.choose_demo(alice, ChooseDemo(world.version.model_id))
    truth = Truth(plane, monkeypatch)
    assert [site.tell() for _ in range(10)] == [told] * 10
    assert truth.asked == 0
    truth.away = True
    for passed in range(1, 4):
        clock.pass_by(seconds=10 * limits.SITE_SECONDS)
        assert [site.tell() for _ in range(10)] == [told] * 10
        assert truth.asked == passed
    fresh = another_process(plane, clock)
    assert [fresh.tell() for _ in range(10)] == [NOBODY_KNOWS] * 10
    truth.away = False
    clock.pass_by(seconds=limits.SITE_SECONDS)
    assert fresh.tell() == told


def test_however_many_ask_at_once_the_truth_is_asked_once(
    plane: ControlPlane, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = Truth(plane, monkeypatch)
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda _: site.tell(), range(64)))
    assert told == [site.tell()] * 64
    assert truth.asked == 1
