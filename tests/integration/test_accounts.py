"""Signing up, logging in and changing one's password, over the real stores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import pytest

from chalicelib.accounts import ChangeAccount, ChangePassword, LogIn, SignUp
from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    DependencyFailed,
    InvalidRequest,
    ModelRocketError,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope
from chalicelib.records import Role
from chalicelib.sessions import Source
from chalicelib.settings import SignUpMode
from infra.local.embedded import EmbeddedServers
from tests.support.people import CHEAP, COST, HERE, PASSWORD, People, fresh_store

ELSEWHERE = Source("198.51.100.7", "another browser")
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    return fresh_store(servers)


@pytest.fixture
def people(store: MongoStore, hot: HotState) -> People:
    return People(store, hot)


def error_of(call: Callable[[], Any]) -> ModelRocketError:
    with pytest.raises(ModelRocketError) as raised:
        call()
    return raised.value


def test_the_first_account_is_an_operators_and_the_next_one_is_not(people: People) -> None:
    first, second = people.sign_up("ada"), people.sign_up("bob")
    assert people.sessions.principal(first.secret).scopes == frozenset(Scope)
    member = people.sessions.principal(second.secret)
    assert member.scopes == frozenset(Scope) - {Scope.OPERATE}
    assert (member.tenant, member.hint, member.role) == (second.account.id, "bob@example.org", Role.MEMBER)
    assert (member.key_id, bool(member.session_id)) == (None, True)


def test_of_many_who_sign_up_first_one_becomes_the_operator(store: MongoStore, hot: HotState) -> None:
    processes = [People(store, hot) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda n: processes[n].sign_up(f"p{n}").account.role, range(6)))
    assert sorted(made) == [Role.MEMBER] * 5 + [Role.OPERATOR]


def test_where_only_the_first_may_sign_up_all_others_are_refused_alike(
    store: MongoStore, hot: HotState
) -> None:
    processes = [People(store, hot, sign_up=SignUpMode.FIRST) for _ in range(6)]

    def sign_up(number: int) -> Role | str:
        try:
            return processes[number].sign_up(f"p{number}").account.role
        except PermissionDenied as error:
            return error.message

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(sign_up, range(6)))
    assert made.count(Role.OPERATOR) == 1
    assert len(set(made)) == 2
    taken = SignUp(f"p{made.index(Role.OPERATOR)}@example.org", "another-good-one")
    assert error_of(lambda: processes[0].accounts.sign_up(taken, HERE)).message in made


def test_a_deployment_that_has_an_account_of_its_own_lets_nobody_become_the_operator(
    store: MongoStore, hot: HotState
) -> None:
    people = People(store, hot, sign_up=SignUpMode.FIRST)
    people.keys.ensure_api_key("local", "mr_" + "0" * 36, role=Role.OPERATOR)
    with pytest.raises(PermissionDenied):
        people.sign_up()


def test_where_sign_up_is_closed_nobody_may(store: MongoStore, hot: HotState) -> None:
    with pytest.raises(PermissionDenied, match="operator"):
        People(store, hot, sign_up=SignUpMode.CLOSED).sign_up()
    assert not store.has_accounts()


def test_f13_signing_up_again_after_a_lost_answer_finds_the_account(
    people: People, store: MongoStore
) -> None:
    made = people.sign_up()
    again = people.sign_up()
    assert again.account == made.account
    assert people.sessions.principal(again.secret).tenant == made.account.id
    assert len(store.accounts_page("", 10)) == 1


def test_an_address_that_has_an_account_takes_no_other_password(people: People) -> None:
    people.sign_up()
    with pytest.raises(Conflict, match="Log in"):
        people.accounts.sign_up(SignUp("ADA@example.org", "another-good-one"), HERE)
    with pytest.raises(Unauthenticated):
        people.log_in(password="another-good-one")


def test_nothing_but_the_address_the_password_and_the_name_can_be_said() -> None:
    for field in ("role", "tenant", "id", "founder", "password_hash", "scopes"):
        body = {"email": "eve@example.org", "password": PASSWORD, field: "operator"}
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.json.decode(msgspec.json.encode(body), type=SignUp)


def test_no_password_is_kept(store: MongoStore, hot: HotState) -> None:
    account = People(store, hot, cost=COST).sign_up().account
    assert account.password_hash is not None
    assert account.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    kept = str(list(store._accounts.find())) + str(list(store._sessions.find()))
    assert PASSWORD not in kept


def test_a_wrong_password_and_an_unknown_address_are_told_alike(people: People) -> None:
    people.sign_up()
    wrong = error_of(lambda: people.log_in(password="not-the-password"))
    unknown = error_of(lambda: people.log_in("nobody"))
    odd = error_of(lambda: people.accounts.log_in(LogIn("no address", PASSWORD), HERE))
    nobodys = error_of(lambda: people.accounts.log_in(LogIn("", PASSWORD), HERE))
    assert {(type(one), one.message, one.retry_after) for one in (wrong, unknown, odd, nobodys)} == {
        (Unauthenticated, wrong.message, None)
    }


def test_an_unknown_address_costs_as_much_work_as_a_wrong_password(store: MongoStore, hot: HotState) -> None:
    """Processor time of the process, so that company on the machine does not count."""
    people = People(store, hot, cost=COST)
    people.sign_up()
    spent: dict[str, list[float]] = {"ada": [], "nobody": []}
    for number in range(10):
        source = Source(f"192.0.2.{number}", "")
        for name, figures in spent.items():
            began = time.process_time()
            error_of(partial(people.log_in, name, "not-the-password", source))
            figures.append(time.process_time() - began)
    known, unknown = (statistics.median(figures[1:]) for figures in spent.values())
    assert 0.6 < unknown / known < 1.6


def test_f74_who_guesses_is_slowed_down_and_told_when_to_come_back(people: People) -> None:
    people.sign_up()
    for _ in range(limits.LOG_INS_AT_ONCE):
        with pytest.raises(Unauthenticated):
            people.log_in(password="not-the-password", source=ELSEWHERE)
    refused = error_of(lambda: people.log_in(source=ELSEWHERE))
    assert isinstance(refused, RateLimited)
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= 60 / limits.LOG_INS_PER_MINUTE


def test_f74_a_guesser_cannot_lock_the_owner_out(people: People) -> None:
    people.sign_up()
    people.log_in()
    for number in range(12):
        for _ in range(4):
            guess = partial(people.log_in, "ada", "a-guess-of-many", Source(f"203.0.113.{number}", ""))
            error_of(guess)
    refused = error_of(lambda: people.log_in(source=Source("203.0.113.200", "")))
    assert isinstance(refused, RateLimited)
    assert people.log_in().account.email == "ada@example.org"


def test_f74_one_address_tries_few_accounts_a_minute(people: People) -> None:
    refused = [
        type(error_of(partial(people.log_in, f"p{number}", "Spring-2036-x", ELSEWHERE)))
        for number in range(limits.ADDRESS_LOG_INS_PER_MINUTE + 3)
    ]
    assert refused.count(RateLimited) >= 2
    people.sign_up()


def test_logging_in_often_is_no_guessing(people: People) -> None:
    people.sign_up()
    for _ in range(limits.LOG_INS_AT_ONCE + 5):
        people.log_in()


def test_f74_while_the_hot_state_is_away_each_process_counts_for_itself_at_a_tenth(store: MongoStore) -> None:
    people = People(store, HotState.connect(NOWHERE, timeout_seconds=1))
    people.sign_up()
    assert people.log_in().account.email == "ada@example.org"
    guesses = [
        type(error_of(lambda: people.log_in(password="a-guess-of-many", source=ELSEWHERE))) for _ in "123"
    ]
    assert guesses == [Unauthenticated, RateLimited, RateLimited]
    people.clock.pass_by(seconds=10 * 60 / limits.LOG_INS_PER_MINUTE + 1)
    assert people.log_in(source=ELSEWHERE).account.email == "ada@example.org"


def test_f11_while_the_truth_is_away_a_log_in_is_a_503_and_no_guess(people: People, hot: HotState) -> None:
    people.sign_up()
    away = People(MongoStore("mongodb://127.0.0.1:1/", database="away"), hot)
    refused = error_of(away.log_in)
    assert isinstance(refused, DependencyFailed)
    assert (refused.status, refused.retryable) == (503, True)
    guesses = [
        type(error_of(lambda: people.log_in(password="not-the-password")))
        for _ in range(limits.LOG_INS_AT_ONCE + 1)
    ]
    assert guesses == [Unauthenticated] * limits.LOG_INS_AT_ONCE + [RateLimited]


def test_a_password_hashed_at_another_cost_is_hashed_again(store: MongoStore, hot: HotState) -> None:
    People(store, hot, cost=CHEAP).sign_up()
    people = People(store, hot, cost=COST)
    people.log_in()
    kept = store.account_of("ada@example.org")
    assert kept is not None and kept.password_hash is not None
    assert "m=19456,t=2,p=1" in kept.password_hash
    people.log_in()


def test_a_changed_password_ends_every_session_and_begins_one(store: MongoStore, hot: HotState) -> None:
    people, other = People(store, hot), People(store, hot)
    here, there = people.sign_up(), people.log_in(source=ELSEWHERE)
    other.sessions.principal(there.secret)
    principal = people.sessions.principal(here.secret)
    people.clock.pass_by(seconds=1)
    changed = people.accounts.change_password(principal, ChangePassword(PASSWORD, "a-new-one-entirely"), HERE)
    for secret in (here.secret, there.secret):
        with pytest.raises(Unauthenticated):
            people.sessions.principal(secret)
    other.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
    with pytest.raises(Unauthenticated):
        other.sessions.principal(there.secret)
    assert people.sessions.principal(changed.secret).tenant == principal.tenant
    people.log_in(password="a-new-one-entirely")
    with pytest.raises(Unauthenticated):
        people.log_in()


def test_a_log_in_under_way_while_the_password_changes_is_over_too(store: MongoStore, hot: HotState) -> None:
    """It read the old hash, so it must not outlive the change whichever of the two is written first."""
    slow, quick = People(store, hot), People(store, hot)
    here = slow.sign_up()
    account = store.account_of("ada@example.org")
    assert account is not None
    began_at = slow.clock.now()
    quick.clock.pass_by(seconds=1)
    principal = quick.sessions.principal(here.secret)
    quick.accounts.change_password(principal, ChangePassword(PASSWORD, "a-new-one-entirely"), HERE)
    late = slow.sessions.begin(account, ELSEWHERE, at=began_at)
    with pytest.raises(Unauthenticated):
        slow.sessions.principal(late)


def test_the_password_so_far_is_asked_for_and_cannot_be_guessed_from_within(people: People) -> None:
    principal = people.sessions.principal(people.sign_up().secret)
    wrong = ChangePassword("not-the-password", "a-new-one-entirely")
    tries = [
        type(error_of(lambda: people.accounts.change_password(principal, wrong, HERE))) for _ in range(12)
    ]
    assert tries[0] is PermissionDenied
    assert tries[-1] is RateLimited


@pytest.mark.parametrize(
    ("new", "says"), [(PASSWORD, "so far"), ("short", "at least 10"), ("xx-example-ada-", "")]
)
def test_a_new_password_is_a_good_one_and_another(people: People, new: str, says: str) -> None:
    principal = people.sessions.principal(people.sign_up().secret)
    if says:
        with pytest.raises(InvalidRequest, match=says):
            people.accounts.change_password(principal, ChangePassword(PASSWORD, new), HERE)
    else:
        people.accounts.change_password(principal, ChangePassword(PASSWORD, new), HERE)


def test_an_account_is_renamed_by_its_owner(people: People, store: MongoStore) -> None:
    principal = people.sessions.principal(people.sign_up().secret)
    assert people.accounts.rename(principal, ChangeAccount("Countess")).name == "Countess"
    assert people.accounts.get(principal).name == "Countess"


def test_an_account_of_the_deployments_own_can_be_given_a_log_in(people: People, store: MongoStore) -> None:
    people.keys.ensure_api_key("local", "mr_" + "0" * 36, role=Role.OPERATOR)
    [account] = store.accounts_page("", 10)
    people.accounts.give_log_in(account.id, LogIn("ada@example.org", PASSWORD))
    logged_in = people.log_in()
    assert logged_in.account.id == account.id
    assert Scope.OPERATE in people.sessions.principal(logged_in.secret).scopes
    people.sign_up("bob")
    with pytest.raises(Conflict):
        people.accounts.give_log_in(account.id, LogIn("bob@example.org", PASSWORD))
    people.keys.ensure_api_key("local", "mr_" + "0" * 36, role=Role.OPERATOR)
    assert len(store.accounts_page("", 10)) == 2
