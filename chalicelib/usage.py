"""What accounts used: added up by the coordinator's passes, and shown to them.

    roll_up   minutes that are over, from the hot state into the truth; then the hot state forgets them
    page      lines by minute, hour or day
    metrics   the last hour of one model

Passes may overlap, be late or die halfway: a counter only grows, and the truth keeps the greatest that it was
told, so telling it again changes nothing. The hot state forgets a minute once all of it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, NotFound, PermissionDenied
from chalicelib.contract.hotstate import HotState, MinuteOfUsage
from chalicelib.contract.messages import Scope
from chalicelib.contract.metering import Usage
from chalicelib.ports import Store
from chalicelib.records import UsagePeriod

_MINUTES_AT_ONCE: Final = 60
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


@dataclass(frozen=True, slots=True)
class Metrics:
    """The last hour of one model: minutes in which it was asked, oldest first."""

    model_id: str
    since: datetime
    until: datetime
    minutes: tuple[tuple[datetime, Usage], ...]

    @property
    def total(self) -> Usage:
        return sum((usage for _, usage in self.minutes), Usage())


class Metering:
    """The use cases of usage."""

    def __init__(self, *, store: Store, hot: HotState, now: Callable[[], datetime]) -> None:
        self._store = store
        self._hot = hot
        self._now = now

    def roll_up(self) -> int:
        """Add up minutes that are over, oldest first. How many. Safe to run twice, and safe to run late."""
        minutes = self._hot.usage_minutes()[:_MINUTES_AT_ONCE]
        for minute in minutes:
            self._add(self._hot.usage_of(minute))
        self._store.settle_usage(self._now() - _KEPT[Grain.MINUTE], _SETTLED_AT_ONCE)
        return len(minutes)

    def page(self, principal: Principal, question: Question) -> Page:
        """Raises InvalidRequest, PermissionDenied."""
        tenant = whose(principal, question.account)
        since, until = self._span(question)
        kept = Grain.DAY if question.by is Grain.DAY else Grain.HOUR
        read = self._store.usage_days if kept is Grain.DAY else self._store.usage_hours
        limit = limits.USAGE_PAGE // (_MINUTES_AN_HOUR if question.by is Grain.MINUTE else 1)
        periods = read(
            tenant,
            _began(since, kept),
            _ended(until, kept),
            model_id=question.model_id or None,
            after=question.after,
            limit=limit,
        )
        lines = (line for period in periods for line in _lines(period, question.by))
        return Page(
            question.by,
            since,
            until,
            tuple(line for line in lines if _asked_for(line, question) and since <= line.at < until),
            after=periods[-1].id.removeprefix(f"{tenant}/") if len(periods) == limit else None,
        )

    def metrics(self, principal: Principal, model_id: str) -> Metrics:
        """Raises NotFound."""
        if self._store.model(principal.tenant, model_id) is None:
            raise NotFound("There is no such model.")
        until = self._now()
        since = until.replace(second=0, microsecond=0) - _HOUR
        sums: dict[datetime, Usage] = {}
        for line in self._last_hour(principal.tenant, model_id, since, until):
            if since <= line.at:
                sums[line.at] = sums.get(line.at, Usage()) + line.usage
        return Metrics(model_id, since, until, tuple(sorted(sums.items())))

    def _add(self, minute: MinuteOfUsage) -> None:
        at = datetime.fromtimestamp(minute.minute * _SECONDS_A_MINUTE, UTC)
        if minute.counted:
            self._store.add_usage(at, minute.name, minute.counted)
            self._store.mark_used({key.token_id: at for key in minute.counted})
        self._hot.forget_usage(minute)

    def _last_hour(self, tenant: str, model_id: str, since: datetime, until: datetime) -> Iterator[Line]:
        """Of all keys, as far as they fit into one page of hours."""
        began = _began(since, Grain.HOUR)
        periods = self._store.usage_hours(
            tenant, began, until + _HOUR, model_id=model_id, after="", limit=limits.USAGE_PAGE
        )
        return (line for period in periods for line in _lines(period, Grain.MINUTE))

    def _span(self, question: Question) -> tuple[datetime, datetime]:
        """What is asked for, with what is not kept any more left out; `until` at the end of its period."""
        now = self._now()
        until = _time(question.until, "to") or now
        since = _time(question.since, "from") or until - _SHOWN[question.by]
        if since >= until:
            raise InvalidRequest(f"from: it has to be before {until.isoformat()}, got {since.isoformat()}")
        since = max(since, now - _KEPT[question.by])
        return _began(since, question.by), _ended(until, question.by)


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


def _began(at: datetime, grain: Grain) -> datetime:
    match grain:
        case Grain.MINUTE:
            return at.replace(second=0, microsecond=0)
        case Grain.HOUR:
            return at.replace(minute=0, second=0, microsecond=0)
        case Grain.DAY:
            return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _ended(at: datetime, grain: Grain) -> datetime:
    began = _began(at, grain)
    return at if began == at else began + _STEP[grain]


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


def _asked_for(line: Line, question: Question) -> bool:
    return question.token_id in ("", line.token_id)
