"""Sessions: what a log-in gives a browser, so that it need not show the password again.

Its secret is 256 random bits that only the browser keeps. A session is over when it was not used for
`SESSION_IDLE_SECONDS`, after `SESSION_SECONDS_MAX` in any case, and within `TOKEN_CACHE_SECONDS` when it is
ended, when the password is changed or the account suspended.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, Unauthenticated
from chalicelib.contract.messages import Scope
from chalicelib.ports import Store
from chalicelib.records import Account, Role, Session

_SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_IDLE: Final = timedelta(seconds=limits.SESSION_IDLE_SECONDS)
_LONGEST: Final = timedelta(seconds=limits.SESSION_SECONDS_MAX)
_MEMBER_SCOPES: Final = frozenset(Scope) - {Scope.OPERATE}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request came from."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A session as it was found; good until then on the monotonic clock."""

    session: Session
    account: Account
    until: float


class Sessions:
    """Safe to use from many threads. `monotonic` in seconds."""

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._new_id = new_id
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def begin(self, account: Account, source: Source, *, at: datetime) -> str:
        """The secret of a new one. `at`: before the password was looked at, so that changing it ends this."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        others = self._store.sessions(account.id, limits.ACCOUNT_SESSIONS_MAX)
        if len(others) == limits.ACCOUNT_SESSIONS_MAX:
            self._store.end_session(account.id, others[-1].id)
        self._store.add_session(
            Session(
                id=self._new_id(),
                sha256=_sha256(secret),
                tenant=account.id,
                began_at=at,
                last_used_at=_minute(at),
                expires_at=at + _IDLE,
                address=source.address,
                user_agent=source.user_agent[: limits.USER_AGENT_LENGTH_MAX],
            )
        )
        return secret

    def principal(self, secret: str) -> Principal:
        """Whose session it is. Raises Unauthenticated, DependencyFailed."""
        known = self._find(_sha256(secret)) if _SECRET.fullmatch(secret) else None
        if known is None or not _goes_on(known.session, known.account, self._now()):
            raise Unauthenticated("This session is over. Log in again.")
        account = known.account
        return Principal(
            tenant=account.id,
            hint=account.email,
            scopes=_scopes(account),
            role=account.role,
            session_id=known.session.id,
        )

    def list(self, account: Account) -> Sequence[Session]:
        """Those that go on, the latest to begin first."""
        now = self._now()
        found = self._store.sessions(account.id, limits.ACCOUNT_SESSIONS_MAX)
        return tuple(session for session in found if _goes_on(session, account, now))

    def end(self, principal: Principal) -> None:
        """The one that the caller is in. Safe to repeat."""
        if principal.session_id is not None:
            self._store.end_session(principal.tenant, principal.session_id)
            self.forget(principal.tenant)

    def end_all(self, tenant: str) -> None:
        """Safe to repeat. What is being begun at this moment ends with the account's `sessions_from`."""
        self._store.end_sessions(tenant)
        self.forget(tenant)

    def forget(self, tenant: str) -> None:
        """Look again, here at least, at the next use."""
        with self._lock:
            for sha256 in [key for key, one in self._known.items() if one.account.id == tenant]:
                del self._known[sha256]

    def _find(self, sha256: str) -> _Known | None:
        known, asked = self._known.get(sha256), self._monotonic()
        if known is not None and asked < known.until:
            return known
        session = self._store.session(sha256)
        account = self._store.account(session.tenant) if session else None
        found = None
        if session is not None and account is not None:
            used = self._used(session) if _goes_on(session, account, self._now()) else session
            found = _Known(used, account, asked + limits.TOKEN_CACHE_SECONDS)
        self._remember(sha256, found)
        return found

    def _used(self, session: Session) -> Session:
        """Written down once a minute at most."""
        now = self._now()
        if _minute(now) <= session.last_used_at:
            return session
        expires_at = min(now + _IDLE, session.began_at + _LONGEST)
        used = msgspec.structs.replace(session, last_used_at=_minute(now), expires_at=expires_at)
        with suppress(DependencyFailed):  # the next use tells
            self._store.use_session(used)
        return used

    def _remember(self, sha256: str, found: _Known | None) -> None:
        with self._lock:
            self._known.pop(sha256, None)
            if found is not None:
                self._known[sha256] = found
            if len(self._known) > limits.SESSIONS_KNOWN_MAX:
                del self._known[next(iter(self._known))]


def _goes_on(session: Session, account: Account, now: datetime) -> bool:
    ended = account.sessions_from is not None and session.began_at < account.sessions_from
    return not ended and account.suspended_at is None and now < session.expires_at


def _scopes(account: Account) -> frozenset[Scope]:
    """Nothing before a password that somebody else chose has been changed."""
    if account.password_expired:
        return frozenset()
    return frozenset(Scope) if account.role is Role.OPERATOR else _MEMBER_SCOPES


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
