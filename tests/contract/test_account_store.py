"""What the store must do for accounts and sessions, whatever MongoDB it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.records import Account, Role, Session, Token
from infra.local.embedded import EmbeddedServers
from tests.support.people import fresh_store

NOW = datetime(2036, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    return fresh_store(servers)


def person(account_id: str = "1", *, email: str = "ada@example.org", founder: bool = False) -> Account:
    return Account(id=account_id, name="Ada", created_at=NOW, email=email, founder=founder)


def session(session_id: str = "s1", *, tenant: str = "1", began_at: datetime = NOW) -> Session:
    return Session(
        id=session_id,
        sha256=f"sha of {session_id}",
        tenant=tenant,
        began_at=began_at,
        last_used_at=began_at,
        expires_at=began_at + HOUR,
        address="192.0.2.1",
        user_agent="a browser",
    )


def token(token_id: str, tenant: str) -> Token:
    return Token(
        id=token_id,
        sha256=token_id,
        tenant=tenant,
        kind=TokenKind.API_KEY,
        name="",
        hint="mr_…",
        created_at=NOW,
        scopes=(Scope.INFER,),
    )


def test_an_account_is_read_back_whole(store: MongoStore) -> None:
    made = msgspec.structs.replace(
        person(founder=True),
        role=Role.OPERATOR,
        password_hash="$argon2id$…",
        password_expired=True,
        sessions_from=NOW,
        suspended_at=NOW,
    )
    assert not store.has_accounts()
    assert store.add_account(made)
    assert store.account("1") == store.account_of("ada@example.org") == made
    assert store.has_accounts()


def test_an_address_has_one_account_and_many_accounts_have_no_address(store: MongoStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda n: store.add_account(person(str(n))), range(8))) == 1
    assert all(store.add_account(person(f"nobody {n}", email="")) for n in range(3))
    assert store.account_of("") is None


def test_of_many_first_accounts_at_once_one_is_the_founder(store: MongoStore) -> None:
    def add(number: int) -> bool:
        return store.add_account(person(str(number), email=f"p{number}@example.org", founder=True))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(8))) == 1


def test_an_account_changes_only_from_what_was_seen_and_never_to_anothers_address(store: MongoStore) -> None:
    seen = person()
    store.add_account(seen)
    store.add_account(person("2", email="bob@example.org"))
    renamed = msgspec.structs.replace(seen, name="Countess", revision=2)
    assert store.change_account(seen, renamed)
    assert not store.change_account(seen, msgspec.structs.replace(seen, name="late", revision=2))
    assert not store.change_account(
        renamed, msgspec.structs.replace(renamed, email="bob@example.org", revision=3)
    )
    assert store.account("1") == renamed


def test_accounts_are_paged_and_the_suspended_ones_found(store: MongoStore) -> None:
    for number in range(5):
        store.add_account(person(str(number), email=f"p{number}@example.org"))
    assert [one.id for one in store.accounts_page("1", 2)] == ["2", "3"]
    assert store.suspended_accounts() == ()
    suspended = msgspec.structs.replace(person("3", email="p3@example.org"), suspended_at=NOW, revision=2)
    store.change_account(person("3", email="p3@example.org"), suspended)
    assert store.suspended_accounts() == (suspended,)


def test_a_session_is_found_by_its_secret_until_it_is_ended(store: MongoStore) -> None:
    store.add_session(session())
    assert store.session("sha of s1") == session()
    store.end_session("another tenant", "s1")
    assert store.session("sha of s1") == session()
    store.end_session("1", "s1")
    store.end_session("1", "s1")
    assert store.session("sha of s1") is None


def test_a_sessions_use_moves_it_forwards_only_and_never_brings_it_back(store: MongoStore) -> None:
    store.add_session(session())
    later = msgspec.structs.replace(session(), last_used_at=NOW + HOUR, expires_at=NOW + 2 * HOUR)
    store.use_session(later)
    store.use_session(session())
    assert store.session("sha of s1") == later
    store.end_session("1", "s1")
    store.use_session(later)
    assert store.session("sha of s1") is None


def test_sessions_are_listed_and_ended_by_tenant(store: MongoStore) -> None:
    for number in range(4):
        store.add_session(session(f"s{number}", began_at=NOW + number * HOUR))
    store.add_session(session("other", tenant="2"))
    assert [one.id for one in store.sessions("1", 3)] == ["s3", "s2", "s1"]
    store.end_sessions("1")
    assert store.sessions("1", 3) == ()
    assert store.sessions("2", 3) == (session("other", tenant="2"),)


def test_tokens_say_whether_their_account_is_suspended_and_each_change_is_a_newer_revision(
    store: MongoStore,
) -> None:
    for token_id, tenant in (("a", "1"), ("b", "1"), ("c", "2")):
        store.add_token(token(token_id, tenant))
    for _ in range(2):
        store.mark_suspended("1", True)
    marked = [store.token(one) for one in "ab"]
    assert [(one.suspended, one.revision, one.hot().revoked) for one in marked if one] == [
        (True, 2, True)
    ] * 2
    assert store.token("c") == token("c", "2")
    assert store.suspended_tenants() == {"1"}
    store.mark_suspended("1", False)
    again = store.token("a")
    assert again == msgspec.structs.replace(token("a", "1"), revision=3)
    assert store.suspended_tenants() == frozenset()
