"""What this deployment tells everybody: whether one may sign up, and a model to try without a key.

The demo is a model that an operator chose of its own account. Its token is published: it runs this model at
a small rate of its own, at once, on inputs in the request, and can do nothing else. The truth says which
model that is; what was read of it lately is told again, for as long as the truth is away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from chalicelib.accounts import Accounts
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, DependencyFailed, InvalidRequest, NotFound
from chalicelib.contract.messages import TensorSignature
from chalicelib.contract.tokens import token_sha256
from chalicelib.keys import Keys, KeyState, state
from chalicelib.ports import Store
from chalicelib.records import Model, PublishedDemo


class ChooseDemo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model_id`: of your own account; null for no demo."""

    model_id: str | None


@dataclass(frozen=True, slots=True)
class Demo:
    """A model that everybody may try. `secret`: its token; `takes`: its one input."""

    model: Model
    secret: str
    takes: TensorSignature


@dataclass(frozen=True, slots=True)
class Told:
    """What everybody is told."""

    sign_up_open: bool
    demo: Demo | None


_NOTHING: Final = Told(sign_up_open=False, demo=None)


@dataclass(frozen=True, slots=True)
class _Known:
    """`until`: on the monotonic clock, the truth is not asked again."""

    told: Told
    until: float


class Site:
    """The use cases. Safe to use from many threads."""

    def __init__(
        self, *, store: Store, keys: Keys, accounts: Accounts, monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._keys = keys
        self._accounts = accounts
        self._monotonic = monotonic
        self._known: _Known | None = None
        self._asking = threading.Lock()

    def tell(self) -> Told:
        """As of `SITE_SECONDS` ago, or as last known. One caller asks the truth for all. Raises nothing."""
        known = self._known
        if known is not None and self._monotonic() < known.until:
            return known.told
        if not self._asking.acquire(blocking=known is None):
            return known.told if known is not None else _NOTHING
        try:
            return self._told_anew()
        finally:
            self._asking.release()

    def choose_demo(self, principal: Principal, asked: ChooseDemo) -> Told:
        """The model to try, in place of any other, whose token is refused from then on.

        One that is chosen again keeps its token. That the caller is an operator has been seen before. Raises
        NotFound, InvalidRequest for a model with several inputs, PermissionDenied for a key that may not
        infer itself, and Conflict where no version answers yet, or another one is chosen at this moment.
        """
        seen = self._store.demo()
        model = None if asked.model_id is None else self._own_model(principal, asked.model_id)
        if model is None or seen is None or seen.model_id != model.id or self._demo(seen) is None:
            self._replace(principal, seen, model)
        return self._remember(self._ask())

    def _told_anew(self) -> Told:
        known = self._known
        if known is not None and self._monotonic() < known.until:
            return known.told
        try:
            return self._remember(self._ask())
        except DependencyFailed:
            return self._remember(known.told if known is not None else _NOTHING)

    def _remember(self, told: Told) -> Told:
        self._known = _Known(told, self._monotonic() + limits.SITE_SECONDS)
        return told

    def _ask(self) -> Told:
        published = self._store.demo()
        return Told(
            sign_up_open=self._accounts.sign_up_open(),
            demo=None if published is None else self._demo(published),
        )

    def _demo(self, published: PublishedDemo) -> Demo | None:
        """None where it would not answer: the model is deleted, or the token does not work any more."""
        token = self._store.token(token_sha256(published.secret))
        if token is None or token.suspended or state(token, self._keys.now()) is not KeyState.LIVE:
            return None
        model = self._store.model(published.tenant, published.model_id)
        inputs = () if model is None else self._inputs(model)
        return Demo(model, published.secret, inputs[0]) if model is not None and len(inputs) == 1 else None

    def _own_model(self, principal: Principal, model_id: str) -> Model:
        """Raises NotFound, Conflict, InvalidRequest."""
        model = self._store.model(principal.tenant, model_id)
        if model is None:
            raise NotFound("There is no such model.")
        inputs = self._inputs(model)
        if not inputs:
            raise Conflict("No version of this model answers yet. Its versions say why.")
        if len(inputs) > 1:
            raise InvalidRequest(f"model_id: a demo has one input, and this model has {len(inputs)}")
        return model

    def _inputs(self, model: Model) -> tuple[TensorSignature, ...]:
        """Of the version that answers; none where none does."""
        number = model.active_version
        version = None if number is None else self._store.version(model.tenant, model.id, number)
        return version.signature.inputs if version is not None and version.signature is not None else ()

    def _replace(self, principal: Principal, seen: PublishedDemo | None, model: Model | None) -> None:
        """What is refused changes nothing. Then the one before ends, before another takes its place: whatever
        fails from there on, no token that is public goes on unseen."""
        published = None if model is None else self._published(principal, model)
        if seen is not None:
            self._end(seen)
        if self._store.change_demo(seen, published):
            return
        if published is not None:
            self._end(published)
        raise Conflict("Another demo is being chosen at this moment. Look at it: GET /v1/site")

    def _published(self, principal: Principal, model: Model) -> PublishedDemo:
        issued = self._keys.create_for_everybody(principal, model)
        return PublishedDemo(
            tenant=model.tenant, model_id=model.id, token_id=issued.token.id, secret=issued.plain
        )

    def _end(self, published: PublishedDemo) -> None:
        token = self._store.token(token_sha256(published.secret))
        if token is not None:
            self._keys.revoke_any(token)
