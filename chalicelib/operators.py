"""What operators do with accounts: see them, make them, suspend them, give them another password.

A suspended account is refused everywhere within `TOKEN_CACHE_SECONDS`: its tokens say so themselves, in the
truth and in the hot state, so that inference needs to look at nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chalicelib.accounts import Email, Name, Password, change
from chalicelib.auth import Principal, require
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope
from chalicelib.passwords import check_password, read_email
from chalicelib.ports import Passwords, Store
from chalicelib.records import Account
from chalicelib.sessions import Sessions


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account for somebody else, who changes the password at the first log-in."""

    email: Email
    password: Password
    name: Name = ""


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For somebody else, who changes it at the next log-in."""

    password: Password


class Operators:
    """The use cases. That the caller is an operator has been seen before."""

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        sessions: Sessions,
        passwords: Passwords,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._hot = hot
        self._sessions = sessions
        self._passwords = passwords
        self._now = now
        self._new_id = new_id

    def list(self, *, after: str = "") -> Sequence[Account]:
        """A page of them, in order of id."""
        return self._store.accounts_page(after, limits.PAGE_SIZE_MAX)

    def create(self, asked: NewAccount, *, seed: bytes | None = None) -> Account:
        """With the same `seed`, doing it again finds what was made. Raises InvalidRequest, Conflict."""
        email = read_email(asked.email)
        check_password(asked.password, email=email)
        with self._passwords.place():
            password_hash = self._passwords.hash(asked.password)
        account = Account(
            id=self._new_id() if seed is None else str(UUID(bytes=seed[:16], version=4)),
            name=asked.name,
            created_at=self._now(),
            email=email,
            password_hash=password_hash,
            password_expired=True,
        )
        if self._store.add_account(account):
            return account
        made = self._store.account_of(email)
        if made is None or made.id != account.id:
            raise Conflict("This e-mail address has an account.")
        return made

    def suspend(self, principal: Principal, account_id: str) -> Account:
        """Safe to repeat. Raises NotFound, Conflict for one's own."""
        account = self._account(account_id)
        if account.id == principal.tenant:
            raise Conflict("This is your own account: another operator may suspend it.")
        if account.suspended_at is None:
            account = change(self._store, account, suspended_at=self._now())
        self._mark(account)
        return account

    def unsuspend(self, account_id: str) -> Account:
        """Safe to repeat. Raises NotFound."""
        account = self._account(account_id)
        if account.suspended_at is not None:
            account = change(self._store, account, suspended_at=None)
        self._mark(account)
        return account

    def set_password(self, principal: Principal, account_id: str, asked: NewPassword) -> Account:
        """All its sessions end.

        Whoever knows an account's password may do all that it may: nobody gives themselves more by this.
        Raises NotFound, InvalidRequest, PermissionDenied where the caller may not do everything, Conflict for
        one's own and where nobody logs in to it.
        """
        account = self._account(account_id)
        if account.id == principal.tenant:
            raise Conflict("This is your own account: POST /v1/account/password")
        for scope in Scope:
            require(principal, scope)
        if not account.email:
            raise Conflict("Nobody logs in to this account: it has no e-mail address.")
        check_password(asked.password, email=account.email)
        with self._passwords.place():
            password_hash = self._passwords.hash(asked.password)
        changed = change(
            self._store,
            account,
            password_hash=password_hash,
            password_expired=True,
            sessions_from=self._now(),
        )
        self._sessions.end_all(account.id)
        return changed

    def settle(self) -> None:
        """Suspensions that did not reach all tokens do now: a call died halfway, or a key was just made."""
        suspended = {account.id for account in self._store.suspended_accounts()}
        for tenant in suspended | self._store.suspended_tenants():
            self._mark_tokens(tenant)

    def _mark_tokens(self, tenant: str) -> None:
        """As their account is, also where that changes at this moment."""
        marked = None
        while marked is not (suspended := self._is_suspended(tenant)):
            self._store.mark_suspended(tenant, suspended)
            marked = suspended

    def _is_suspended(self, tenant: str) -> bool:
        account = self._store.account(tenant)
        return account is not None and account.suspended_at is not None

    def _mark(self, account: Account) -> None:
        self._sessions.forget(account.id)
        self._mark_tokens(account.id)
        after = ""
        while page := self._store.tokens(
            account.id, model_id=None, after=after, limit=limits.PROJECTION_PAGE
        ):
            self._hot.put_tokens((token.sha256, token.hot()) for token in page)
            after = page[-1].id

    def _account(self, account_id: str) -> Account:
        account = self._store.account(account_id)
        if account is None:
            raise NotFound("There is no such account.")
        return account
