"""Further tenants of a running stack, made in its stores as an operator of it would."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.contract.tokens import new_token, token_hint, token_sha256
from chalicelib.records import Account, Token
from infra.local.connections import DATABASE
from tests.support.stack import RunningStack


class Tenants:
    """Accounts and keys of a stack."""

    def __init__(self, stack: RunningStack) -> None:
        self._store = MongoStore(stack.mongo_url, database=DATABASE)
        own = self._store.token(token_sha256(stack.api_key))
        assert own is not None
        self.own = own.tenant
        """The tenant whose key the stack has made."""

    def another(self) -> str:
        """A new tenant's id."""
        name = f"tenant-{uuid.uuid4().hex[:8]}"
        made = self._store.ensure_account(
            Account(id=str(uuid.uuid4()), name=name, created_at=datetime.now(UTC))
        )
        return made.id

    def key(
        self,
        tenant: str,
        *,
        scopes: tuple[Scope, ...] = tuple(Scope),
        model_id: str | None = None,
        expired: bool = False,
        revoked: bool = False,
    ) -> str:
        """A key's plain text, known to the truth alone."""
        plain, now = new_token(), datetime.now(UTC)
        kind = TokenKind.API_KEY if model_id is None else TokenKind.MODEL_TOKEN
        token = Token(
            id=str(uuid.uuid4()),
            sha256=token_sha256(plain),
            tenant=tenant,
            kind=kind,
            name="made by a test",
            hint=token_hint(plain),
            created_at=now,
            scopes=scopes,
            model_id=model_id,
            expires_at=now - timedelta(hours=1) if expired else None,
            revoked_at=now - timedelta(hours=1) if revoked else None,
        )
        assert self._store.add_token(token)
        return plain
