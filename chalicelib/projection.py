"""Brings the tokens of the hot state in line with the truth, with work that does not grow with their number.

What changed since the latest complete projection is written again, and a page of all the rest, so that an
entry the hot state lost by itself comes back too. All of them are written where the hot state has lost the
mark of that projection, which means that it was flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.ports import ChangePoint, Store
from chalicelib.records import Token

OVERLAP: Final = timedelta(seconds=limits.PROJECTION_OVERLAP_SECONDS)
Record = TypeVar("Record")
_RETENTION: Final = timedelta(seconds=limits.KEY_RETENTION_SECONDS)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a projection came.

    Attributes:
        until: the truth's time up to which what changed was written.
        swept: where the next page of the rest begins.
    """

    until: datetime
    swept: str = ""

    @classmethod
    def read(cls, text: str | None) -> Mark | None:
        """None also for what is none."""
        until, _, swept = (text or "").partition(" ")
        with suppress(ValueError):
            return cls(datetime.fromisoformat(until).replace(tzinfo=UTC), swept)
        return None

    def __str__(self) -> str:
        return f"{self.until.isoformat()} {self.swept}"


def changed_pages(
    read: Callable[[ChangePoint, int], tuple[Sequence[Record], ChangePoint]], since: datetime
) -> Iterator[Sequence[Record]]:
    """All that changed since then."""
    point, end = None, ChangePoint(since)
    while point != end:
        point = end
        page, end = read(point, limits.PROJECTION_PAGE)
        yield page


class TokenProjection:
    """Runs in the coordinator's passes. `keep` is called again and again while everything is written."""

    def __init__(self, *, store: Store, hot: HotState, keep: Callable[[], None]) -> None:
        self._store = store
        self._hot = hot
        self._keep = keep

    def project(self, mark: str | None) -> str:
        """The mark to keep once this pass is complete, from the one before; None for a flushed hot state."""
        now, before = self._store.clock(), Mark.read(mark)
        self._forget(now)
        if before is None:
            self._put_everything()
            return str(Mark(now))
        for page in changed_pages(self._store.changed_tokens, before.until - OVERLAP):
            self._put(page)
        return str(Mark(now, self._sweep(before.swept)))

    def _put_everything(self) -> None:
        after = ""
        while page := self._store.tokens_page(after, limits.PROJECTION_PAGE):
            self._put(page)
            self._keep()
            after = page[-1].sha256

    def _sweep(self, after: str) -> str:
        """Write the next page; where the one after it begins."""
        page = self._store.tokens_page(after, limits.PROJECTION_PAGE)
        self._put(page)
        return page[-1].sha256 if page else ""

    def _forget(self, now: datetime) -> None:
        """What ended long ago, some at a time."""
        ended = self._store.ended_tokens(now - _RETENTION, limits.REAPED_PER_TICK_MAX)
        self._hot.forget_tokens([token.sha256 for token in ended])
        for token in ended:
            self._store.remove_token(token)

    def _put(self, page: Sequence[Token]) -> None:
        if page:
            self._hot.put_tokens((token.sha256, token.hot()) for token in page)
