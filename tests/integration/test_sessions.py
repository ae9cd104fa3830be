"""How long a session goes on, and what ends it, over the real store."""

from __future__ import annotations

import hashlib

import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.contract.errors import Unauthenticated
from chalicelib.contract.hotstate import HotState
from chalicelib.sessions import Source
from infra.local.embedded import EmbeddedServers
from tests.support.people import HERE, People, fresh_store


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    return fresh_store(servers)


@pytest.fixture
def people(store: MongoStore, hot: HotState) -> People:
    return People(store, hot)


def test_a_secret_has_256_bits_and_only_its_hash_is_kept(people: People, store: MongoStore) -> None:
    secrets = {people.sign_up().secret, people.log_in().secret}
    assert [len(secret) for secret in secrets] == [43, 43]
    kept = str(list(store._sessions.find()))
    for secret in secrets:
        assert secret not in kept
        assert hashlib.sha256(secret.encode()).hexdigest() in kept


@pytest.mark.parametrize(
    "secret", ["", "x", "A" * 43, "A" * 44, "é" * 43, "A" * 1_000_000, "../../etc/passwd"]
)
def test_what_is_no_secret_is_nobody(people: People, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        people.sessions.principal(secret)


def test_a_session_that_is_used_goes_on_for_thirty_days_and_no_longer(people: People) -> None:
    secret = people.sign_up().secret
    for days in (6, 6, 6, 6, 5.9):
        people.clock.pass_by(days=days)
        people.sessions.principal(secret)
    people.clock.pass_by(days=0.1)
    with pytest.raises(Unauthenticated):
        people.sessions.principal(secret)


def test_a_session_that_is_not_used_is_over_after_seven_days(people: People) -> None:
    used, unused = people.sign_up().secret, people.log_in().secret
    people.clock.pass_by(days=6)
    people.sessions.principal(used)
    people.clock.pass_by(days=1, seconds=1)
    people.sessions.principal(used)
    with pytest.raises(Unauthenticated):
        people.sessions.principal(unused)


def test_sessions_say_when_and_from_where(people: People) -> None:
    first = people.sign_up()
    people.clock.pass_by(minutes=5, seconds=20)
    long_name = "x" * 1_000
    second = people.log_in(source=Source("198.51.100.7", long_name))
    people.clock.pass_by(minutes=5)
    principal = people.sessions.principal(second.secret)
    latest, earlier = people.accounts.sessions(principal)
    assert latest.id == principal.session_id
    assert (latest.address, latest.user_agent) == ("198.51.100.7", long_name[: limits.USER_AGENT_LENGTH_MAX])
    assert latest.last_used_at == people.clock.at.replace(second=0)
    assert (earlier.address, earlier.user_agent) == (HERE.address, HERE.user_agent)
    assert people.sessions.principal(first.secret).session_id == earlier.id


def test_f73_logging_out_ends_one_session_everywhere_within_seconds(store: MongoStore, hot: HotState) -> None:
    here, other = People(store, hot), People(store, hot)
    one, two = here.sign_up().secret, here.log_in().secret
    other.sessions.principal(one)
    here.accounts.log_out(here.sessions.principal(one))
    with pytest.raises(Unauthenticated):
        here.sessions.principal(one)
    other.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
    with pytest.raises(Unauthenticated):
        other.sessions.principal(one)
    other.sessions.principal(two)


def test_f73_logging_out_everywhere_ends_them_all_and_no_one_elses(store: MongoStore, hot: HotState) -> None:
    here, other = People(store, hot), People(store, hot)
    mine, bobs = [here.sign_up().secret, here.log_in().secret], here.sign_up("bob").secret
    for secret in mine:
        other.sessions.principal(secret)
    here.clock.pass_by(seconds=1)
    here.accounts.log_out_everywhere(here.sessions.principal(mine[0]))
    other.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
    for process in (here, other):
        for secret in mine:
            with pytest.raises(Unauthenticated):
                process.sessions.principal(secret)
        process.sessions.principal(bobs)
    here.log_in()


def test_an_account_has_so_many_sessions_and_the_oldest_goes(people: People) -> None:
    account = people.sign_up().account
    secrets = []
    for _ in range(limits.ACCOUNT_SESSIONS_MAX):
        people.clock.pass_by(seconds=1)
        secrets.append(people.sessions.begin(account, HERE, at=people.clock.at))
    assert len(people.sessions.list(account)) == limits.ACCOUNT_SESSIONS_MAX
    people.sessions.principal(secrets[0])
    people.clock.pass_by(seconds=limits.TOKEN_CACHE_SECONDS)
    people.sessions.begin(account, HERE, at=people.clock.at)
    with pytest.raises(Unauthenticated):
        people.sessions.principal(secrets[0])
    people.sessions.principal(secrets[1])
