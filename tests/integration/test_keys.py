"""Keys from their making to their end, over the real stores."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from chalicelib.auth import Auth, Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    DependencyFailed,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from chalicelib.contract.hotstate.doors import Asker, Wish
from chalicelib.contract.limiting import AccountLimits, Rate
from chalicelib.contract.messages import Heartbeat, ModelRecord, Scope, TokenKind
from chalicelib.contract.tokens import is_well_formed, new_token, token_sha256
from chalicelib.explaining import Allowance, Explaining
from chalicelib.keys import IssuedToken, Keys, KeyState, NewKey, RotateKey, state, works
from chalicelib.ports import HostReply
from chalicelib.records import Account, Model, Role, Token
from chalicelib.routing import Clocks
from chalicelib.wiring import ControlPlane
from tests.support.played import World, answers

DAY = timedelta(days=1)
SLOW = Rate(per_second=0.001, burst=9)
"""Nothing of it comes back during a test."""
INFER = NewKey(name="batch", scopes=(Scope.INFER,))


class Time:
    """The truth's times and the process's clock, moved by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.monotonic = 0.0

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.monotonic += seconds


@pytest.fixture
def time(alice: Principal, plane: ControlPlane) -> Time:
    own = plane.store.tokens(alice.tenant, model_id=None, after="", limit=1)
    return Time(own[0].created_at)


@pytest.fixture
def auth(plane: ControlPlane, time: Time) -> Auth:
    return Auth(store=plane.store, now=lambda: time.now, monotonic=lambda: time.monotonic)


@pytest.fixture
def keys(plane: ControlPlane, auth: Auth, time: Time) -> Keys:
    ids = iter(f"{number:032x}" for number in range(1, 10_000))
    return Keys(store=plane.store, hot=plane.hot, auth=auth, now=lambda: time.now, new_id=lambda: next(ids))


@pytest.fixture
def explaining(plane: ControlPlane, time: Time) -> Explaining:
    return Explaining(store=plane.store, hot=plane.hot, account_rate=SLOW, now=lambda: time.now)


@pytest.fixture
def model(plane: ControlPlane, alice: Principal, time: Time) -> Model:
    return plane.store.ensure_model(
        Model(id="m1", tenant=alice.tenant, name="digits", created_at=time.now, active_version=3)
    )


def hot(plane: ControlPlane, issued: IssuedToken) -> Any:
    return plane.hot.token(issued.token.sha256)


def bearer(issued: IssuedToken) -> str:
    return f"Bearer {issued.plain}"


def test_a_key_is_shown_once_and_only_its_hash_is_kept(
    plane: ControlPlane, keys: Keys, alice: Principal, time: Time
) -> None:
    issued = keys.create(alice, NewKey(name="ci", scopes=(Scope.KEYS, Scope.INFER), requests_per_second=5))
    assert is_well_formed(issued.plain)
    token = keys.get(alice, issued.token.id)
    assert token == issued.token
    assert (token.sha256, token.hint) == (token_sha256(issued.plain), issued.plain[:8] + "…")
    assert (token.kind, token.scopes, token.created_by) == (
        TokenKind.API_KEY,
        (Scope.INFER, Scope.KEYS),
        alice.hint,
    )
    assert token.expires_at == time.now + timedelta(days=limits.KEY_DAYS_DEFAULT)
    assert issued.plain not in repr(plane.store._tokens.find_one({"_id": token.id}))
    assert hot(plane, issued) == token.hot()


