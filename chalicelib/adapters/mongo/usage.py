"""Usage by the hour and by the day.

One document for each of them, key and version: its minutes, or hours, stand in it by themselves, each
counter as the greatest that was seen of it. Counters only grow, so writing one again, later, or from less
than there was, changes nothing that is right already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, UpdateOne
from pymongo.collection import Collection

from chalicelib.adapters.mongo.database import Database, Document, read, read_all, read_page, translated
from chalicelib.contract import limits
from chalicelib.contract.metering import Usage, UsageKey
from chalicelib.records import UsagePeriod

_AT_ONCE: Final = 500
_HOUR: Final = "%Y-%m-%dT%H"
_DAY: Final = "%Y-%m-%d"
_SECONDS: Final = {"hours": limits.USAGE_HOURS_SECONDS, "days": limits.USAGE_DAYS_SECONDS}


class MongoUsage:
    """Implements `ports.UsageStore`."""

    def __init__(self, database: Database) -> None:
        self._usage = {kept: database.collection(f"usage_{kept}") for kept in _SECONDS}

    def create_indexes(self) -> None:
        with translated():
            for kept, seconds in _SECONDS.items():
                periods = self._usage[kept]
                periods.create_index([("at", ASCENDING)], expireAfterSeconds=seconds)
                periods.create_index([("open", ASCENDING), ("at", ASCENDING)])
                periods.create_index([("tenant", ASCENDING), ("model_id", ASCENDING), ("_id", ASCENDING)])

    def add_usage(self, at: datetime, made: str, counted: Mapping[UsageKey, Usage]) -> None:
        keys = list(counted)
        for first in range(0, len(keys), _AT_ONCE):
            page = keys[first : first + _AT_ONCE]
            with translated():
                self._add_page(at, f"{at.minute:02}-{made}", {key: counted[key] for key in page})

    def usage_hours(
        self, tenant: str, since: datetime, until: datetime, *, model_id: str | None, after: str, limit: int
    ) -> Sequence[UsagePeriod]:
        names = since.strftime(_HOUR), until.strftime(_HOUR)
        return self._between("hours", tenant, *names, model_id=model_id, after=after, limit=limit)

    def usage_days(
        self, tenant: str, since: datetime, until: datetime, *, model_id: str | None, after: str, limit: int
    ) -> Sequence[UsagePeriod]:
        names = since.strftime(_DAY), until.strftime(_DAY)
        return self._between("days", tenant, *names, model_id=model_id, after=after, limit=limit)

    def settle_usage(self, before: datetime, limit: int) -> int:
        with translated():
            return sum(_settle(periods, before, limit) for periods in self._usage.values())

    def _add_page(self, at: datetime, part: str, counted: Mapping[UsageKey, Usage]) -> None:
        hour = at.replace(minute=0)
        hours = {_id(key, hour.strftime(_HOUR)): key for key in counted}
        self._usage["hours"].bulk_write(
            [_grown(name, key, hour, part, counted[key]) for name, key in hours.items()], ordered=False
        )
        written = read_all(self._usage["hours"].find({"_id": {"$in": list(hours)}}), UsagePeriod)
        day = at.replace(hour=0, minute=0)
        self._usage["days"].bulk_write(
            [_grown_day(hours[period.id], day, period) for period in written], ordered=False
        )

    def _between(  # noqa: PLR0913 - by keywords
        self, kept: str, tenant: str, since: str, until: str, *, model_id: str | None, after: str, limit: int
    ) -> Sequence[UsagePeriod]:
        """Names of periods sort as their times do. Without `until`, and without what comes up to `after`."""
        least = {"$gt": f"{tenant}/{after}"} if after > since else {"$gte": f"{tenant}/{since}"}
        query: Document = {"tenant": tenant, "_id": {**least, "$lt": f"{tenant}/{until}"}}
        if model_id is not None:
            query["model_id"] = model_id
        with translated():
            found = self._usage[kept].find(query).sort("_id", ASCENDING)
            return read_page(found, UsagePeriod, limit)


def _grown_day(key: UsageKey, day: datetime, hour: UsagePeriod) -> UpdateOne:
    return _grown(_id(key, day.strftime(_DAY)), key, day, f"{hour.at.hour:02}", hour.total)


def _grown(name: str, key: UsageKey, at: datetime, part: str, seen: Usage) -> UpdateOne:
    fields = {**msgspec.structs.asdict(key), "at": at}
    greatest = {f"parts.{part}.{counter}": amount for counter, amount in _counters(seen)}
    change: dict[str, Any] = {"$setOnInsert": fields, "$set": {"open": True}, "$max": greatest}
    return UpdateOne({"_id": name}, change, upsert=True)


def _settle(periods: Collection[Document], before: datetime, limit: int) -> int:
    """Their parts become sums. What grew meanwhile is left for the next time."""
    old = {"open": True, "at": {"$lt": before}}
    found = list(periods.find(old).sort("at", ASCENDING).limit(limit))
    for one in found:
        period = read(one, UsagePeriod)
        settled = msgspec.structs.asdict(period.total) if period else {}
        change = {"$set": {"open": False, "settled": settled}, "$unset": {"parts": ""}}
        periods.update_one({"_id": one["_id"], "parts": one.get("parts")}, change)
    return len(found)


def _counters(usage: Usage) -> Iterable[tuple[str, int]]:
    return ((name, amount) for name, amount in msgspec.structs.asdict(usage).items() if amount)


def _id(key: UsageKey, period: str) -> str:
    return f"{key.tenant}/{period}/{key.token_id}/{key.model_id}/{key.version}"
