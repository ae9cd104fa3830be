"""Accounts of people: signing up, logging in, changing one's own password and name.

A wrong password and an address without an account cost and say the same. Whoever guesses is slowed down by
`guessing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    InvalidRequest,
    ModelRocketError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from chalicelib.contract.hotstate import LogInTry
from chalicelib.guessing import Guessing, log_in_try, sign_up_try
from chalicelib.passwords import check_password, read_email
from chalicelib.ports import Passwords, Store
from chalicelib.records import Account, Role, Session
from chalicelib.sessions import Sessions, Source
from chalicelib.settings import SignUpMode

Email = Annotated[str, Meta(max_length=limits.EMAIL_LENGTH_MAX)]
Password = Annotated[str, Meta(max_length=limits.PASSWORD_LENGTH_MAX)]
Name = Annotated[str, Meta(max_length=limits.ACCOUNT_NAME_LENGTH_MAX)]


class SignUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account for oneself. `name`: for others to know one by."""

    email: Email
    password: Password
    name: Name = ""


class LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who one is."""

    email: Email
    password: Password


class KnownLogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same where the password itself is known elsewhere. `password_hash`: argon2id, in PHC form."""

    email: Email
    password_hash: Annotated[str, Meta(pattern=r"^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[\w+/]+\$[\w+/]+\Z")]


class ChangePassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`password`: the one so far. All other sessions end."""

    password: Password
    new_password: Password


class ChangeAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one may change of one's own account."""

    name: Name


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`secret`: of the session that has begun; known now only."""

    account: Account
    secret: str


class Accounts:
    """The use cases."""

    def __init__(  # noqa: PLR0913 - what it is composed of
        self,
        *,
        store: Store,
        sessions: Sessions,
        passwords: Passwords,
        guessing: Guessing,
        sign_up: SignUpMode,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._guessing = guessing
        self._sign_up = sign_up
        self._now = now
        self._new_id = new_id

    def sign_up(self, asked: SignUp, source: Source) -> LoggedIn:
        """A new account, logged in; its own again where the password is the same.

        The first account of a deployment is an operator's. Raises InvalidRequest, PermissionDenied where this
        deployment does not allow it, Conflict where the address has an account, RateLimited, Overloaded.
        """
        email = read_email(asked.email)
        check_password(asked.password, email=email)
        with self._passwords.place():
            self._guessing.take(sign_up_try(source.address))
            roles = self._roles()
            made = self._add(asked, email, roles) if roles else None
            if made is None:
                return self._signed_up_already(asked, source)
        return self._begin(made, source, at=made.created_at)

    def sign_up_open(self) -> bool:
        """Whether whoever signs up now is let in."""
        return bool(self._roles())

    def log_in(self, asked: LogIn, source: Source) -> LoggedIn:
        """Raises Unauthenticated, PermissionDenied for a suspended account, RateLimited, Overloaded."""
        with self._passwords.place():
            return self._logged_in(asked, source)

    def change_password(self, principal: Principal, asked: ChangePassword, source: Source) -> LoggedIn:
        """Everywhere else is logged out, and here is a new session.

        Raises PermissionDenied where the password so far is wrong, InvalidRequest, RateLimited, Overloaded.
        """
        with self._passwords.place():
            changed = self._changed_password(self.get(principal), asked, source)
        self._sessions.end_all(changed.id)
        return self._begin(changed, source, at=self._now())

    def get(self, principal: Principal) -> Account:
        """One's own. Raises NotFound."""
        account = self._store.account(principal.tenant)
        if account is None:
            raise NotFound("This account is gone.")
        return account

    def rename(self, principal: Principal, asked: ChangeAccount) -> Account:
        """Raises Conflict where it is being changed at this moment."""
        account = self.get(principal)
        return account if account.name == asked.name else self._change(account, name=asked.name)

    def sessions(self, principal: Principal) -> Sequence[Session]:
        """One's own that go on."""
        return self._sessions.list(self.get(principal))

    def log_out(self, principal: Principal) -> None:
        """Of the session that the caller is in. Safe to repeat."""
        self._sessions.end(principal)

    def log_out_everywhere(self, principal: Principal) -> None:
        """Safe to repeat. Raises Conflict where the account is being changed at this moment."""
        self._change(self.get(principal), sessions_from=self._now())
        self._sessions.end_all(principal.tenant)

    def give_log_in(self, account_id: str, asked: LogIn) -> Account:
        """An address and a password for an account that had none, or others than it had.

        Raises InvalidRequest, NotFound, Conflict where the address has another account.
        """
        check_password(asked.password, email=read_email(asked.email))
        with self._passwords.place():
            known = KnownLogIn(asked.email, self._passwords.hash(asked.password))
        return set_log_in(self._store, self._sessions, account_id, known, at=self._now())

    def _logged_in(self, asked: LogIn, source: Source) -> LoggedIn:
        began_at = self._now()
        email = asked.email.strip().lower()
        tried = log_in_try(email, source.address)
        with self._guess(tried):
            account = self._store.account_of(email)
            right = self._passwords.matches(asked.password, account.password_hash if account else None)
        if account is None or not right:
            raise Unauthenticated("The e-mail address or the password is wrong.")
        self._guessing.logged_in(tried)
        if account.suspended_at is not None:
            raise PermissionDenied("This account is suspended. Ask an operator of this deployment.")
        return self._begin(self._with_current_hash(account, asked.password), source, at=began_at)

    def _changed_password(self, account: Account, asked: ChangePassword, source: Source) -> Account:
        check_password(asked.new_password, email=account.email)
        tried = log_in_try(account.email, source.address)
        with self._guess(tried):
            right = self._passwords.matches(asked.password, account.password_hash)
        if not right:
            raise PermissionDenied("The password so far is wrong.")
        self._guessing.logged_in(tried)
        if asked.new_password == asked.password:
            raise InvalidRequest("new_password: this is the password so far")
        return self._change(
            account,
            password_hash=self._passwords.hash(asked.new_password),
            password_expired=False,
            sessions_from=self._now(),
        )

    def _roles(self) -> Sequence[Role]:
        """What who signs up now may be: only one can be the first, whoever else comes at the same moment."""
        first = (Role.OPERATOR,) if not self._store.has_accounts() else ()
        match self._sign_up:
            case SignUpMode.CLOSED:
                return ()
            case SignUpMode.FIRST:
                return first
            case SignUpMode.OPEN:
                return (*first, Role.MEMBER)

    def _add(self, asked: SignUp, email: str, roles: Sequence[Role]) -> Account | None:
        password_hash = self._passwords.hash(asked.password)
        for role in roles:
            made = Account(
                id=self._new_id(),
                name=asked.name,
                created_at=self._now(),
                role=role,
                founder=role is Role.OPERATOR,
                email=email,
                password_hash=password_hash,
            )
            if self._store.add_account(made):
                return made
        return None

    def _signed_up_already(self, asked: SignUp, source: Source) -> LoggedIn:
        """Who signed up a moment ago and did not hear of it, say. Raises Conflict, PermissionDenied."""
        try:
            return self._logged_in(LogIn(read_email(asked.email), asked.password), source)
        except Unauthenticated:
            if self._sign_up is SignUpMode.OPEN:
                raise Conflict("This e-mail address has an account. Log in: POST /v1/sessions") from None
        raise PermissionDenied("Nobody can sign up here. An operator of this deployment makes accounts.")

    @contextmanager
    def _guess(self, tried: LogInTry) -> Iterator[None]:
        """What is looked up for a guess. Where that fails, none was made."""
        self._guessing.take(tried)
        try:
            yield
        except ModelRocketError:
            self._guessing.no_guess(tried)
            raise

    def _with_current_hash(self, account: Account, password: str) -> Account:
        """A password that was hashed at another cost is hashed again, as soon as it is known."""
        if account.password_hash is None or not self._passwords.outdated(account.password_hash):
            return account
        with suppress(Conflict):  # it has changed meanwhile: another time
            return self._change(account, password_hash=self._passwords.hash(password))
        return account

    def _begin(self, account: Account, source: Source, *, at: datetime) -> LoggedIn:
        return LoggedIn(account, self._sessions.begin(account, source, at=at))

    def _change(self, account: Account, **changes: object) -> Account:
        return change(self._store, account, **changes)


def set_log_in(
    store: Store, sessions: Sessions, account_id: str, known: KnownLogIn, *, at: datetime
) -> Account:
    """Whoever was logged in is so no more. Raises InvalidRequest, NotFound, Conflict."""
    email = read_email(known.email)
    account = store.account(account_id)
    if account is None:
        raise NotFound("There is no such account.")
    owner = store.account_of(email)
    if owner is not None and owner.id != account.id:
        raise Conflict("This e-mail address has another account.")
    changed = change(
        store,
        account,
        email=email,
        password_hash=known.password_hash,
        password_expired=False,
        sessions_from=at,
    )
    sessions.end_all(account.id)
    return changed


def change(store: Store, account: Account, **changes: object) -> Account:
    """As it is then. Raises Conflict."""
    changed = msgspec.structs.replace(account, **changes, revision=account.revision + 1)
    if not store.change_account(account, changed):
        raise Conflict("The account is being changed at this moment. Try again.")
    return changed
