"""API keys and model tokens of the account: `Client().keys`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import uuid4

from modelrocket.account import Account
from modelrocket.errors import ConfigurationError, Refusal, api_error
from modelrocket.models import find_model, is_id

T = TypeVar("T")

SCOPES = ("infer", "models:read", "models:write", "keys", "operate")
OVERLAP_SECONDS = 24 * 3600
Expiry: TypeAlias = 'int | Literal["never"] | None'
"""Days; None leaves it to the platform: 90 for API keys, never for model tokens."""
_PREFIX = "mr_"
_LENGTH = 20
"""Of a key that may be cut off, which is told, but is not just its first characters."""
_HINT_END = "…"


@dataclass(frozen=True)
class Key:
    """A key as the server listed it. Without a `model_id` it is good for all models that its scopes allow.

    hint: its first characters. created_by: the hint of the key, or the e-mail address, that made it.
    state: live, expiring (within a week), rotated (works until `expires_at` beside the one in its place),
    expired or revoked. last_used_at: to the minute.
    """

    id: str
    kind: str
    hint: str
    name: str
    scopes: tuple[str, ...]
    model_id: str | None
    state: str
    created_at: str
    created_by: str
    expires_at: str | None
    requests_per_second: float | None
    rotated_to: str | None
    last_used_at: str | None


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. `secret` is shown once: keep it.

    old: what it takes the place of, which works until `old.expires_at`; None for one that replaces none.
    """

    key: Key
    secret: str = field(repr=False)
    old: Key | None = None


@dataclass(frozen=True)
class Permission:
    """One scope: whether the key has it, and what it is for."""

    scope: str
    allowed: bool
    means: str


@dataclass(frozen=True)
class CallableModel:
    """A model that a key may run; `active` is the version that answers, None where none does yet."""

    id: str
    name: str
    active: int | None


@dataclass(frozen=True)
class RequestLimit:
    """`left`: how many requests may come at once now; None while the server cannot tell."""

    requests_per_second: float
    left: int | None


@dataclass(frozen=True)
class Explanation:
    """What a key may do.

    works: it is not refused; `why` says why it is. key: None for one that was shown and does not work.
    models: those it may run, the first hundred.
    own_limit: None where it has none beside its account's, which is for all keys together.
    """

    works: bool
    why: str | None
    key: Key | None
    may: tuple[Permission, ...]
    models: tuple[CallableModel, ...]
    own_limit: RequestLimit | None = None
    account_limit: RequestLimit | None = None


class Keys:
    """The account's keys. What takes a `key` takes its id, its name, its hint, or all of it.

    Every method raises `ApiError` (`PermissionDenied` where your own key lacks the scope "keys"),
    `ConnectionFailed`, `Timeout` or `ConfigurationError`; what names a key or a model, `NotFound` too.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def list(self, *, model: str | None = None) -> tuple[Key, ...]:
        """All, the newest first, those that do not work any more for three months; or a model's tokens."""
        return tuple(self._all(model))

    def get(self, key: str) -> Key:
        """One, as it is now."""
        if _is_whole(key):
            shown = self.explain(key)
            if shown.key is None:
                raise api_error(
                    Refusal(code="not_found", message=f"The key is refused: {shown.why}", status=404)
                )
            return shown.key
        found = key if is_id(key) else self._named(key)
        return _key(self._account.ask("GET", f"/v1/keys/{found}"))

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        model: str | None = None,
        expires_in_days: Expiry = None,
        requests_per_second: float | None = None,
    ) -> NewKey:
        """A key that may do what `scopes` say, which your own key may too; for one `model`, only run that.

        `requests_per_second`: its own limit, below the account's.
        """
        asked: dict[str, Any] = {"name": name, "requests_per_second": requests_per_second}
        if scopes is not None:
            asked["scopes"] = [*scopes]
        if model is not None:
            asked["model_id"] = find_model(self._account, model).id
        if expires_in_days is not None:
            asked["expires_in_days"] = None if expires_in_days == "never" else expires_in_days
        return _new_key(self._once("/v1/keys", asked))

    def rotate(self, key: str, *, overlap_seconds: int = OVERLAP_SECONDS) -> NewKey:
        """A new secret with the same rights. The old one works beside it for the overlap: a week at most."""
        path = f"/v1/keys/{self.get(key).id}/rotate"
        return _new_key(self._once(path, {"overlap_seconds": overlap_seconds}))

    def revoke(self, key: str) -> Key:
        """It is refused everywhere within five seconds, also on connections that are open."""
        found = self.get(key).id
        self._account.ask("DELETE", f"/v1/keys/{found}", repeatable=True)
        return self.get(found)

    def explain(self, key: str | None = None) -> Explanation:
        """What a key may do, and why it is refused if it is: by default the one in use.

        A whole key is explained whoever's it is; a name, an id or a hint is looked up among your own.
        """
        shown = self._account.key if key is None else key
        asked = {"key": shown} if key is None or _is_whole(key) else {"id": self.get(shown).id}
        return _explanation(self._account.ask("POST", "/v1/keys/explain", asked, repeatable=True))

    def _all(self, model: str | None = None) -> Iterator[Key]:
        path = "/v1/keys" if model is None else f"/v1/models/{find_model(self._account, model).id}/tokens"
        following: str | None = ""
        while following is not None:
            page = self._account.ask("GET", f"{path}?after={quote(following)}" if following else path)
            yield from map(_key, page["keys"])
            following = page["next"]

    def _named(self, name: str) -> str:
        """The id of the only one of this name, or hint, that works, else of the only one."""
        found = [one for one in self._all() if name in (one.name, one.hint, one.hint.rstrip(_HINT_END))]
        working = [one for one in found if one.state not in ("revoked", "expired")]
        called = working or found
        if not called:
            told = f'There is no key "{name}" here. `modelrocket keys list` lists those there are.'
            raise api_error(Refusal(code="not_found", message=told, status=404))
        if len(called) > 1:
            raise ConfigurationError(f'{len(called)} keys are called "{name}": say the id of one.')
        return called[0].id

    def _once(self, path: str, body: Mapping[str, Any]) -> Any:
        """However often it is sent, it is done once, and answered the same."""
        return self._account.ask("POST", path, body, idempotency_key=uuid4().hex)


def _is_whole(key: str) -> bool:
    """Not its first characters only."""
    return key.startswith(_PREFIX) and len(key) >= _LENGTH


def _key(told: Mapping[str, Any]) -> Key:
    return _read(Key, {**told, "scopes": tuple(told["scopes"])})


def _new_key(told: Mapping[str, Any]) -> NewKey:
    old = told.get("old")
    return NewKey(_key(told["key"]), told["secret"], _key(old) if old else None)


def _explanation(told: Mapping[str, Any]) -> Explanation:
    own, account = told["own_limit"], told["account_limit"]
    return Explanation(
        works=told["works"],
        why=told["why"],
        key=_key(told["key"]) if told["key"] else None,
        may=tuple(_read(Permission, one) for one in told["may"]),
        models=tuple(_read(CallableModel, one) for one in told["models"]),
        own_limit=_read(RequestLimit, own) if own else None,
        account_limit=_read(RequestLimit, account) if account else None,
    )


def _read(kind: type[T], told: Mapping[str, Any]) -> T:
    return kind(**{one.name: told[one.name] for one in fields(kind)})  # type: ignore[arg-type]
