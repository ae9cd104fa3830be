"""How keys look as JSON. Fields are listed one by one: no hash leaves by accident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chalicelib import records
from chalicelib.contract import limits
from chalicelib.contract.messages import Scope, TokenKind
from chalicelib.explaining import Allowance, Explanation
from chalicelib.keys import IssuedToken, KeyState, Rotated, state


class Key(msgspec.Struct, frozen=True):
    """An API key or a model token.

    Attributes:
        hint: its first characters, to recognise it by.
        model_id: the one model it may run; null for an API key, which may run all if it has `infer`.
        created_by: the hint of the key, or the e-mail address, that made it. The address is left out where
            one is explained by itself that may not list keys.
        expires_at: when it stops working; null for never.
        requests_per_second: its own limit; null for the account's alone.
        rotated_to: the id of the key in its place.
        last_used_at: to the minute; null for never.
    """

    id: str
    kind: TokenKind
    hint: str
    name: str
    scopes: list[Scope]
    model_id: str | None
    state: KeyState
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    requests_per_second: float | None
    rotated_to: str | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeysPage(msgspec.Struct, frozen=True):
    """Keys, the newest first. `next`: what to send as `after` for those that follow; null at the end."""

    keys: list[Key]
    next: str | None


class NewSecret(msgspec.Struct, frozen=True):
    """A key, and its secret at the one moment it is shown."""

    key: Key
    secret: str


class RotatedKey(msgspec.Struct, frozen=True):
    """The key in the place of `old`, which works until it expires. The secret is shown once."""

    key: Key
    secret: str
    old: Key


class Allowed(msgspec.Struct, frozen=True):
    """One scope: whether the key has it, and what it is for."""

    scope: Scope
    allowed: bool
    means: str


class CallableModel(msgspec.Struct, frozen=True):
    """A model that the key may run. `active`: the version that answers; null where none does yet."""

    id: str
    name: str
    active: int | None


class RequestLimit(msgspec.Struct, frozen=True):
    """`left`: how many may come at once now; null while that cannot be found out."""

    requests_per_second: float
    left: int | None


class ExplainedKey(msgspec.Struct, frozen=True):
    """What a key may do.

    Attributes:
        works: it is not refused; `why` says why it is.
        key: null for one that was shown and does not work.
        models: those it may run, the first hundred in order of id.
        own_limit: null where it has none of its own; `account_limit` is for all keys of the account together.
    """

    works: bool
    why: str | None
    state: KeyState | None
    key: Key | None
    may: list[Allowed]
    models: list[CallableModel]
    own_limit: RequestLimit | None
    account_limit: RequestLimit | None


def key(shown: records.Token, now: datetime) -> Key:
    return Key(
        id=shown.id,
        kind=shown.kind,
        hint=shown.hint,
        name=shown.name,
        scopes=list(shown.scopes),
        model_id=shown.model_id,
        state=state(shown, now),
        created_at=shown.created_at,
        created_by=shown.created_by,
        expires_at=shown.expires_at,
        requests_per_second=shown.requests_per_second,
        rotated_to=shown.rotated_to,
        revoked_at=shown.revoked_at,
        last_used_at=shown.last_used_at,
    )


def keys(listed: Sequence[records.Token], now: datetime) -> KeysPage:
    following = listed[-1].id if len(listed) == limits.PAGE_SIZE_MAX else None
    return KeysPage([key(one, now) for one in listed], following)


def issued(made: IssuedToken, now: datetime) -> NewSecret:
    return NewSecret(key(made.token, now), made.plain)


def rotated(made: Rotated, now: datetime) -> RotatedKey:
    return RotatedKey(key(made.issued.token, now), made.issued.plain, key(made.old, now))


def explained(found: Explanation, now: datetime) -> ExplainedKey:
    token = found.token
    return ExplainedKey(
        works=found.why is None,
        why=found.why,
        state=found.state,
        key=key(token, now) if token else None,
        may=[Allowed(one.scope, one.allowed, one.means) for one in found.permissions],
        models=[CallableModel(one.id, one.name, one.active_version) for one in found.models],
        own_limit=_limit(found.own),
        account_limit=_limit(found.account),
    )


def _limit(found: Allowance | None) -> RequestLimit | None:
    return None if found is None else RequestLimit(found.per_second, found.left)
