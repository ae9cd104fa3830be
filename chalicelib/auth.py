"""Who is calling: accounts, API keys and model tokens.

Management calls carry an API key and are checked against the truth. The
inference path has its own check, in `routing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.contract.errors import NotFound, Unauthenticated
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.inference import bearer
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import is_well_formed, new_token, token_hint, token_sha256
from chalicelib.ports import Store
from chalicelib.records import Account, Token


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller of the management API. `hint` is the beginning of the key it showed."""

    tenant: str
    hint: str


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A credential at the one moment its plain text is known."""

    plain: str
    token: Token


class Auth:
    """Issues and checks credentials."""

    def __init__(
        self, *, store: Store, hot: HotState, now: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._hot = hot
        self._now = now
        self._new_id = new_id

    def principal(self, authorization: str | None) -> Principal:
        """The caller of a management route. Raises Unauthenticated; never says why a key is wrong."""
        plain = bearer(authorization)
        if plain is None:
            raise Unauthenticated("Send your API key: Authorization: Bearer mr_…")
        if not is_well_formed(plain):
            raise Unauthenticated("This is not an API key: it may be cut off or mistyped.")
        token = self._store.token(token_sha256(plain))
        if token is None or token.revoked_at is not None or token.kind is not TokenKind.API_KEY:
            raise Unauthenticated("This API key is not valid here.")
        return Principal(tenant=token.tenant, hint=token.hint)

    def issue_model_token(self, principal: Principal, model_id: str, *, name: str) -> IssuedToken:
        """A new token that may only infer this model. Others of the model stay valid."""
        if self._store.model(principal.tenant, model_id) is None:
            raise NotFound("There is no such model.")
        plain = new_token()
        token = self._token(
            plain, tenant=principal.tenant, kind=TokenKind.MODEL_TOKEN, name=name, model_id=model_id
        )
        self._store.add_token(token)
        self._hot.put_token(token.sha256, token.hot())
        return IssuedToken(plain, token)

    def ensure_api_key(self, account_name: str, plain: str) -> None:
        """Make sure the account exists and this key is one of its own. Safe to repeat."""
        account = self._store.ensure_account(
            Account(id=self._new_id(), name=account_name, created_at=self._now())
        )
        token = self._token(plain, tenant=account.id, kind=TokenKind.API_KEY, name="local", model_id=None)
        self._store.add_token(token)

    def _token(self, plain: str, *, tenant: str, kind: TokenKind, name: str, model_id: str | None) -> Token:
        return Token(
            id=self._new_id(),
            sha256=token_sha256(plain),
            tenant=tenant,
            kind=kind,
            name=name,
            hint=token_hint(plain),
            created_at=self._now(),
            scopes=(Scope.INFER,) if kind is TokenKind.MODEL_TOKEN else tuple(Scope),
            model_id=model_id,
        )
