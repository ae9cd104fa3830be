"""What a key may do, and why it is refused if it is.

Whoever shows a key hears of that key; a key's id is explained to its own account only. Of one that does not
work nothing is told but that: it may have been revoked because somebody else has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState, keys
from chalicelib.contract.limiting import Rate
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import is_well_formed, token_sha256
from chalicelib.keys import KeyState, state
from chalicelib.ports import Store
from chalicelib.records import Account, Model, Role, Token

_SHOWN_LENGTH_MAX: Final = 200
_ALLOWS: Final = {
    Scope.INFER: "Run models",
    Scope.MODELS_READ: "See models, their versions, reports and traffic",
    Scope.MODELS_WRITE: "Upload, activate, roll back and delete models",
    Scope.KEYS: "List, make, rotate and revoke the account's keys; none that may do more than itself",
    Scope.OPERATE: "See and operate the whole platform",
}


class ExplainKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which key: itself, or the id of one of your account's, which your own key must be allowed to list."""

    key: Annotated[str, Meta(max_length=_SHOWN_LENGTH_MAX)] | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """One scope: whether the key has it, and what it is for."""

    scope: Scope
    allowed: bool
    means: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limit on requests, and how many may come at once now; None while that cannot be found out."""

    per_second: float
    left: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is to say of one key.

    Attributes:
        token: None where it is not told.
        why: it is refused; None where it is not.
        models: those it may run, in order of id, a page at most.
        own, account: its own limit where it has one, and its whole account's.
    """

    token: Token | None
    state: KeyState | None
    why: str | None
    permissions: tuple[Permission, ...] = ()
    models: Sequence[Model] = ()
    own: Allowance | None = None
    account: Allowance | None = None


class Explaining:
    """The use cases."""

    def __init__(
        self, *, store: Store, hot: HotState, account_rate: Rate, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._hot = hot
        self._account_rate = account_rate
        self._now = now

    def shown(self, plain: str) -> Explanation:
        """Of the key itself. A typo is told without looking anything up."""
        if not is_well_formed(plain):
            return Explanation(None, None, "It is not a whole key: it may be cut off or mistyped.")
        token = self._store.token(token_sha256(plain))
        if token is None:
            return Explanation(None, None, "There is no such key. It may be another platform's.")
        explained = self._explained(token if Scope.KEYS in token.scopes else _without_email(token))
        if (
            token.kind is TokenKind.DEMO_TOKEN
        ):  # everybody has it: how busy the account is, is not theirs to know
            explained = replace(explained, account=None)
        return explained if explained.why is None else Explanation(None, explained.state, explained.why)

    def own(self, principal: Principal, key_id: str) -> Explanation:
        """Of one of the account's keys. Raises NotFound."""
        token = self._store.own_token(principal.tenant, key_id)
        if token is None:
            raise NotFound("There is no such key.")
        return self._explained(token)

    def _explained(self, token: Token) -> Explanation:
        account = self._store.account(token.tenant)
        now_state = state(token, self._now())
        why = _why(token, account, now_state)
        if why is not None or account is None:
            return Explanation(token, now_state, why)
        models = self._models(token)
        permissions = tuple(_permissions(token, account, models))
        return Explanation(token, now_state, None, permissions, models, *self._allowances(token))

    def _allowances(self, token: Token) -> tuple[Allowance | None, Allowance]:
        """Of the key itself, and of its account."""
        rates = [(keys.account_rate(token.tenant), self._account_rate)]
        if token.requests_per_second is not None:
            rates.append((keys.key_rate(token.id), Rate.of(token.requests_per_second)))
        left: Sequence[int | None] = [None] * len(rates)
        with suppress(DependencyFailed):
            left = self._hot.left(rates)
        account, *own = (Allowance(rate.per_second, one) for (_, rate), one in zip(rates, left, strict=True))
        return (own[0] if own else None), account

    def _models(self, token: Token) -> Sequence[Model]:
        if Scope.INFER not in token.scopes:
            return ()
        if token.model_id is None:
            return self._store.models(token.tenant, "", limits.PAGE_SIZE_MAX)
        model = self._store.model(token.tenant, token.model_id)
        return () if model is None else (model,)


def asked_for(asked: ExplainKey) -> str | None:
    """The key that is shown; None where an id is given. Raises InvalidRequest."""
    if (asked.key is None) == (asked.id is None):
        raise InvalidRequest('Say which key: {"key": "mr_…"}, or {"id": "…"} of one of your own.')
    return asked.key


def _without_email(token: Token) -> Token:
    """Who may not list keys is not told whose e-mail address made one."""
    return msgspec.structs.replace(token, created_by="") if "@" in token.created_by else token


def _why(token: Token, account: Account | None, now_state: KeyState) -> str | None:
    """Why it is refused; None where it is not."""
    if now_state is KeyState.REVOKED:
        return f"It was revoked on {_day(token.revoked_at)}."
    if now_state is KeyState.EXPIRED:
        successor = " It was rotated: use the key in its place." if token.rotated_to else ""
        return f"It expired on {_day(token.expires_at)}.{successor}"
    if account is None or account.suspended_at is not None or token.suspended:
        return "Its account is suspended."
    return None


def _permissions(token: Token, account: Account, models: Sequence[Model]) -> Sequence[Permission]:
    return [_permission(scope, token, account, models) for scope in Scope]


def _permission(scope: Scope, token: Token, account: Account, models: Sequence[Model]) -> Permission:
    means = _ALLOWS[scope]
    allowed = scope in token.scopes
    if scope is Scope.INFER and token.kind is not TokenKind.API_KEY:
        means = f"Run the model {models[0].name}, and no other" if models else "Run a model that is deleted"
        allowed = allowed and bool(models)
    if scope is Scope.OPERATE and allowed and account.role is not Role.OPERATOR:
        return Permission(scope, False, f"{means}: not while the account is no operator's")
    return Permission(scope, allowed, means)


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d at %H:%M} UTC" if at else "an unknown day"
