"""What accounts used: added up by the coordinator's passes, and shown to them.

    roll_up   minutes that are over, from the hot state into the truth; then the hot state forgets them
    page      lines by minute, hour or day

Passes may overlap, be late or die halfway: a counter only grows, and the truth keeps the greatest that it was
told, so telling it again changes nothing. The hot state forgets a minute once all of it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, PermissionDenied
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope
from chalicelib.contract.metering import MinuteOfUsage, Usage
from chalicelib.ports import Store
from chalicelib.records import UsageKept, UsagePeriod, UsageQuery

_MINUTES_MAX: Final = 5_000
_MINUTES_AT_ONCE: Final = 100
_SETTLED_AT_ONCE: Final = 500
_SECONDS_A_MINUTE: Final = 60
_MINUTES_AN_HOUR: Final = 60
_HOUR: Final = timedelta(hours=1)
_SHOWN_LENGTH_MAX: Final = 40
_YEARS: Final = range(1970, 9999)
"""In any of them a period may be added or taken away, in any zone."""


class Grain(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


_STEP: Final = {Grain.MINUTE: timedelta(minutes=1), Grain.HOUR: _HOUR, Grain.DAY: timedelta(days=1)}
_SHOWN: Final = {Grain.MINUTE: _HOUR, Grain.HOUR: timedelta(days=1), Grain.DAY: timedelta(days=30)}
"""What is shown where nobody says since when."""
_KEPT: Final = {
    Grain.MINUTE: timedelta(seconds=limits.USAGE_MINUTES_SECONDS),
    Grain.HOUR: timedelta(seconds=limits.USAGE_HOURS_SECONDS),
    Grain.DAY: timedelta(seconds=limits.USAGE_DAYS_SECONDS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Usage from `since` (the default by grain) until before `until` (now), both in ISO 8601; empty for the
    default. `account`: another one's, for operators."""

    by: Grain = Grain.DAY
    since: str = ""
    until: str = ""
    model_id: str = ""
    token_id: str = ""
    account: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What one key used of one version in the minute, hour or day that began at `at`."""

    at: datetime
    token_id: str
    model_id: str
    version: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is what to ask behind for the next one; None for the last. `until` is left out."""

    by: Grain
    since: datetime
    until: datetime
    lines: tuple[Line, ...]
    after: str | None


def _nobody(_: MinuteOfUsage) -> None:
    """Looks on."""


class Metering:
    """The use cases of usage."""

    def __init__(self, *, store: Store, hot: HotState, now: Callable[[], datetime]) -> None:
        self._store = store
        self._hot = hot
        self._now = now

    def roll_up(self, see: Callable[[MinuteOfUsage], None] = _nobody) -> int:
        """Add up accounts' minutes that are over, oldest first. How many. Safe to run twice, and late.

        `see` is shown each of them, of which one may come again where the last time was broken off.
        """
        minutes = self._hot.usage_minutes()[:_MINUTES_MAX]
        for first in range(0, len(minutes), _MINUTES_AT_ONCE):
            for minute in self._add(minutes[first : first + _MINUTES_AT_ONCE]):
                see(minute)
        self._store.settle_usage(self._now() - _KEPT[Grain.MINUTE] - _HOUR, _SETTLED_AT_ONCE)
        return len(minutes)

    def page(self, principal: Principal, question: Question) -> Page:
        """Raises InvalidRequest, PermissionDenied."""
        tenant = whose(principal, question.account)
        since, until = span(question, now=self._now())
        kept = Grain.DAY if question.by is Grain.DAY else Grain.HOUR
        limit = limits.USAGE_PAGE // (_MINUTES_AN_HOUR if question.by is Grain.MINUTE else 1)
        query = UsageQuery(
            kept=UsageKept.DAYS if kept is Grain.DAY else UsageKept.HOURS,
            tenant=tenant,
            since=began(since, kept),
            until=ended(until, kept),
            model_id=question.model_id,
            token_id=question.token_id,
            sums_alone=True,
        )
        periods = self._store.usage(query, after=question.after, limit=limit)
        lines = (line for period in periods for line in _lines(period, question.by))
        return Page(
            question.by,
            since,
            until,
            tuple(line for line in lines if line.usage.requests and since <= line.at < until),
            after=periods[-1].id.removeprefix(f"{tenant}/") if len(periods) == limit else None,
        )

    def _add(self, minutes: Sequence[tuple[int, str]]) -> Sequence[MinuteOfUsage]:
        read = [self._hot.usage_of(minute, tenant) for minute, tenant in minutes]
        self._store.add_usage(read)
        self._store.mark_used(
            {
                key.token_id: datetime.fromtimestamp(minute.minute * _SECONDS_A_MINUTE, UTC)
                for minute in read
                for key, measures in minute.counted.items()
                if measures.usage.requests
            }
        )
        for minute in read:
            self._hot.forget_usage(minute)
        return read


def span(question: Question, *, now: datetime) -> tuple[datetime, datetime]:
    """What is asked for, with what is not kept any more left out; `until` at the end of its period.

    Raises InvalidRequest.
    """
    until = _time(question.until, "to") or now
    since = _time(question.since, "from") or until - _SHOWN[question.by]
    if since >= until:
        raise InvalidRequest(f"from: it has to be before {until.isoformat()}, got {since.isoformat()}")
    since = max(since, now - _KEPT[question.by])
    return began(since, question.by), ended(until, question.by)


def whose(principal: Principal, account: str) -> str:
    """The tenant to read about: one's own, or for an operator any. Raises PermissionDenied."""
    if account and account != principal.tenant and Scope.OPERATE not in principal.scopes:
        raise PermissionDenied('account: only operators see another account, with a key of scope "operate".')
    return account or principal.tenant


def _time(text: str, name: str) -> datetime | None:
    """A day, or a time (in UTC where it does not say). None where nothing is said."""
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        if read.year not in _YEARS:
            raise ValueError("out of range")
    except ValueError as error:
        expected = "a day or a time as 2026-01-31 or 2026-01-31T12:00:00Z expected"
        raise InvalidRequest(f"{name}: {expected}, got {text[:_SHOWN_LENGTH_MAX]!r}") from error
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def began(at: datetime, grain: Grain) -> datetime:
    match grain:
        case Grain.MINUTE:
            return at.replace(second=0, microsecond=0)
        case Grain.HOUR:
            return at.replace(minute=0, second=0, microsecond=0)
        case Grain.DAY:
            return at.replace(hour=0, minute=0, second=0, microsecond=0)


def ended(at: datetime, grain: Grain) -> datetime:
    start = began(at, grain)
    return at if start == at else start + _STEP[grain]


def _lines(period: UsagePeriod, grain: Grain) -> Iterator[Line]:
    """By the minute: its parts, of which several may be of one minute."""
    named = period.token_id, period.model_id, period.version
    if grain is not Grain.MINUTE:
        yield Line(period.at, *named, period.total)
        return
    minutes: dict[int, Usage] = {}
    for part, usage in period.parts.items():
        minute = part.partition("-")[0]
        if minute.isdigit():
            minutes[int(minute)] = minutes.get(int(minute), Usage()) + usage
    for past, usage in sorted(minutes.items()):
        yield Line(period.at + timedelta(minutes=past), *named, usage)
