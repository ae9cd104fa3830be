"""What operators do with accounts, over the real stores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chalicelib.accounts import ChangePassword
from chalicelib.adapters.mongo import MongoStore
from chalicelib.auth import require
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, NotFound, PermissionDenied, Unauthenticated
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.inference import authorised
from chalicelib.contract.messages import Scope
from chalicelib.contract.tokens import token_sha256
from chalicelib.keys import NewKey, RotateKey
from chalicelib.operators import NewAccount, NewPassword
from chalicelib.records import Token
from infra.local.embedded import EmbeddedServers
from tests.support.people import HERE, PASSWORD, People, fresh_store

GIVEN = "given-by-an-operator"


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    return fresh_store(servers)


@pytest.fixture
def people(store: MongoStore, hot: HotState) -> People:
    made = People(store, hot)
    made.sign_up("operator")
    return made


def test_an_account_that_an_operator_made_may_do_nothing_before_its_password_is_its_own(
    people: People,
) -> None:
    made = people.operators.create(NewAccount("bob@example.org", GIVEN, "Bob"))
    assert made.password_expired
    logged_in = people.log_in("bob", GIVEN)
    principal = people.sessions.principal(logged_in.secret)
    assert principal.scopes == frozenset()
    for scope in Scope:
        with pytest.raises(PermissionDenied, match="password of your own"):
            require(principal, scope)
    changed = people.accounts.change_password(principal, ChangePassword(GIVEN, PASSWORD), HERE)
    assert people.sessions.principal(changed.secret).scopes == frozenset(Scope) - {Scope.OPERATE}


def test_f13_making_an_account_again_finds_it(people: People, store: MongoStore) -> None:
    seed, asked = b"of this key of this tenant, only", NewAccount("bob@example.org", GIVEN)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: people.operators.create(asked, seed=seed).id, range(4)))
    assert len(set(made)) == 1
    assert len(store.accounts_page("", 10)) == 2
    with pytest.raises(Conflict):
        people.operators.create(asked)


def test_a_new_password_ends_the_sessions_and_must_be_changed(people: People) -> None:
    bob = people.sign_up("bob")
    people.clock.pass_by(seconds=1)
    operator = people.sessions.principal(people.log_in("operator").secret)
    people.operators.set_password(operator, bob.account.id, NewPassword(GIVEN))
    with pytest.raises(Unauthenticated):
        people.sessions.principal(bob.secret)
    with pytest.raises(Unauthenticated):
        people.log_in("bob")
    assert people.sessions.principal(people.log_in("bob", GIVEN).secret).scopes == frozenset()


def test_f73_a_suspended_account_is_refused_everywhere_and_comes_back(
    people: People, store: MongoStore
) -> None:
    other = People(store, people.hot)
    operator = people.sessions.principal(people.log_in("operator").secret)
    bob = people.sign_up("bob")
    principal = people.sessions.principal(bob.secret)
    key = people.keys.create(principal, NewKey(name="k", scopes=(Scope.INFER, Scope.MODELS_READ))).plain
    mine = people.keys.create(operator, NewKey(name="mine", scopes=(Scope.INFER,))).plain
    authorization = f"Bearer {key}"
    other.auth.authenticate(authorization)
    other.sessions.principal(bob.secret)

    for _ in range(2):
        people.operators.suspend(operator, bob.account.id)
    assert _hot_says(people.hot, key)
    assert not _hot_says(people.hot, mine)
    for process in (people, other):
        process.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
        with pytest.raises(Unauthenticated):
            process.auth.authenticate(authorization)
        with pytest.raises(Unauthenticated):
            process.sessions.principal(bob.secret)
    with pytest.raises(PermissionDenied, match="suspended"):
        people.log_in("bob")
    with pytest.raises(Unauthenticated):
        people.log_in("bob", "not-the-password")

    people.operators.unsuspend(bob.account.id)
    assert not _hot_says(people.hot, key)
    for process in (people, other):
        process.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
        process.auth.authenticate(authorization)
        process.sessions.principal(bob.secret)
    people.log_in("bob")


def test_a_key_that_was_revoked_stays_so_after_a_suspension(people: People) -> None:
    operator = people.sessions.principal(people.log_in("operator").secret)
    bob = people.sign_up("bob")
    principal = people.sessions.principal(bob.secret)
    issued = people.keys.create(principal, NewKey(name="k", scopes=(Scope.INFER,)))
    people.keys.revoke(principal, issued.token.id)
    people.operators.suspend(operator, bob.account.id)
    people.operators.unsuspend(bob.account.id)
    assert _hot_says(people.hot, issued.plain)


@pytest.mark.parametrize("rotated", [False, True])
def test_f73_a_key_that_is_made_while_its_account_is_suspended_never_works(
    people: People, store: MongoStore, monkeypatch: pytest.MonkeyPatch, rotated: bool
) -> None:
    """Who asks was let in a moment before; no pass of the coordinator has to come first."""
    operator = people.sessions.principal(people.log_in("operator").secret)
    bob = people.sign_up("bob")
    principal = people.sessions.principal(bob.secret)
    asked = NewKey(name="k", scopes=(Scope.INFER,))
    old = people.keys.create(principal, asked)
    seed = b"of this key of this tenant, only"
    add = store.add_token

    def suspended_meanwhile(token: Token) -> bool:
        people.operators.suspend(operator, bob.account.id)
        return add(token)

    monkeypatch.setattr(store, "add_token", suspended_meanwhile)
    for _ in range(2):
        with pytest.raises(PermissionDenied, match="suspended"):
            if rotated:
                people.keys.rotate(principal, old.token.id, RotateKey(), seed=seed)
            else:
                people.keys.create(principal, asked, seed=seed)
    made = [token for token in store.tokens(bob.account.id, model_id=None, after="", limit=10)]
    assert [token.suspended for token in made] == [True, True]
    for token in made:
        record = people.hot.token(token.sha256)
        assert record is None or record.revoked


def test_f15_a_suspension_that_died_halfway_is_finished_by_the_coordinator(
    people: People, store: MongoStore
) -> None:
    dead = People(store, HotState.connect("redis://127.0.0.1:1/0", timeout_seconds=1), clock=people.clock)
    operator = people.sessions.principal(people.log_in("operator").secret)
    bob = people.sign_up("bob")
    principal = people.sessions.principal(bob.secret)
    late = people.keys.create(principal, NewKey(name="not reached", scopes=(Scope.INFER,)))
    people.operators.suspend(operator, bob.account.id)
    store.mark_suspended(bob.account.id, False)
    assert not _marked(store, late.plain)
    people.operators.settle()
    assert _marked(store, late.plain)

    account = store.account(bob.account.id)
    assert account is not None
    with pytest.raises(Exception, match="hot state"):
        dead.operators.unsuspend(bob.account.id)
    store.mark_suspended(bob.account.id, True)
    people.operators.settle()
    assert not _marked(store, late.plain)


@pytest.mark.parametrize("read", ["suspended_accounts", "suspended_tenants"])
@pytest.mark.parametrize("suspended", [True, False])
def test_what_an_operator_does_while_the_coordinator_looks_holds(
    people: People, store: MongoStore, monkeypatch: pytest.MonkeyPatch, read: str, suspended: bool
) -> None:
    operator = people.sessions.principal(people.log_in("operator").secret)
    bob = people.sign_up("bob")
    principal = people.sessions.principal(bob.secret)
    key = people.keys.create(principal, NewKey(name="k", scopes=(Scope.INFER,))).plain
    if not suspended:
        people.operators.suspend(operator, bob.account.id)
    looked = getattr(store, read)

    def then_the_operator_acts() -> object:
        found = looked()
        if suspended:
            people.operators.suspend(operator, bob.account.id)
        else:
            people.operators.unsuspend(bob.account.id)
        return found

    monkeypatch.setattr(store, read, then_the_operator_acts)
    people.operators.settle()
    assert _marked(store, key) is suspended


def test_an_operator_does_not_suspend_itself_or_nobody(people: People) -> None:
    operator = people.sessions.principal(people.log_in("operator").secret)
    with pytest.raises(Conflict, match="your own"):
        people.operators.suspend(operator, operator.tenant)
    with pytest.raises(NotFound):
        people.operators.suspend(operator, "nobody")
    with pytest.raises(NotFound):
        people.operators.unsuspend("nobody")
    with pytest.raises(NotFound):
        people.operators.set_password(operator, "nobody", NewPassword(GIVEN))


def test_nobody_gets_more_rights_by_giving_a_password(people: People) -> None:
    """Whoever knows an account's password can do all that it may, so a key that may less gives none."""
    operator = people.sessions.principal(people.log_in("operator").secret)
    key = replace(operator, scopes=frozenset({Scope.OPERATE}))
    bob = people.sign_up("bob")
    with pytest.raises(PermissionDenied):
        people.operators.set_password(key, bob.account.id, NewPassword(GIVEN))
    for caller in (operator, key):
        with pytest.raises(Conflict, match="your own"):
            people.operators.set_password(caller, operator.tenant, NewPassword(GIVEN))
    people.log_in("bob")


def _hot_says(hot: HotState, plain: str) -> bool:
    """Whether inference refuses it as not valid."""
    [view] = hot.credentials([(token_sha256(plain), "-")])
    try:
        authorised(view.token, None, now=view.now)
    except Unauthenticated:
        return True
    except NotFound:
        return False
    raise AssertionError("there is no such model")


def _marked(store: MongoStore, plain: str) -> bool:
    token = store.token(token_sha256(plain))
    assert token is not None
    return token.suspended
