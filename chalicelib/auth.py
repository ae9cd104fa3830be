"""Who is calling the management API: a key is checked against the truth, and remembered for a moment.

What was found is reused for `TOKEN_CACHE_SECONDS`, which is the promise on revocation. While the truth is
away it serves for `OUTAGE_CACHE_SECONDS`: what needs the truth fails by itself, the rest goes on. Refusals
are not remembered, so a new key is good at once. The inference path has its own check, in `routing`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, PermissionDenied, Unauthenticated
from chalicelib.contract.inference import bearer
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import is_well_formed, token_sha256
from chalicelib.ports import Store
from chalicelib.records import Account, Role, Token

_RETRY_SECONDS: Final = 1.0
"""While the truth is away it is not asked more often about one key."""
_USED: Final = timedelta(seconds=limits.KEY_USED_SECONDS)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller of the management API.

    Attributes:
        hint: the beginning of the key it showed, or the e-mail address that logged in.
        scopes: what it may do now: `operate` only while the account has that role.
        key_id: of the key it showed; None for a session.
        session_id: None for a key.
    """

    tenant: str
    hint: str
    scopes: frozenset[Scope]
    role: Role = Role.MEMBER
    key_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What a key was found to be. Times are on the monotonic clock: asked, and good until."""

    token: Token
    account: Account
    asked: float
    until: float


class Auth:
    """Checks API keys. Safe to use from many threads."""

    def __init__(self, *, store: Store, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def authenticate(self, authorization: str | None) -> Principal:
        """Who shows this key. Raises DependencyFailed, and Unauthenticated, never saying why it is wrong."""
        plain = bearer(authorization)
        if plain is None:
            raise Unauthenticated("Send your API key: Authorization: Bearer mr_…")
        if not is_well_formed(plain):
            raise Unauthenticated("This is not an API key: it may be cut off or mistyped.")
        known = self._find(token_sha256(plain))
        if known is None or known.account.suspended_at or not _works(known.token, self._now()):
            raise Unauthenticated("This API key is not valid here.")
        return _principal(known)

    def forget(self, token: Token) -> None:
        """It has changed: look again, here at least, at its next use."""
        with self._lock:
            self._known.pop(token.sha256, None)

    def _find(self, sha256: str) -> _Known | None:
        known = self._known.get(sha256)
        asked = self._monotonic()
        if known is not None and asked < known.until:
            return known
        try:
            found = self._look_up(sha256, asked)
        except DependencyFailed:
            if known is None or asked >= known.asked + limits.OUTAGE_CACHE_SECONDS:
                raise
            found = replace(known, until=self._monotonic() + _RETRY_SECONDS)
        self._remember(sha256, found)
        return found

    def _look_up(self, sha256: str, asked: float) -> _Known | None:
        token = self._store.token(sha256)
        if token is None or token.kind is not TokenKind.API_KEY:
            return None
        account = self._store.account(token.tenant)
        if account is None:
            return None
        if _works(token, self._now()):
            self._mark_used(token)
        return _Known(token, account, asked, asked + limits.TOKEN_CACHE_SECONDS)

    def _mark_used(self, token: Token) -> None:
        """Once a minute at most. It is told for orientation: nothing fails because it cannot be."""
        minute = self._now().replace(second=0, microsecond=0)
        if token.last_used_at is not None and minute - token.last_used_at < _USED:
            return
        try:
            self._store.mark_used({token.id: minute})
        except DependencyFailed:
            return

    def _remember(self, sha256: str, found: _Known | None) -> None:
        with self._lock:
            self._known.pop(sha256, None)
            if found is not None:
                self._known[sha256] = found
            if len(self._known) > limits.KEYS_KNOWN_MAX:
                del self._known[next(iter(self._known))]


def require(principal: Principal, scope: Scope) -> None:
    """Raises PermissionDenied."""
    if principal.session_id is not None and not principal.scopes:
        raise PermissionDenied("Choose a password of your own first: POST /v1/account/password")
    if scope not in principal.scopes:
        raise PermissionDenied(f'This needs the scope "{scope}", which your key does not have.')


def _works(token: Token, now: datetime) -> bool:
    revoked = token.suspended or token.revoked_at is not None
    return not revoked and (token.expires_at is None or now < token.expires_at)


def _principal(known: _Known) -> Principal:
    token, account = known.token, known.account
    scopes = frozenset(token.scopes)
    return Principal(
        tenant=token.tenant,
        hint=token.hint,
        scopes=scopes if account.role is Role.OPERATOR else scopes - {Scope.OPERATE},
        role=account.role,
        key_id=token.id,
    )
