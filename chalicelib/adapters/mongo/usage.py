"""Usage by the hour and by the day.

One document for each of them, key and version: its minutes, or hours, stand in it by themselves, each
counter as the greatest that was seen of it. Counters only grow, so writing one again, later, or from less
than there was, changes nothing that is right already. What is counted beside the sums stands apart from them:
some 50 counters of a busy minute, and never more than there are buckets of all phases and codes of errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, UpdateOne
from pymongo.collection import Collection

from chalicelib.adapters.mongo.database import Database, Document, read, read_all, read_page, translated
from chalicelib.contract import limits
from chalicelib.contract.metering import Measures, MinuteOfUsage, UsageKey
from chalicelib.records import UsageKept, UsagePeriod, UsageQuery

_AT_ONCE: Final = 500
_SECONDS_A_MINUTE: Final = 60
_NAMES: Final = {UsageKept.HOURS: "%Y-%m-%dT%H", UsageKept.DAYS: "%Y-%m-%d"}
_SECONDS: Final = {
    UsageKept.HOURS: limits.USAGE_HOURS_SECONDS,
    UsageKept.DAYS: limits.USAGE_DAYS_SECONDS,
}
_BESIDE_SUMS: Final = ("counters", "settled_counters")


class _Seen(msgspec.Struct, frozen=True):
    """What is to be written of one key: of the minute `at`, as the part `name` of its hour."""

    key: UsageKey
    at: datetime
    name: str
    measures: Measures


class MongoUsage:
    """Implements `ports.UsageStore`."""

    def __init__(self, database: Database) -> None:
        self._usage = {kept: database.collection(f"usage_{kept}") for kept in UsageKept}

    def create_indexes(self) -> None:
        with translated():
            for kept, seconds in _SECONDS.items():
                periods = self._usage[kept]
                periods.create_index([("at", ASCENDING)], expireAfterSeconds=seconds)
                periods.create_index([("open", ASCENDING), ("at", ASCENDING)])
                for named in ("model_id", "token_id"):
                    periods.create_index([("tenant", ASCENDING), (named, ASCENDING), ("_id", ASCENDING)])

    def add_usage(self, minutes: Sequence[MinuteOfUsage]) -> None:
        seen = [one for minute in minutes for one in _seen(minute)]
        for first in range(0, len(seen), _AT_ONCE):
            with translated():
                self._add_page(seen[first : first + _AT_ONCE])

    def usage(self, query: UsageQuery, *, after: str, limit: int) -> Sequence[UsagePeriod]:
        """Names of periods sort as their times do."""
        since, until = (at.strftime(_NAMES[query.kept]) for at in (query.since, query.until))
        tenant = query.tenant
        least = {"$gt": f"{tenant}/{after}"} if after > since else {"$gte": f"{tenant}/{since}"}
        wanted: Document = {"tenant": tenant, "_id": {**least, "$lt": f"{tenant}/{until}"}}
        named = {"model_id": query.model_id, "token_id": query.token_id}
        wanted |= {name: value for name, value in named.items() if value}
        fields = dict.fromkeys(_BESIDE_SUMS, False) if query.sums_alone else None
        with translated():
            found = self._usage[query.kept].find(wanted, fields).sort("_id", ASCENDING)
            return read_page(found, UsagePeriod, limit)

    def settle_usage(self, before: datetime, limit: int) -> int:
        with translated():
            return sum(_settle(periods, before, limit) for periods in self._usage.values())

    def _add_page(self, seen: Sequence[_Seen]) -> None:
        """Hours, and then their days by what the hours are now."""
        grown = [_grown(UsageKept.HOURS, one.key, one.at, one.name, one.measures) for one in seen]
        self._usage[UsageKept.HOURS].bulk_write(grown, ordered=False)
        keys = {_id(UsageKept.HOURS, one.key, one.at): one.key for one in seen}
        hours = read_all(self._usage[UsageKept.HOURS].find({"_id": {"$in": list(keys)}}), UsagePeriod)
        grown = [
            _grown(UsageKept.DAYS, keys[hour.id], hour.at, f"{hour.at.hour:02}", hour.measures)
            for hour in hours
        ]
        self._usage[UsageKept.DAYS].bulk_write(grown, ordered=False)


def _seen(minute: MinuteOfUsage) -> list[_Seen]:
    at = datetime.fromtimestamp(minute.minute * _SECONDS_A_MINUTE, UTC)
    return [_Seen(key, at, minute.part, measures) for key, measures in minute.counted.items()]


def _grown(kept: UsageKept, key: UsageKey, at: datetime, part: str, seen: Measures) -> UpdateOne:
    began = at.replace(minute=0) if kept is UsageKept.HOURS else at.replace(hour=0, minute=0)
    fields = {**msgspec.structs.asdict(key), "at": began}
    usage = msgspec.structs.asdict(seen.usage)
    greatest = {f"parts.{part}.{name}": amount for name, amount in usage.items() if amount}
    greatest |= {f"counters.{part}.{name}": amount for name, amount in seen.counters.items()}
    change: dict[str, Any] = {"$setOnInsert": fields, "$set": {"open": True}, "$max": greatest}
    return UpdateOne({"_id": _id(kept, key, at)}, change, upsert=True)


def _settle(periods: Collection[Document], before: datetime, limit: int) -> int:
    """Their parts become sums. What grew meanwhile is left for the next time."""
    old = {"open": True, "at": {"$lt": before}}
    found = list(periods.find(old).sort("at", ASCENDING).limit(limit))
    for one in found:
        period = read(one, UsagePeriod)
        settled: Document = {"open": False}
        if period is not None:
            measures = period.measures
            settled["settled"] = msgspec.structs.asdict(measures.usage)
            settled["settled_counters"] = measures.counters
        seen = {"_id": one["_id"], "parts": one.get("parts"), "counters": one.get("counters")}
        periods.update_one(seen, {"$set": settled, "$unset": {"parts": "", "counters": ""}})
    return len(found)


def _id(kept: UsageKept, key: UsageKey, at: datetime) -> str:
    return f"{key.tenant}/{at.strftime(_NAMES[kept])}/{key.token_id}/{key.model_id}/{key.version}"