def test_a_model_token_may_run_that_model_and_nothing_else(
    keys: Keys, auth: Auth, alice: Principal, model: Model
) -> None:
    issued = keys.create(alice, NewKey(model_id=model.id))
    assert (issued.token.kind, issued.token.scopes) == (TokenKind.MODEL_TOKEN, (Scope.INFER,))
    assert (issued.token.model_id, issued.token.expires_at) == (model.id, None)
    with pytest.raises(Unauthenticated, match="not valid here"):
        auth.authenticate(bearer(issued))


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (NewKey(name="no scopes"), InvalidRequest, "scopes"),
        (NewKey(scopes=(Scope.OPERATE,)), PermissionDenied, '"operate"'),
        (NewKey(model_id="m1", scopes=(Scope.INFER, Scope.KEYS)), InvalidRequest, "may only infer"),
        (NewKey(model_id="m2"), NotFound, "no such model"),
        (NewKey(model_id="m1", expires_in_days=1, expires_in_seconds=60), InvalidRequest, "send one"),
    ],
)
def test_what_a_key_cannot_be(
    keys: Keys, alice: Principal, model: Model, asked: NewKey, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        keys.create(alice, asked)


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["infer"], "expires_in_days": 0},
        {"scopes": ["infer"], "expires_in_days": limits.KEY_DAYS_MAX + 1},
        {"scopes": ["infer"], "expires_in_seconds": limits.KEY_SECONDS_MIN - 1},
        {"scopes": ["infer"], "expires_in_seconds": limits.KEY_SECONDS_MAX + 1},
        {"scopes": ["infer"], "requests_per_second": 0},
        {"scopes": ["infer"], "requests_per_second": limits.ACCOUNT_REQUESTS_PER_SECOND + 1},
        {"scopes": ["infer"], "name": "x" * (limits.KEY_NAME_LENGTH_MAX + 1)},
        {"scopes": ["infer"], "name": "two\nlines"},
        {"scopes": ["infer"], "tenant": "mallory"},
    ],
)
def test_what_a_body_cannot_say(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, NewKey)


@pytest.mark.parametrize("lacking", list(Scope))
def test_a_key_gives_no_scope_that_it_does_not_have(keys: Keys, alice: Principal, lacking: Scope) -> None:
    maker = replace(alice, scopes=frozenset(Scope) - {lacking})
    for scope in Scope:
        if scope is lacking:
            with pytest.raises(PermissionDenied, match=f'"{lacking}"'):
                keys.create(maker, NewKey(scopes=(Scope.KEYS, scope)))
        else:
            assert scope in keys.create(maker, NewKey(scopes=(scope,))).token.scopes


def test_a_key_that_may_do_more_is_not_rotated_by_one_that_may_do_less(keys: Keys, alice: Principal) -> None:
    strong = keys.create(alice, NewKey(scopes=(Scope.KEYS, Scope.MODELS_WRITE)))
    weak = replace(alice, scopes=frozenset({Scope.KEYS}))
    with pytest.raises(PermissionDenied, match="models:write"):
        keys.rotate(weak, strong.token.id, RotateKey())
    keys.revoke(weak, strong.token.id)


def test_scopes_of_a_key_are_those_of_its_principal_and_operate_needs_the_role(
    plane: ControlPlane, keys: Keys, auth: Auth, alice: Principal
) -> None:
    operator = replace(alice, scopes=frozenset(Scope))
    issued = keys.create(operator, NewKey(scopes=(Scope.OPERATE, Scope.KEYS)))
    assert auth.authenticate(bearer(issued)).scopes == {Scope.KEYS}
    account = plane.store.account(alice.tenant)
    assert account
    assert plane.store.change_account(account, msgspec.structs.replace(account, role=Role.OPERATOR))
    auth.forget(issued.token)
    principal = auth.authenticate(bearer(issued))
    assert principal.scopes == {Scope.OPERATE, Scope.KEYS}
    assert principal.role is Role.OPERATOR
    assert (principal.key_id, principal.hint) == (issued.token.id, issued.token.hint)


def test_another_tenants_key_looks_like_a_missing_one(
    keys: Keys, explaining: Explaining, alice: Principal, mallory: Principal
) -> None:
    issued = keys.create(alice, INFER)
    calls: list[Callable[[Principal, str], object]] = [
        keys.get,
        keys.revoke,
        explaining.own,
        lambda who, key_id: keys.rotate(who, key_id, RotateKey()),
    ]
    for call in calls:
        told = []
        for key_id in (issued.token.id, "missing"):
            with pytest.raises(NotFound) as raised:
                call(mallory, key_id)
            told.append(raised.value.message)
        assert told[0] == told[1]
    assert [one.name for one in keys.list(mallory)] == ["local"]
    assert keys.list(mallory, after=issued.token.id) == ()
    assert keys.get(alice, issued.token.id) == issued.token


