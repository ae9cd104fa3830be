"""API keys and model tokens: made, shown, rotated, revoked. A model token is a key for one model.

    live → expiring → expired
     ├──→ rotated ──→ expired      it works beside the one in its place until the overlap ends
     └──→ revoked                  at once, from any of them

The truth is written first, then the hot state; what dies between is made up for by the projection. The plain
text is known at the moment of making only. A maker can give no scope that it does not have.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from chalicelib.auth import Auth, Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import new_token, token_hint, token_of, token_sha256
from chalicelib.ports import Store
from chalicelib.records import Account, Model, Role, Token, named_account_id

_WITH_ROTATED: Final = 2
"""So many times the quota may work while rotated keys do beside those in their place."""

Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=len(Scope))]
Days = Annotated[int, Meta(ge=1, le=limits.KEY_DAYS_MAX)]
Seconds = Annotated[int, Meta(ge=limits.KEY_SECONDS_MIN, le=limits.KEY_SECONDS_MAX)]
Name = Annotated[str, Meta(max_length=limits.KEY_NAME_LENGTH_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
Overlap = Annotated[int, Meta(ge=0, le=limits.KEY_OVERLAP_SECONDS_MAX)]
OwnRate = Annotated[float, Meta(ge=1, le=limits.ACCOUNT_REQUESTS_PER_SECOND)]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key is to be.

    Attributes:
        name: for you to know it by.
        scopes: what it may do, nothing that your own key may not. A model token has `infer` alone.
        model_id: the one model it may run, which makes it a model token.
        expires_in_days: null for never. Left out, API keys expire after 90 days and model tokens do not.
        expires_in_seconds: instead of days, for one that is needed for a moment.
        requests_per_second: its own limit, below the account's.
    """

    name: Name = ""
    scopes: Scopes | None = None
    model_id: str | None = None
    expires_in_days: Days | UnsetType | None = UNSET
    expires_in_seconds: Seconds | None = None
    requests_per_second: OwnRate | None = None


class RotateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`overlap_seconds`: how long the old secret still works beside the new one."""

    overlap_seconds: Overlap = limits.KEY_OVERLAP_SECONDS_DEFAULT


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key, made where the key itself stays. `hint`: as `token_hint` makes it."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    hint: Annotated[str, Meta(pattern=r"^mr_[0-9A-Za-z]{5}…\Z")]


class KeyState(StrEnum):
    """`expiring` and `rotated` still work: until `expires_at`."""

    LIVE = "live"
    EXPIRING = "expiring"
    ROTATED = "rotated"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A credential at the one moment its plain text is known."""

    plain: str
    token: Token


@dataclass(frozen=True, slots=True)
class Rotated:
    """`old` works until it expires."""

    old: Token
    issued: IssuedToken


