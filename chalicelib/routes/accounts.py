"""Accounts, sessions, and what operators do to accounts."""

from __future__ import annotations

from chalicelib import accountviews, cookies
from chalicelib.accounts import ChangeAccount, ChangePassword, LoggedIn, LogIn, SignUp
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal, require
from chalicelib.contract.messages import Scope
from chalicelib.operators import NewAccount, NewPassword
from chalicelib.sessions import Source
from chalicelib.wiring import control_plane as plane

route = Routes()


@route("POST", "/v1/accounts", status=201, audit="account.create")
def sign_up(asked: Asked, body: SignUp) -> accountviews.LoggedIn:
    """Make an account for yourself, where this deployment lets people do so, and log in."""
    cookies.check_not_foreign(asked.headers, plane().settings.public_url)
    return _logged_in(asked, plane().accounts.sign_up(body, _source(asked)))


@route("GET", "/v1/account")
def get_account(principal: Principal) -> accountviews.OwnAccount:
    """Your account, and what you may do."""
    _require_owner(principal)
    return accountviews.own_account(plane().accounts.get(principal), principal, plane().quotas)


@route("PATCH", "/v1/account", audit="account.change")
def change_account(principal: Principal, body: ChangeAccount) -> accountviews.OwnAccount:
    """Change your account's name."""
    _require_owner(principal)
    changed = plane().accounts.rename(principal, body)
    return accountviews.own_account(changed, principal, plane().quotas)


@route("POST", "/v1/account/password", audit="account.password")
def change_password(principal: Principal, asked: Asked, body: ChangePassword) -> accountviews.LoggedIn:
    """Choose another password. Every session ends, and a new one begins here."""
    _require_owner(principal)
    return _logged_in(asked, plane().accounts.change_password(principal, body, _source(asked)))


@route("POST", "/v1/sessions", status=201, audit="session.begin")
def log_in(asked: Asked, body: LogIn) -> accountviews.LoggedIn:
    """Log in."""
    cookies.check_not_foreign(asked.headers, plane().settings.public_url)
    return _logged_in(asked, plane().accounts.log_in(body, _source(asked)))


@route("GET", "/v1/sessions")
def list_sessions(principal: Principal) -> accountviews.Sessions:
    """Where you are logged in, the latest log-in first."""
    _require_owner(principal)
    return accountviews.sessions(plane().accounts.sessions(principal), principal)


@route("DELETE", "/v1/sessions/current", audit="session.end")
def log_out(principal: Principal, asked: Asked) -> None:
    """Log out here."""
    plane().accounts.log_out(principal)
    _forget_session(asked)


@route("DELETE", "/v1/sessions", audit="session.end_all")
def log_out_everywhere(principal: Principal, asked: Asked) -> None:
    """Log out everywhere, here too."""
    _require_owner(principal)
    plane().accounts.log_out_everywhere(principal)
    _forget_session(asked)


@route("GET", "/v1/operator/accounts", scope=Scope.OPERATE)
def list_accounts(principal: Principal, after: str = "") -> accountviews.AccountsPage:
    """All accounts of this deployment, in order of id."""
    return accountviews.accounts(plane().operators.list(after=after))


@route("POST", "/v1/operator/accounts", scope=Scope.OPERATE, status=201, audit="account.create")
def create_account(principal: Principal, asked: Asked, body: NewAccount) -> accountviews.Account:
    """Make an account for somebody, who chooses another password at the first log-in."""
    return accountviews.account(plane().operators.create(body, seed=asked.seed))


@route("POST", "/v1/operator/accounts/{account_id}/suspend", scope=Scope.OPERATE, audit="account.suspend")
def suspend_account(principal: Principal, account_id: str) -> accountviews.Account:
    """Have an account's keys, tokens and sessions refused everywhere."""
    return accountviews.account(plane().operators.suspend(principal, account_id))


@route("POST", "/v1/operator/accounts/{account_id}/unsuspend", scope=Scope.OPERATE, audit="account.unsuspend")
def unsuspend_account(principal: Principal, account_id: str) -> accountviews.Account:
    """Let an account do again what it could."""
    return accountviews.account(plane().operators.unsuspend(account_id))


@route("POST", "/v1/operator/accounts/{account_id}/password", scope=Scope.OPERATE, audit="account.password")
def give_password(principal: Principal, account_id: str, body: NewPassword) -> accountviews.Account:
    """Give an account another password, which has to be changed at the next log-in. Its sessions end."""
    return accountviews.account(plane().operators.set_password(principal, account_id, body))


def _logged_in(asked: Asked, logged_in: LoggedIn) -> accountviews.LoggedIn:
    asked.reply_headers["Set-Cookie"] = cookies.keep_session(logged_in.secret, plane().settings.public_url)
    asked.reply_headers["Cache-Control"] = "no-store"
    return accountviews.logged_in(logged_in.account)


def _forget_session(asked: Asked) -> None:
    asked.reply_headers["Set-Cookie"] = cookies.drop_session(plane().settings.public_url)


def _source(asked: Asked) -> Source:
    return Source(asked.address, asked.headers.get("user-agent", ""))


def _require_owner(principal: Principal) -> None:
    """A session, or a key that may make keys. Raises PermissionDenied."""
    if principal.session_id is None:
        require(principal, Scope.KEYS)
