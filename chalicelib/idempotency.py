"""A write that is sent twice is done once: the header Idempotency-Key names it.

The same key with the same request is answered as it was the first time; with another request it is a
conflict. Refusals are not kept: nothing was changed, so they are looked at again. What dies in the middle may
be tried again after `IDEMPOTENCY_RUNNING_SECONDS`, under the same seed, from which ids and secrets are made.
An answer that holds a secret is not kept either: made again from the seed, it is the same. The seed is the
request's own, too: where the key is free again, another request under it finds nothing of the first one. Of
the request nothing is kept that a password in it could be guessed by.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidRequest
from chalicelib.ports import AttemptStore
from chalicelib.records import Answered, AttemptRecord

HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


class UnderWay(Conflict):
    """The same request is being done now, or was given up a moment ago."""

    retryable = True


class Attempt:
    """One request under an Idempotency-Key. As a context it gives the key back when the request fails."""

    def __init__(self, store: AttemptStore, record: AttemptRecord, *, seed: bytes, keep_body: bool) -> None:
        self._store = store
        self._record = record
        self._keep_body = keep_body
        self._done = False
        self.seed = seed

    @property
    def answered(self) -> Answered | None:
        """What was answered before; None where the request is to be done now."""
        return self._record.answered

    def succeed(self, status: int, body: str) -> None:
        """Remember the answer. Raises DependencyFailed."""
        self._done = True
        self._store.finish_attempt(self._record, Answered(status, body) if self._keep_body else None)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._done:
            self._store.forget_attempt(self._record)


class Attempts:
    """Of all tenants. `secret` makes seeds that nobody can guess."""

    def __init__(self, *, store: AttemptStore, secret: bytes, now: Callable[[], datetime]) -> None:
        self._store = store
        self._secret = secret
        self._now = now

    def begin(self, tenant: str, key: str, *, request: bytes, keep_body: bool) -> Attempt:
        """`request`: all that makes it this one. Raises InvalidRequest; Conflict where the key stands for
        another request, or one under way."""
        if _KEY.fullmatch(key) is None:
            raise InvalidRequest("Idempotency-Key: 1 to 200 printable ASCII characters expected")
        seed = self._digest(f"seed/{tenant}/{hashlib.sha256(request).hexdigest()}/{key}")
        record = AttemptRecord(
            id=hashlib.sha256(self._digest(f"idempotency/{tenant}/{key}")).hexdigest(),
            tenant=tenant,
            request=hashlib.sha256(seed).hexdigest(),
            began_at=self._now(),
        )
        found = self._store.begin_attempt(record)
        if found is not None:
            record = self._taken_over(record, found)
        return Attempt(self._store, record, seed=seed, keep_body=keep_body)

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode(), "sha256")

    def _taken_over(self, record: AttemptRecord, found: AttemptRecord) -> AttemptRecord:
        """What is there, where it may go on."""
        if found.request != record.request:
            raise Conflict("This Idempotency-Key was used for another request. Take a new one for each.")
        if found.answered is not None or found.repeatable:
            return found
        stale = record.began_at - timedelta(seconds=limits.IDEMPOTENCY_RUNNING_SECONDS)
        if found.began_at > stale or not self._store.take_attempt(found, record):
            raise UnderWay(
                "The first request with this Idempotency-Key is still under way. Send it again shortly.",
                retry_after=1,
            )
        return record
