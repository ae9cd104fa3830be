"""How accounts and sessions look as JSON. Fields are listed one by one: nothing leaves by accident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chalicelib import records
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.messages import Scope
from chalicelib.quotas import Quotas
from chalicelib.records import Role


class Account(msgspec.Struct, frozen=True):
    """An account.

    Attributes:
        email: empty where nobody logs in.
        password_expired: who logs in has to choose another password first.
        suspended_at: when an operator took its rights away; null where nobody did.
    """

    id: str
    email: str
    name: str
    role: Role
    password_expired: bool
    suspended_at: datetime | None
    created_at: datetime


class Quota(msgspec.Struct, frozen=True):
    """How much of something there is, and may be."""

    used: int
    max: int


class Keeps(msgspec.Struct, frozen=True):
    """What an account keeps; `bytes`: of versions that have not failed, uploads under way included."""

    models: Quota
    bytes: Quota
    pinned_models: Quota


class OwnAccount(Account, frozen=True):
    """`scopes`: what the key or session that was shown may do."""

    scopes: list[Scope]
    keeps: Keeps


class LoggedIn(msgspec.Struct, frozen=True):
    """Who is logged in now. The session itself is in the cookie that comes with it."""

    account: Account


class AccountsPage(msgspec.Struct, frozen=True):
    """`next`: what to ask for `after`; null on the last page."""

    accounts: list[Account]
    next: str | None


class Session(msgspec.Struct, frozen=True):
    """A log-in that goes on.

    Attributes:
        current: it is the one that asks.
        last_used_at: to the minute.
        expires_at: unless it is used before.
        address, user_agent: of the log-in.
    """

    id: str
    current: bool
    began_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str


class Sessions(msgspec.Struct, frozen=True):
    """Where one is logged in, the latest log-in first."""

    sessions: list[Session]


def account(shown: records.Account) -> Account:
    return Account(
        id=shown.id,
        email=shown.email,
        name=shown.name,
        role=shown.role,
        password_expired=shown.password_expired,
        suspended_at=shown.suspended_at,
        created_at=shown.created_at,
    )


def own_account(shown: records.Account, principal: Principal, quotas: Quotas) -> OwnAccount:
    used, allowed = quotas.used(shown.id), quotas.allowed
    return OwnAccount(
        **msgspec.structs.asdict(account(shown)),
        scopes=[scope for scope in Scope if scope in principal.scopes],
        keeps=Keeps(
            models=Quota(used.models, allowed.models),
            bytes=Quota(used.bytes, allowed.bytes),
            pinned_models=Quota(used.pinned, allowed.pinned),
        ),
    )


def logged_in(shown: records.Account) -> LoggedIn:
    return LoggedIn(account(shown))


def accounts(listed: Sequence[records.Account]) -> AccountsPage:
    following = listed[-1].id if len(listed) == limits.PAGE_SIZE_MAX else None
    return AccountsPage([account(one) for one in listed], following)


def sessions(listed: Sequence[records.Session], principal: Principal) -> Sessions:
    return Sessions(
        [
            Session(
                id=one.id,
                current=one.id == principal.session_id,
                began_at=one.began_at,
                last_used_at=one.last_used_at,
                expires_at=one.expires_at,
                address=one.address,
                user_agent=one.user_agent,
            )
            for one in listed
        ]
    )