class Keys:
    """The use cases. Another tenant's key looks exactly like a missing one.

    With a `seed`, which nobody else may know, what is made derives from it: doing it again finds what was
    made the first time.
    """

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        auth: Auth,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._hot = hot
        self._auth = auth
        self.now = now
        self._new_id = new_id

    def list(self, principal: Principal, *, model_id: str | None = None, after: str = "") -> Sequence[Token]:
        """A page of them, the newest first. Raises NotFound where the model is none of the tenant's."""
        if model_id is not None:
            self._check_model(principal, model_id)
        return self._store.tokens(
            principal.tenant, model_id=model_id, after=after, limit=limits.PAGE_SIZE_MAX
        )

    def get(self, principal: Principal, key_id: str) -> Token:
        """Raises NotFound."""
        token = self._store.own_token(principal.tenant, key_id)
        if token is None:
            raise NotFound("There is no such key.")
        return token

    def create(self, principal: Principal, asked: NewKey, *, seed: bytes | None = None) -> IssuedToken:
        """Raises InvalidRequest, PermissionDenied, NotFound, Conflict where there are too many."""
        scopes = _scopes(asked)
        _check_own(principal, scopes)
        if asked.model_id is not None:
            self._check_model(principal, asked.model_id)
        kind = TokenKind.API_KEY if asked.model_id is None else TokenKind.MODEL_TOKEN
        return self._issue(seed, _draft(principal, asked, kind, scopes, at=self.now()))

    def create_for_everybody(self, principal: Principal, model: Model) -> IssuedToken:
        """A demo token: whoever made it will tell everybody. Raises as `create`."""
        asked = NewKey(
            name="Public demo", model_id=model.id, requests_per_second=limits.DEMO_REQUESTS_PER_SECOND
        )
        scopes = _scopes(asked)
        _check_own(principal, scopes)
        return self._issue(None, _draft(principal, asked, TokenKind.DEMO_TOKEN, scopes, at=self.now()))

    def rotate(
        self, principal: Principal, key_id: str, asked: RotateKey, *, seed: bytes | None = None
    ) -> Rotated:
        """A new secret with the same rights, and for as long again. The old one works until the overlap ends.

        Raises NotFound, PermissionDenied where it may do more than the caller, Conflict where it does not
        work any more or has been rotated already.
        """
        old = self.get(principal, key_id)
        _check_own(principal, old.scopes)
        issued = _made(seed, _successor(old, self.now()), self._new_id)
        if old.rotated_to != issued.token.id:
            old, issued = self._replaced(old, issued, timedelta(seconds=asked.overlap_seconds))
        elif known := self._store.token(issued.token.sha256):
            issued = IssuedToken(issued.plain, known)
        self._tell(issued.token, old)
        return Rotated(old, issued)

    def revoke(self, principal: Principal, key_id: str) -> Token:
        """It is refused everywhere within `TOKEN_CACHE_SECONDS`. Safe to repeat. Raises NotFound."""
        return self.revoke_any(self.get(principal, key_id))

    def revoke_any(self, token: Token) -> Token:
        """As `revoke`, any tenant's."""
        while token.revoked_at is None:
            changed = _changed(token, revoked_at=self.now())
            token = changed if self._store.change_token(token, changed) else self._read_again(token)
        self._tell(token)
        return token

    def ensure_api_key(self, account_name: str, plain: str, *, role: Role = Role.MEMBER) -> None:
        """Make sure the account exists and this key is one of its own. Safe to repeat."""
        account = self._store.ensure_account(
            Account(id=named_account_id(account_name), name=account_name, created_at=self.now(), role=role)
        )
        self._store.add_token(own_key(account.id, fingerprint(plain), id_=self._new_id(), at=self.now()))

    def _issue(self, seed: bytes | None, draft: Token) -> IssuedToken:
        issued = _made(seed, draft, self._new_id)
        self._check_quota(issued.token, times=1)
        token = self._added(issued.token)
        self._tell(token)
        return IssuedToken(issued.plain, token)

    def _added(self, token: Token) -> Token:
        """As it is kept: the first one, where it was added twice.

        Raises PermissionDenied where its account was suspended meanwhile: that may not have seen this one.
        """
        added = self._store.add_token(token)
        account = self._store.account(token.tenant)
        if account is not None and account.suspended_at is not None:
            self._store.mark_suspended(token.tenant, True)
            raise PermissionDenied("This account is suspended. Ask an operator of this deployment.")
        return token if added else self._store.token(token.sha256) or token

    def _replaced(self, old: Token, issued: IssuedToken, overlap: timedelta) -> tuple[Token, IssuedToken]:
        """The new one first: a call that dies between leaves the old one as it was."""
        _check_rotates(old, self.now())
        self._check_quota(issued.token, times=_WITH_ROTATED)
        token = self._added(issued.token)
        ends = self.now() + overlap
        expires_at = ends if old.expires_at is None else min(ends, old.expires_at)
        changed = _changed(old, rotated_to=token.id, expires_at=expires_at)
        if not self._store.change_token(old, changed):
            self._store.remove_token(token)
            raise Conflict("The key was changed at this moment. Look at it again: GET /v1/keys/{id}")
        return changed, IssuedToken(issued.plain, token)

    def _tell(self, *tokens: Token) -> None:
        """Raises DependencyFailed while the hot state is away: what was written holds; say it again."""
        for token in tokens:
            self._auth.forget(token)
        self._hot.put_tokens((token.sha256, token.hot()) for token in tokens)

    def _read_again(self, token: Token) -> Token:
        """Raises NotFound."""
        found = self._store.token(token.sha256)
        if found is None:
            raise NotFound("There is no such key.")
        return found

    def _check_model(self, principal: Principal, model_id: str) -> None:
        if self._store.model(principal.tenant, model_id) is None:
            raise NotFound("There is no such model.")

    def _check_quota(self, token: Token, *, times: int) -> None:
        """Raises Conflict where there are so many times the quota already, unless it is one of them."""
        live = self._store.count_tokens(token.tenant, token.model_id, at=token.created_at)
        most = limits.KEYS_MAX if token.model_id is None else limits.MODEL_TOKENS_MAX
        if live < times * most or self._store.token(token.sha256) is not None:
            return
        whose = "This account has {} API keys" if token.model_id is None else "This model has {} tokens"
        raise Conflict(f"{whose.format(live)}, which is all it may have. Revoke one first.")


