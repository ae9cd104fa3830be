"""Who may run what at the host's own door, looked up in the hot state and remembered for a moment.

A decision is reused for `TOKEN_CACHE_SECONDS`, which is the promise on revocation,
and asked for anew at half of that, so that a busy caller never waits for it. While the
hot state is away, what is remembered serves for `OUTAGE_CACHE_SECONDS`; what is not is
unavailable, never unauthenticated. Only permissions are remembered: refusals are not,
so a new token is good at once.

Owned by the event loop. One thread asks the hot state; whatever is wanted while it asks is its next
question, so that callers with a thousand tokens that nobody knows cost little more than one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, Overloaded
from chalicelib.contract.hotstate import CredentialView
from chalicelib.contract.inference import NO_MODEL, authorised
from chalicelib.contract.messages import ModelRecord, TokenRecord

_QUESTION_MAX: Final = 64
"""Permissions asked for in one round trip."""
_RETRY_SECONDS: Final = 1.0
"""While the hot state is away it is not asked more often about one permission."""
_RENEWAL: Final = ""

Key = tuple[str, str]
"""SHA-256 of a credential, and a model's id."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """A credential, and a model that it may run, which has an active version."""

    model: ModelRecord
    token: TokenRecord


Found = Permitted | ModelRocketError
"""What is permitted; or why not: Unauthenticated, NotFound, PermissionDenied, Conflict,
DependencyFailed where that cannot be found out."""
Then = Callable[[Found], None]


class Credentials(Protocol):
    """What is asked: the hot state."""

    def credentials(self, wanted: Sequence[Key]) -> list[CredentialView]: ...


@dataclass(frozen=True, slots=True)
class _Permission:
    """Times are on the monotonic clock: asked, good until, and to be asked for again from."""

    permitted: Permitted
    asked: float
    until: float
    renew: float


@dataclass(slots=True)
class _Asked:
    """Who waits for an answer; `caller` is who asked first."""

    caller: str
    then: list[Then]


class Access:
    """Permissions of this host's callers."""

    def __init__(self, credentials: Credentials, *, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._permissions: dict[Key, _Permission] = {}
        self._asking: dict[Key, _Asked] = {}
        self._askers: Counter[str] = Counter()
        self._wanted: list[Key] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access")

    def known(self, sha256: str, model_id: str) -> Permitted | None:
        """What is permitted, if that was found out just now."""
        key = (sha256, model_id)
        permission = self._permissions.get(key)
        if permission is None:
            return None
        now = self._clock()
        if now >= permission.renew and key not in self._asking:
            self._ask(key, _RENEWAL)
        return permission.permitted if now < permission.until else None

    def find(self, sha256: str, model_id: str, then: Then, *, caller: str) -> None:
        """`then` hears, later; one look-up however many wait for it. Raises Overloaded."""
        key = (sha256, model_id)
        asked = self._asking.get(key)
        if asked is None:
            if self._askers[caller] >= limits.CALLER_LOOKUPS_MAX or len(self._asking) >= limits.LOOKUPS_MAX:
                raise Overloaded("This host checks more tokens than it can at once. Try again shortly.")
            asked = self._ask(key, caller)
        asked.then.append(then)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, key: Key, caller: str) -> _Asked:
        asked = self._asking[key] = _Asked(caller, [])
        self._askers[caller] += 1
        self._wanted.append(key)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look_up())
        return asked

    async def _look_up(self) -> None:
        """Question after question, until nothing is wanted any more."""
        while self._wanted:
            question, self._wanted = self._wanted[:_QUESTION_MAX], self._wanted[_QUESTION_MAX:]
            began = self._clock()
            try:
                views = await self._views(question)
                for key, view in zip(question, views, strict=True):
                    self._tell(key, self._found(key, view, began))
            finally:
                for key in question:
                    if key in self._asking:  # a defect of ours must not keep it from being asked again
                        self._tell(key, _unknown())
        self._askers += Counter()  # drops those that count nothing

    def _tell(self, key: Key, found: Found) -> None:
        asked = self._asking.pop(key)
        self._askers[asked.caller] -= 1
        for then in asked.then:
            then(found)

    async def _views(self, question: Sequence[Key]) -> Sequence[CredentialView | None]:
        """None for all while the hot state is away."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._credentials.credentials, question)
        except DependencyFailed:
            return [None] * len(question)

    def _found(self, key: Key, view: CredentialView | None, began: float) -> Found:
        try:
            permitted = _permitted(view, model_id=key[1])
        except DependencyFailed:
            return self._extended(key)
        except ModelRocketError as error:
            self._permissions.pop(key, None)
            return error.with_traceback(None)  # which would hold it, and be held by it, until it is collected
        until = began + limits.TOKEN_CACHE_SECONDS
        self._remember(key, _Permission(permitted, began, until, began + limits.TOKEN_CACHE_SECONDS / 2))
        return permitted

    def _extended(self, key: Key) -> Found:
        """What is remembered, a little longer, while nobody can be asked."""
        known, now = self._permissions.get(key), self._clock()
        if known is None or now >= known.asked + limits.OUTAGE_CACHE_SECONDS:
            self._permissions.pop(key, None)
            return _unknown()
        renew = now + _RETRY_SECONDS
        until = min(renew + limits.TOKEN_CACHE_SECONDS, known.asked + limits.OUTAGE_CACHE_SECONDS)
        self._permissions[key] = _Permission(known.permitted, known.asked, until, renew)
        return known.permitted

    def _remember(self, key: Key, permission: _Permission) -> None:
        """What is in use is renewed and so moves to the end; the front is what nobody uses."""
        self._permissions.pop(key, None)
        self._permissions[key] = permission
        if len(self._permissions) > limits.PERMISSIONS_MAX:
            del self._permissions[next(iter(self._permissions))]


def _permitted(view: CredentialView | None, *, model_id: str) -> Permitted:
    """What is missing exists nowhere only if all there is has been written since the last flush."""
    complete = (
        view is not None and view.token is not None and (view.model is not None or model_id == NO_MODEL)
    )
    if view is None or not (complete or view.projected):
        raise _unknown()
    model = authorised(view.token, view.model, now=view.now)
    assert view.token is not None
    return Permitted(model, view.token)


def _unknown() -> DependencyFailed:
    return DependencyFailed("This token cannot be checked right now. Try again shortly.")
