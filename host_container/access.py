"""Who may run what at the host's own door, looked up in the hot state and remembered for a moment.

A decision is reused for `TOKEN_CACHE_SECONDS`, which is the promise on revocation,
and asked for anew at half of that, so that a busy caller never waits for it. While the
hot state is away, what is remembered serves for `OUTAGE_CACHE_SECONDS`; what is not is
unavailable, never unauthenticated. Only permissions are remembered: refusals are not,
so a new token is good at once.

Owned by the event loop; the hot state is asked in threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, Overloaded
from chalicelib.contract.hotstate import CredentialView
from chalicelib.contract.inference import NO_MODEL, authorised
from chalicelib.contract.messages import VersionRecord

_THREADS: Final = 4
_RETRY_SECONDS: Final = 1.0
"""While the hot state is away it is not asked more often about one permission."""

Key = tuple[str, str]
"""SHA-256 of a credential, and a model's id."""


class Credentials(Protocol):
    """What is asked: the hot state."""

    def credential(self, sha256: str, model_id: str) -> CredentialView: ...


@dataclass(frozen=True, slots=True)
class _Permission:
    """Times are on the monotonic clock: good until, and to be asked for again from."""

    record: VersionRecord
    asked: float
    until: float
    renew: float


class Access:
    """Permissions of this host's callers."""

    def __init__(self, credentials: Credentials, *, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._permissions: dict[Key, _Permission] = {}
        self._asking: dict[Key, asyncio.Task[VersionRecord]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="access")

    def known(self, sha256: str, model_id: str) -> VersionRecord | None:
        """The version to run, if that was found out just now. Costs one look into a dictionary."""
        key = (sha256, model_id)
        permission = self._permissions.get(key)
        if permission is None:
            return None
        now = self._clock()
        if now >= permission.renew and key not in self._asking:
            self._start(key)
        return permission.record if now < permission.until else None

    async def find(self, sha256: str, model_id: str) -> VersionRecord:
        """The version to run; one look-up however many wait for it.

        Raises Unauthenticated, NotFound, PermissionDenied, Conflict; Overloaded and
        DependencyFailed where that cannot be found out.
        """
        key = (sha256, model_id)
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= limits.LOOKUPS_MAX:
                raise Overloaded("This host checks more tokens than it can at once. Try again shortly.")
            task = self._start(key)
        return await asyncio.shield(task)

    def close(self) -> None:
        for task in self._asking.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: Key) -> asyncio.Task[VersionRecord]:
        task = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key))
        task.add_done_callback(_retrieved)
        return task

    async def _ask(self, key: Key) -> VersionRecord:
        asked, loop = self._clock(), asyncio.get_running_loop()
        try:
            view = await loop.run_in_executor(self._threads, self._credentials.credential, *key)
            record = _permitted(view, model_id=key[1])
        except DependencyFailed:
            return self._extended(key)
        except ModelRocketError:
            self._permissions.pop(key, None)
            raise
        finally:
            del self._asking[key]
        until = asked + limits.TOKEN_CACHE_SECONDS
        self._remember(key, _Permission(record, asked, until, asked + limits.TOKEN_CACHE_SECONDS / 2))
        return record

    def _extended(self, key: Key) -> VersionRecord:
        """What is remembered, a little longer, while nobody can be asked. Raises DependencyFailed."""
        known, now = self._permissions.get(key), self._clock()
        if known is None or now >= known.asked + limits.OUTAGE_CACHE_SECONDS:
            self._permissions.pop(key, None)
            raise DependencyFailed("This token cannot be checked right now. Try again shortly.")
        renew = now + _RETRY_SECONDS
        until = min(renew + limits.TOKEN_CACHE_SECONDS, known.asked + limits.OUTAGE_CACHE_SECONDS)
        self._permissions[key] = _Permission(known.record, known.asked, until, renew)
        return known.record

    def _remember(self, key: Key, permission: _Permission) -> None:
        """What is in use is renewed and so moves to the end; the front is what nobody uses."""
        self._permissions.pop(key, None)
        self._permissions[key] = permission
        if len(self._permissions) > limits.PERMISSIONS_MAX:
            del self._permissions[next(iter(self._permissions))]


def _permitted(view: CredentialView, *, model_id: str) -> VersionRecord:
    """What is missing exists nowhere only if all there is has been written since the last flush."""
    complete = view.token is not None and (view.model is not None or model_id == NO_MODEL)
    if not complete and not view.projected:
        raise DependencyFailed("Tokens and models are being told to this host. Try again shortly.")
    return authorised(view.token, view.model)


def _retrieved(task: asyncio.Task[VersionRecord]) -> None:
    """A renewal may fail with nobody waiting for it."""
    if not task.cancelled():
        task.exception()