def test_pages_go_through_all_keys_once_newest_first(
    keys: Keys, alice: Principal, time: Time, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_SIZE_MAX", 3)
    made = [keys.create(alice, INFER).token.id for _ in range(4)]  # all in the same millisecond
    time.passes(1)
    made += [keys.create(alice, NewKey(model_id=model.id)).token.id for _ in range(4)]
    seen: list[Token] = []
    while page := keys.list(alice, after=seen[-1].id if seen else ""):
        seen += page
    assert {one.id for one in seen[:4]} == set(made[4:])
    assert sorted(one.id for one in seen if one.name != "local") == sorted(made)
    assert {one.id for one in keys.list(alice, model_id=model.id)} < set(made[4:])


def test_quotas_count_what_works(
    keys: Keys, alice: Principal, model: Model, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 2)
    monkeypatch.setattr(limits, "MODEL_TOKENS_MAX", 1)
    first = keys.create(alice, NewKey(scopes=(Scope.INFER,), expires_in_days=1))
    with pytest.raises(Conflict, match="2 API keys"):
        keys.create(alice, INFER)
    keys.create(alice, NewKey(model_id=model.id))
    with pytest.raises(Conflict, match="1 tokens"):
        keys.create(alice, NewKey(model_id=model.id))
    time.passes(DAY.total_seconds())
    assert state(keys.get(alice, first.token.id), time.now) is KeyState.EXPIRED
    second = keys.create(alice, INFER)
    keys.revoke(alice, second.token.id)
    keys.create(alice, INFER)


def test_rotating_on_and_on_comes_to_an_end(
    keys: Keys, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 2)
    newest = keys.create(alice, INFER)
    for _ in range(2):
        newest = keys.rotate(alice, newest.token.id, RotateKey()).issued
    with pytest.raises(Conflict, match="4 API keys"):
        keys.rotate(alice, newest.token.id, RotateKey())
    assert keys.get(alice, newest.token.id).rotated_to is None


def test_states_follow_from_the_times(keys: Keys, alice: Principal, time: Time) -> None:
    issued = keys.create(alice, NewKey(scopes=(Scope.INFER,), expires_in_days=8))
    shown = [state(issued.token, time.now + days * DAY) for days in (0, 1, 7.99, 8)]
    assert shown == [KeyState.LIVE, KeyState.EXPIRING, KeyState.EXPIRING, KeyState.EXPIRED]
    revoked = keys.revoke(alice, issued.token.id)
    assert state(revoked, time.now + 9 * DAY) is KeyState.REVOKED


def test_a_token_for_a_moment_says_so_in_seconds(
    keys: Keys, alice: Principal, model: Model, time: Time
) -> None:
    issued = keys.create(alice, NewKey(model_id=model.id, expires_in_seconds=60))
    assert issued.token.expires_at == time.now + timedelta(seconds=60)
    assert keys.rotate(alice, issued.token.id, RotateKey()).old.expires_at == issued.token.expires_at


def test_f73_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(
    plane: ControlPlane, keys: Keys, auth: Auth, alice: Principal, time: Time
) -> None:
    made = keys.create(alice, NewKey(name="ci", scopes=(Scope.KEYS,), requests_per_second=7))
    rotated = keys.rotate(alice, made.token.id, RotateKey(overlap_seconds=60))
    old, new = rotated.old, rotated.issued.token
    assert (old.rotated_to, old.expires_at) == (new.id, time.now + timedelta(seconds=60))
    rights = ("tenant", "kind", "name", "scopes", "model_id", "requests_per_second", "expires_at")
    assert [getattr(new, name) for name in rights] == [getattr(made.token, name) for name in rights]
    assert hot(plane, made) == old.hot()
    assert auth.authenticate(bearer(made)).key_id == old.id
    assert auth.authenticate(bearer(rotated.issued)).key_id == new.id
    time.passes(60)
    with pytest.raises(Unauthenticated):
        auth.authenticate(bearer(made))
    assert auth.authenticate(bearer(rotated.issued)).key_id == new.id


def test_a_key_is_rotated_once(keys: Keys, alice: Principal) -> None:
    made = keys.create(alice, INFER)

    def rotate(_: int) -> bool:
        try:
            keys.rotate(alice, made.token.id, RotateKey())
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rotate, range(8))) == 1
    named = [one for one in keys.list(alice) if one.name == "batch"]
    assert len(named) == 2, "those that lost leave nothing behind"


@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_what_does_not_work_is_not_rotated(keys: Keys, alice: Principal, time: Time, ended: str) -> None:
    made = keys.create(alice, NewKey(scopes=(Scope.INFER,), expires_in_days=1))
    if ended == "revoked":
        keys.revoke(alice, made.token.id)
    time.passes(DAY.total_seconds())
    with pytest.raises(Conflict, match=ended):
        keys.rotate(alice, made.token.id, RotateKey())


