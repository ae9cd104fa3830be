"""What was measured of an account's requests: by time, model and key, what is under way included.

The hot state is looked at first, then hours, then days: in this order the coordinator writes minutes down
and forgets them, so that one that it moves meanwhile is in one of them at least. Where it is in two, each of
its counters is the greater one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.metering import NOBODY, Measures, MinuteOfUsage, Usage, UsageKey, together
from chalicelib.ports import Store
from chalicelib.records import UsageKept, UsagePeriod, UsageQuery
from chalicelib.usage import Grain, Question, began, ended, span, whose

_PAGE: Final = 100
_SECONDS_A_MINUTE: Final = 60
_HOUR: Final = timedelta(hours=1)
_SETTLED: Final = ""
"""As a part of a period: what is not kept by parts any more."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """From `since` to before `until`; points oldest first, models and keys with most requests first."""

    by: Grain
    since: datetime
    until: datetime
    total: Measures
    points: tuple[tuple[datetime, Measures], ...]
    models: tuple[tuple[str, Measures], ...]
    keys: tuple[tuple[str, Measures], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What was measured of one key in the minute, hour or day that began at `at`."""

    at: datetime
    key: UsageKey
    measures: Measures


class MetricsReader:
    """The use cases of metrics."""

    def __init__(self, *, store: Store, hot: HotState, now: Callable[[], datetime]) -> None:
        self._store = store
        self._hot = hot
        self._now = now

    def of_model(self, principal: Principal, question: Question) -> Metrics:
        """Raises NotFound, InvalidRequest."""
        if self._store.model(principal.tenant, question.model_id) is None:
            raise NotFound("There is no such model.")
        return self.read(principal, question)

    def read(self, principal: Principal, question: Question) -> Metrics:
        """Raises InvalidRequest, PermissionDenied."""
        since, until, lines = self.lines(principal, question)
        points: dict[datetime, _Sum] = {}
        models: dict[str, _Sum] = {}
        keys: dict[str, _Sum] = {}
        for line in lines:
            if line.key.token_id != NOBODY:
                points.setdefault(line.at, _Sum()).add(line.measures)
                models.setdefault(line.key.model_id, _Sum()).add(line.measures)
                keys.setdefault(line.key.token_id, _Sum()).add(line.measures)
        return Metrics(
            question.by,
            since,
            until,
            together(point.measures for point in points.values()),
            tuple((at, points[at].measures) for at in sorted(points)),
            _most(models),
            _most(keys),
        )

    def lines(self, principal: Principal, question: Question) -> tuple[datetime, datetime, Iterator[Line]]:
        """What of the span is kept, its end, and what was measured in it, in no order.

        Raises InvalidRequest, PermissionDenied; the former also while it is read, where it is too much.
        """
        tenant = whose(principal, question.account)
        now = self._now()
        since, until = span(question, now=now)
        reading = _Reading(self._store, tenant, question, since, until)
        running = _running(self._under_way(tenant, since), reading)
        match question.by:
            case Grain.MINUTE:
                return since, until, reading.minutes(running)
            case Grain.HOUR:
                settled = ended(now - timedelta(seconds=limits.USAGE_MINUTES_SECONDS), Grain.DAY)
                return since, until, reading.hours(running, settled=settled)
            case Grain.DAY:
                return since, until, reading.days(running)

    def _under_way(self, tenant: str, since: datetime) -> Sequence[MinuteOfUsage]:
        """Nothing while the hot state is away: then what is written down is shown."""
        with suppress(DependencyFailed):
            return self._hot.usage_under_way(tenant, int(since.timestamp()) // _SECONDS_A_MINUTE)
        return ()


@dataclass(slots=True)
class _Sum:
    """Grows in place: answers are made of many lines."""

    usage: Usage = field(default_factory=Usage)
    counters: dict[str, int] = field(default_factory=dict)

    def add(self, measures: Measures) -> None:
        self.usage += measures.usage
        for name, amount in measures.counters.items():
            self.counters[name] = self.counters.get(name, 0) + amount

    @property
    def measures(self) -> Measures:
        return Measures(self.usage, self.counters)


Parts = dict[str, Measures]
Periods = dict[tuple[datetime, UsageKey], Parts]
"""By when they began and whose they are."""


@dataclass(slots=True)
class _Reading:
    """One question to the truth, and how many periods it has come to."""

    store: Store
    tenant: str
    question: Question
    since: datetime
    until: datetime
    periods: int = 0

    def asks(self, key: UsageKey) -> bool:
        asked = self.question
        return asked.model_id in ("", key.model_id) and asked.token_id in ("", key.token_id)

    def minutes(self, running: Periods) -> Iterator[Line]:
        since, until = began(self.since, Grain.HOUR), ended(self.until, Grain.HOUR)
        for (hour, key), parts in self._read(UsageKept.HOURS, since, until, running):
            for part, measures in parts.items():
                at = hour + timedelta(minutes=_number(part))
                if part != _SETTLED and self.since <= at < self.until:
                    yield Line(at, key, measures)

    def hours(self, running: Periods, *, settled: datetime) -> Iterator[Line]:
        """Days say what their hours are from `settled` on, in far fewer documents."""
        later = self._days_running(running)
        until = min(self.until, settled)
        if self.since < until:
            for (at, key), parts in self._read(UsageKept.HOURS, self.since, until, {}):
                yield Line(at, key, together(parts.values()))
        since, until = began(max(self.since, settled), Grain.DAY), ended(self.until, Grain.DAY)
        for (day, key), parts in self._read(UsageKept.DAYS, since, until, later):
            for part, measures in parts.items():
                at = day + timedelta(hours=_number(part))
                if part != _SETTLED and max(self.since, settled) <= at < self.until:
                    yield Line(at, key, measures)

    def days(self, running: Periods) -> Iterator[Line]:
        later = self._days_running(running)
        for (at, key), parts in self._read(UsageKept.DAYS, self.since, self.until, later):
            yield Line(at, key, together(parts.values()))

    def _days_running(self, running: Periods) -> Periods:
        """The days of hours that are under way, each with what these hours are by now."""
        days: Periods = {}
        if not running:
            return days
        first, last = min(at for at, _ in running), max(at for at, _ in running)
        for (hour, key), parts in self._read(UsageKept.HOURS, first, last + _HOUR, running):
            day = began(hour, Grain.DAY)
            days.setdefault((day, key), {})[f"{hour.hour:02}"] = together(parts.values())
        return days

    def _read(
        self, kept: UsageKept, since: datetime, until: datetime, running: Periods
    ) -> Iterator[tuple[tuple[datetime, UsageKey], Parts]]:
        """Periods by parts, with what is known of those that are under way."""
        query = UsageQuery(
            kept=kept,
            tenant=self.tenant,
            since=since,
            until=until,
            model_id=self.question.model_id,
            token_id=self.question.token_id,
        )
        left = dict(running)
        after = ""
        while True:
            page = self.store.usage(query, after=after, limit=_PAGE)
            for period in page:
                key = UsageKey(self.tenant, period.token_id, period.model_id, period.version)
                parts = {_SETTLED: Measures(period.settled, period.settled_counters), **period.measured}
                yield (period.at, key), _grown(parts, left.pop((period.at, key), {}))
            if len(page) < _PAGE:
                break
            after = page[-1].id.removeprefix(f"{self.tenant}/")
            self._take_note(page)
        yield from left.items()

    def _take_note(self, page: Sequence[UsagePeriod]) -> None:
        parts = (max(len(one.parts), len(one.counters)) for one in page)
        self.periods += sum(1 + many // limits.METRICS_PARTS_AT_ONCE for many in parts)
        if self.periods >= limits.METRICS_PERIODS_MAX:
            raise InvalidRequest(
                "This is more than one answer can add up. Ask for a shorter time, or for one model or key."
            )


def _running(minutes: Iterable[MinuteOfUsage], reading: _Reading) -> Periods:
    """By the hour."""
    found: Periods = {}
    for minute in minutes:
        at = datetime.fromtimestamp(minute.minute * _SECONDS_A_MINUTE, UTC)
        if not reading.since <= at < reading.until:
            continue
        for key, measures in minute.counted.items():
            if reading.asks(key):
                found.setdefault((began(at, Grain.HOUR), key), {})[minute.part] = measures
    return found


def _grown(parts: Parts, seen: Mapping[str, Measures]) -> Parts:
    for part, measures in seen.items():
        parts[part] = measures.greatest(parts.get(part, Measures()))
    return parts


def _number(part: str) -> int:
    """Of the minute, or hour, that a part is of."""
    number = part.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _most(sums: Mapping[str, _Sum]) -> tuple[tuple[str, Measures], ...]:
    ordered = sorted(sums.items(), key=lambda one: (-one[1].usage.requests, one[0]))
    return tuple((name, one.measures) for name, one in ordered[: limits.METRICS_LINES_MAX])