def fingerprint(plain: str) -> Fingerprint:
    return Fingerprint(sha256=token_sha256(plain), hint=token_hint(plain))


def own_key(tenant: str, known: Fingerprint, *, id_: str, at: datetime) -> Token:
    """One that may do everything, for an account that the deployment makes for itself. It does not expire."""
    return Token(
        id=id_,
        sha256=known.sha256,
        tenant=tenant,
        kind=TokenKind.API_KEY,
        name="local",
        hint=known.hint,
        created_at=at,
        scopes=tuple(Scope),
    )


def state(token: Token, now: datetime) -> KeyState:
    """What a key is at this time."""
    if token.revoked_at is not None:
        return KeyState.REVOKED
    if token.expires_at is not None and now >= token.expires_at:
        return KeyState.EXPIRED
    if token.rotated_to is not None:
        return KeyState.ROTATED
    soon = now + timedelta(seconds=limits.KEY_EXPIRING_SECONDS)
    return KeyState.EXPIRING if token.expires_at is not None and token.expires_at <= soon else KeyState.LIVE


def works(token: Token, now: datetime) -> bool:
    return state(token, now) not in (KeyState.REVOKED, KeyState.EXPIRED)


def _draft(
    principal: Principal, asked: NewKey, kind: TokenKind, scopes: tuple[Scope, ...], *, at: datetime
) -> Token:
    """Without what makes it a credential."""
    return Token(
        id="",
        sha256="",
        tenant=principal.tenant,
        kind=kind,
        name=asked.name,
        hint="",
        created_at=at,
        scopes=scopes,
        created_by=principal.hint,
        model_id=asked.model_id,
        expires_at=_expiry(asked, at),
        requests_per_second=asked.requests_per_second,
    )


def _made(seed: bytes | None, draft: Token, new_id: Callable[[], str]) -> IssuedToken:
    """A draft with its own id and secret: fresh ones, or those that the seed makes."""
    if seed is None:
        plain, token_id = new_token(), new_id()
    else:
        plain = token_of(hmac.digest(seed, b"key", "sha256"))
        token_id = str(UUID(bytes=hmac.digest(seed, b"key id", "sha256")[:16], version=4))
    token = msgspec.structs.replace(draft, id=token_id, sha256=token_sha256(plain), hint=token_hint(plain))
    return IssuedToken(plain, token)


def _successor(old: Token, now: datetime) -> Token:
    expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    return msgspec.structs.replace(
        old, created_at=now, expires_at=expires_at, rotated_to=None, last_used_at=None, revision=1
    )


def _changed(token: Token, **changes: object) -> Token:
    return msgspec.structs.replace(token, **changes, revision=token.revision + 1)


def _scopes(asked: NewKey) -> tuple[Scope, ...]:
    """In one order, each once. Raises InvalidRequest."""
    if asked.model_id is not None:
        if asked.scopes not in (None, (Scope.INFER,)):
            raise InvalidRequest('scopes: a model token may only infer. Leave it out, or say ["infer"].')
        return (Scope.INFER,)
    if asked.scopes is None:
        raise InvalidRequest(f"scopes: say what the key may do, of {', '.join(Scope)}")
    return tuple(scope for scope in Scope if scope in asked.scopes)


def _expiry(asked: NewKey, created_at: datetime) -> datetime | None:
    """Raises InvalidRequest."""
    days = asked.expires_in_days
    if asked.expires_in_seconds is not None:
        if not isinstance(days, UnsetType):
            raise InvalidRequest("There are both expires_in_days and expires_in_seconds: send one of them.")
        return created_at + timedelta(seconds=asked.expires_in_seconds)
    if isinstance(days, UnsetType):
        days = limits.KEY_DAYS_DEFAULT if asked.model_id is None else None
    return None if days is None else created_at + timedelta(days=days)


def _check_own(principal: Principal, scopes: Sequence[Scope]) -> None:
    """Raises PermissionDenied."""
    lacking = [scope for scope in scopes if scope not in principal.scopes]
    if lacking:
        named = ", ".join(f'"{scope}"' for scope in lacking)
        raise PermissionDenied(f"Your own key does not have {named}, so it can give no key that has.")


def _check_rotates(old: Token, now: datetime) -> None:
    """Raises Conflict."""
    if old.rotated_to is not None:
        raise Conflict(f"This key has been rotated already, to {old.rotated_to}. Rotate that one.")
    if not works(old, now):
        raise Conflict(f"This key is {state(old, now)}: make a new one instead.")