def test_f13_making_and_rotating_again_from_the_same_seed_finds_what_was_made(
    keys: Keys, alice: Principal, time: Time
) -> None:
    seed, another = secrets.token_bytes(32), secrets.token_bytes(32)
    made = keys.create(alice, INFER, seed=seed)
    time.passes(1)
    assert keys.create(alice, INFER, seed=seed) == made
    rotated = keys.rotate(alice, made.token.id, RotateKey(), seed=another)
    time.passes(1)
    again = keys.rotate(alice, made.token.id, RotateKey(), seed=another)
    assert (again.issued, again.old) == (rotated.issued, rotated.old)
    assert len([one for one in keys.list(alice) if one.name == "batch"]) == 2


def test_f13_a_rotation_that_died_between_its_writes_goes_on(
    plane: ControlPlane, keys: Keys, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seed = keys.create(alice, INFER), secrets.token_bytes(32)
    with monkeypatch.context() as patch, pytest.raises(DependencyFailed):
        patch.setattr(plane.store, "change_token", _away)
        keys.rotate(alice, made.token.id, RotateKey(), seed=seed)
    assert keys.get(alice, made.token.id).rotated_to is None
    rotated = keys.rotate(alice, made.token.id, RotateKey(), seed=seed)
    assert keys.get(alice, made.token.id).rotated_to == rotated.issued.token.id
    assert len([one for one in keys.list(alice) if one.name == "batch"]) == 2


def _away(*_: object, **__: object) -> Any:
    raise DependencyFailed("away")


def test_f15_what_dies_between_the_truth_and_the_hot_state_is_made_up_for(
    plane: ControlPlane, keys: Keys, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = keys.create(alice, INFER)
    plane.reconciler.tick()
    with monkeypatch.context() as patch, pytest.raises(DependencyFailed):
        patch.setattr(plane.hot, "put_tokens", _away)
        keys.revoke(alice, issued.token.id)
    assert not hot(plane, issued).revoked
    plane.reconciler.tick()
    assert hot(plane, issued).revoked
    assert keys.revoke(alice, issued.token.id).revoked_at, "and it may be said again"


def test_f16_an_older_record_that_comes_late_changes_nothing(
    plane: ControlPlane, keys: Keys, alice: Principal
) -> None:
    issued = keys.create(alice, INFER)
    keys.revoke(alice, issued.token.id)
    plane.hot.put_token(issued.token.sha256, issued.token.hot())
    assert hot(plane, issued).revoked


def test_f03_a_revocation_that_a_failover_lost_is_applied_again(
    plane: ControlPlane, keys: Keys, alice: Principal, raw_redis: Any
) -> None:
    issued = keys.create(alice, INFER)
    plane.reconciler.tick()
    before = raw_redis.get(f"mr:token:{issued.token.sha256}")
    keys.revoke(alice, issued.token.id)
    raw_redis.set(f"mr:token:{issued.token.sha256}", before)  # as the replica has it
    plane.reconciler.tick()
    assert hot(plane, issued).revoked


def test_revoking_at_once_and_often_has_one_effect(keys: Keys, alice: Principal) -> None:
    issued = keys.create(alice, INFER)
    with ThreadPoolExecutor(8) as pool:
        revoked = list(pool.map(lambda _: keys.revoke(alice, issued.token.id), range(8)))
    assert len({one.revoked_at for one in revoked}) == 1
    assert revoked[0].revision == issued.token.revision + 1


class Lookups:
    """The truth, counting what is asked of it."""

    def __init__(self, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        look_up = plane.store.token

        def counted(sha256: str) -> Token | None:
            self.count += 1
            return look_up(sha256)

        monkeypatch.setattr(plane.store, "token", counted)


@pytest.fixture
def lookups(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Lookups:
    return Lookups(plane, monkeypatch)


def test_a_typo_is_refused_without_a_look_up(
    keys: Keys, auth: Auth, explaining: Explaining, alice: Principal, lookups: Lookups
) -> None:
    plain = keys.create(alice, INFER).plain
    swapped = plain[:10] + plain[11] + plain[10] + plain[12:]
    for typo in (plain[:-1], plain + "x", swapped if swapped != plain else plain[::-1], "mr_", "hello"):
        with pytest.raises(Unauthenticated, match="mistyped"):
            auth.authenticate(f"Bearer {typo}")
        assert "mistyped" in str(explaining.shown(typo).why)
    assert lookups.count == 0
    with pytest.raises(Unauthenticated, match="not valid here"):
        auth.authenticate(f"Bearer {new_token()}")
    assert lookups.count == 1


def test_polls_do_not_reach_the_truth_each_time_and_a_revocation_is_noticed_within_five_seconds(
    keys: Keys, auth: Auth, alice: Principal, time: Time, plane: ControlPlane, lookups: Lookups
) -> None:
    issued = keys.create(alice, INFER)
    for _ in range(20):
        auth.authenticate(bearer(issued))
        time.passes(0.2)
    assert lookups.count == 1
    plane.keys.revoke(alice, issued.token.id)  # by another process
    time.passes(limits.TOKEN_CACHE_SECONDS - 4)
    with pytest.raises(Unauthenticated):
        auth.authenticate(bearer(issued))


def test_where_it_is_revoked_a_key_is_refused_at_once(keys: Keys, auth: Auth, alice: Principal) -> None:
    issued = keys.create(alice, INFER)
    auth.authenticate(bearer(issued))
    keys.revoke(alice, issued.token.id)
    with pytest.raises(Unauthenticated):
        auth.authenticate(bearer(issued))


def test_while_the_truth_is_away_a_known_key_is_known_for_a_minute(
    plane: ControlPlane,
    keys: Keys,
    auth: Auth,
    alice: Principal,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issued, unseen = keys.create(alice, INFER), keys.create(alice, INFER)
    auth.authenticate(bearer(issued))
    monkeypatch.setattr(plane.store, "token", _away)
    time.passes(limits.OUTAGE_CACHE_SECONDS - 1)
    auth.authenticate(bearer(issued))
    with pytest.raises(DependencyFailed):
        auth.authenticate(bearer(unseen))
    time.passes(2)
    with pytest.raises(DependencyFailed):
        auth.authenticate(bearer(issued))


def test_last_use_is_told_to_the_minute_and_written_once_in_it(
    plane: ControlPlane, keys: Keys, auth: Auth, alice: Principal, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.now = time.now.replace(second=0, microsecond=0)
    issued = keys.create(alice, INFER)
    written: list[dict[str, datetime]] = []
    mark_used = plane.store.mark_used

    def noted(used: dict[str, datetime]) -> None:
        written.append(used)
        mark_used(used)

    monkeypatch.setattr(plane.store, "mark_used", noted)
    for _ in range(50):  # almost two minutes
        auth.authenticate(bearer(issued))
        time.passes(2.2)
    assert len(written) == 2
    token = keys.get(alice, issued.token.id)
    assert token.last_used_at == (time.now - timedelta(seconds=2.2)).replace(second=0, microsecond=0)
    assert token.revision == issued.token.revision
    plane.store.mark_used({token.id: time.now - DAY})
    assert keys.get(alice, token.id).last_used_at == token.last_used_at, "it does not go back"


def test_a_use_that_cannot_be_written_fails_nothing(
    plane: ControlPlane, keys: Keys, auth: Auth, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = keys.create(alice, INFER)
    monkeypatch.setattr(plane.store, "mark_used", _away)
    assert auth.authenticate(bearer(issued)).tenant == alice.tenant


def test_a_key_is_explained_to_who_shows_it(
    keys: Keys, explaining: Explaining, alice: Principal, model: Model
) -> None:
    found = explaining.shown(keys.create(alice, NewKey(scopes=(Scope.INFER, Scope.KEYS))).plain)
    assert (found.why, found.state) == (None, KeyState.LIVE)
    assert {one.scope for one in found.permissions if one.allowed} == {Scope.INFER, Scope.KEYS}
    assert [one.name for one in found.models] == ["digits"]
    token = explaining.shown(keys.create(alice, NewKey(model_id=model.id)).plain)
    assert [one.means for one in token.permissions if one.allowed] == ["Run the model digits, and no other"]


def test_who_may_only_call_a_model_is_not_told_whose_address_made_its_token(
    keys: Keys, explaining: Explaining, alice: Principal, model: Model
) -> None:
    person = replace(alice, hint="alice@example.org", scopes=frozenset(Scope))
    may_list = NewKey(scopes=(Scope.KEYS,))
    token, key = keys.create(person, NewKey(model_id=model.id)), keys.create(person, may_list)
    shown = [explaining.shown(one.plain).token for one in (token, key)]
    assert [one.created_by for one in shown if one] == ["", "alice@example.org"]
    own = explaining.own(alice, token.token.id).token
    assert own and own.created_by == "alice@example.org"


def test_an_explanation_says_what_is_left_of_each_limit(
    plane: ControlPlane, keys: Keys, explaining: Explaining, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = keys.create(alice, NewKey(scopes=(Scope.INFER,), requests_per_second=1))
    plane.hot.put_model(ModelRecord("m1", alice.tenant, 1))
    two = Wish(issued.token.sha256, "m1", permits=2)
    assert plane.hot.credentials([two], asker=Asker("door", AccountLimits(SLOW, 9)))[0].granted == 2
    found = explaining.shown(issued.plain)
    assert found.account == Allowance(SLOW.per_second, 7)
    assert found.own
    assert (found.own.per_second, found.own.left is None) == (1, False)
    monkeypatch.setattr(plane.hot, "left", _away)
    assert explaining.shown(issued.plain).account == Allowance(SLOW.per_second, None)
    assert explaining.shown(keys.create(alice, INFER).plain).own is None


def test_a_key_that_is_refused_says_why_and_nothing_else(
    plane: ControlPlane, keys: Keys, explaining: Explaining, alice: Principal, time: Time, model: Model
) -> None:
    revoked, rotated = keys.create(alice, INFER), keys.create(alice, INFER)
    keys.revoke(alice, revoked.token.id)
    keys.rotate(alice, rotated.token.id, RotateKey(overlap_seconds=0))
    why = {
        revoked.plain: "revoked on",
        rotated.plain: "rotated",
        new_token(): "no such key",
    }
    for plain, says in why.items():
        found = explaining.shown(plain)
        assert says in str(found.why)
        assert (found.token, found.permissions, found.models) == (None, (), ())
    assert explaining.own(alice, revoked.token.id).token == keys.get(alice, revoked.token.id)
    suspended = keys.create(alice, INFER)
    account = plane.store.account(alice.tenant)
    assert isinstance(account, Account)
    plane.store.change_account(account, msgspec.structs.replace(account, suspended_at=time.now))
    assert "suspended" in str(explaining.shown(suspended.plain).why)


def test_what_ended_long_ago_is_forgotten_everywhere(
    plane: ControlPlane, keys: Keys, alice: Principal, time: Time
) -> None:
    kept, gone = keys.create(alice, INFER), keys.create(alice, INFER)
    keys.revoke(alice, gone.token.id)
    plane.store._tokens.update_one(
        {"_id": gone.token.id},
        {"$set": {"revoked_at": time.now - timedelta(seconds=limits.KEY_RETENTION_SECONDS + 60)}},
    )
    plane.reconciler.tick()
    assert [one.id for one in keys.list(alice) if one.name == "batch"] == [kept.token.id]
    assert (hot(plane, gone), works(kept.token, time.now)) == (None, True)


@pytest.mark.parametrize("waited", [limits.CHECKED_AGAIN_SECONDS, limits.CHECKED_AGAIN_SECONDS + 0.1])
def test_f73_a_request_that_waited_at_the_gateway_is_answered_if_its_token_is_still_good(
    plane: ControlPlane, alice: Principal, waited: float
) -> None:
    clock = [1_000.0]
    world = World(plane, alice, clocks=Clocks(monotonic=lambda: clock[0], unix=lambda: clock[0]))

    def slow(host: Heartbeat) -> HostReply:
        plane.keys.revoke(alice, world.issued.token.id)
        clock[0] += waited
        return answers(host)

    world.add_host("a", slow)
    if waited <= limits.CHECKED_AGAIN_SECONDS:
        assert world.infer().reply.status == 200
    else:
        with pytest.raises(Unauthenticated):
            world.infer()


def test_f73_a_token_expires_by_the_hot_states_own_clock(plane: ControlPlane, alice: Principal) -> None:
    world = World(plane, alice)
    world.add_host("a", answers)
    now, _ = plane.hot.hosts()
    for seconds, good in ((60, True), (0, False)):
        token = msgspec.structs.replace(world.issued.token.hot(), expires_at=now + seconds, revision=3 - good)
        plane.hot.put_token(world.issued.token.sha256, token)
        if good:
            assert world.infer().reply.status == 200
        else:
            with pytest.raises(Unauthenticated, match="expired"):
                world.infer()
