"""Who coordinates, and what was decided.

One document says whose turn it is: its epoch only grows, and a decision is recorded only by comparing it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from chalicelib.adapters.mongo.database import Database, Document, translated
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, StaleEpoch
from chalicelib.coordinator.planner import Action, Policy, Reason
from chalicelib.ports import Standing
from chalicelib.records import Decision

_FLEET: Final = "fleet"
_PAGE: Final = 200
_PART_BYTES: Final = 8 * 2**20
"""Of an entry in one document, of which MongoDB takes 16 MiB."""
_TRIES: Final = 20
_Said = tuple[tuple[Action, ...], tuple[Reason, ...]]


class MongoCoordination:
    """Implements `ports.CoordinatorStore`."""

    def __init__(self, database: Database) -> None:
        self._coordinators = database.collection("coordinators")
        self._decisions = database.collection("decisions")
        self._parts = database.collection("decision_parts")

    def create_indexes(self) -> None:
        with translated():
            for collection in (self._decisions, self._parts):
                kept = limits.DECISIONS_KEPT_SECONDS
                collection.create_index([("at", ASCENDING)], expireAfterSeconds=kept)
            self._decisions.create_index([("changed", ASCENDING), ("_id", DESCENDING)])
            self._decisions.create_index(
                [("subjects", ASCENDING), ("changed", ASCENDING), ("_id", DESCENDING)]
            )
            self._decisions.create_index([("subjects", ASCENDING), ("_id", DESCENDING)])
            self._decisions.create_index([("whole", ASCENDING), ("at", DESCENDING)])

    def standing(self) -> Standing:
        with translated():
            found = self._coordinators.find_one({"_id": _FLEET}) or {}
        return Standing(found.get("epoch", 0), found.get("decisions", 0))

    def next_epoch(self, holder: str, *, above: int = 0) -> int:
        for _ in range(_TRIES):
            before = self.standing()
            epoch = max(before.epoch, above) + 1
            with translated():
                if before.epoch:
                    seen = {"_id": _FLEET, "epoch": before.epoch}
                    change = {"$set": {"epoch": epoch, "holder": holder}}
                    taken = self._coordinators.update_one(seen, change).modified_count == 1
                else:
                    taken = self._first(epoch, holder)
            if taken:
                return epoch
        raise DependencyFailed("Too many coordinators begin at once. Try again shortly.")

    def record_decision(self, decision: Decision) -> None:
        seen = {"_id": _FLEET, "epoch": decision.epoch, "decisions": decision.id - 1}
        with translated():
            taken = self._coordinators.update_one(seen, {"$set": {"decisions": decision.id}})
            if taken.modified_count != 1:
                raise StaleEpoch("another coordinator has decided since")
            first, *rest = _parts(decision.entry)
            for number, part in enumerate(rest, start=1):
                self._parts.insert_one({"_id": _part(decision.id, number), "at": decision.at, "bytes": part})
            self._decisions.insert_one(_document(decision, first, parts=1 + len(rest)))

    def decisions(
        self, *, before: int | None, limit: int, subject: str = "", changes_only: bool = True
    ) -> Sequence[Decision]:
        query: Document = {"changed": True} if changes_only else {}
        if subject:
            query["subjects"] = subject
        if before is not None:
            query["_id"] = {"$lt": before}
        with translated():
            found = list(self._decisions.find(query, {"entry": 0}).sort("_id", DESCENDING).limit(limit))
        return tuple(decision for one in found if (decision := _read(one)) is not None)

    def journal(self, since: datetime, until: datetime) -> Iterator[Decision]:
        after = self._before_whole(since)
        while page := self._page(after, until):
            for found in page:
                decision = _read(found)
                if decision is not None:
                    yield msgspec.structs.replace(decision, entry=decision.entry + self._rest(found))
            after = page[-1]["_id"]

    def _first(self, epoch: int, holder: str) -> bool:
        try:
            self._coordinators.insert_one({"_id": _FLEET, "epoch": epoch, "holder": holder, "decisions": 0})
        except DuplicateKeyError:
            return False
        return True

    def _before_whole(self, since: datetime) -> int:
        """The number before the last one up to then that is whole; before the first later one, if none is."""
        with translated():
            earlier = self._decisions.find({"whole": True, "at": {"$lte": since}}, {"_id": 1})
            later = self._decisions.find({"whole": True, "at": {"$gt": since}}, {"_id": 1})
            found = [
                *earlier.sort("at", DESCENDING).limit(1),
                *later.sort("at", ASCENDING).limit(1),
            ]
        return int(found[0]["_id"]) - 1 if found else 0

    def _page(self, after: int, until: datetime) -> list[Document]:
        with translated():
            page = list(self._decisions.find({"_id": {"$gt": after}}).sort("_id", ASCENDING).limit(_PAGE))
        return [found for found in page if found["at"] <= until]

    def _rest(self, found: Mapping[str, Any]) -> bytes:
        names = [_part(found["_id"], number) for number in range(1, found.get("parts", 1))]
        if not names:
            return b""
        with translated():
            parts = {one["_id"]: one["bytes"] for one in self._parts.find({"_id": {"$in": names}})}
        return b"".join(parts.get(name, b"") for name in names)


def _parts(entry: bytes) -> list[bytes]:
    """At least one."""
    return [entry[first : first + _PART_BYTES] for first in range(0, max(1, len(entry)), _PART_BYTES)]


def _part(number: int, part: int) -> str:
    return f"{number}/{part}"


def _document(decision: Decision, first: bytes, *, parts: int) -> Document:
    said = msgspec.msgpack.encode((decision.actions, decision.reasons))
    return {
        "_id": decision.id,
        "epoch": decision.epoch,
        "at": decision.at,
        "changed": decision.changed,
        "subjects": list(decision.subjects),
        "said": zlib.compress(said),
        "whole": decision.whole,
        "policy": msgspec.json.encode(decision.policy).decode() if decision.policy else None,
        "entry": first,
        "parts": parts,
    }


def _read(found: Mapping[str, Any]) -> Decision | None:
    """None for what does not fit: another release may have written it."""
    try:
        actions, reasons = msgspec.msgpack.decode(zlib.decompress(found["said"]), type=_Said)
        return Decision(
            id=found["_id"],
            epoch=found["epoch"],
            at=found["at"],
            changed=found["changed"],
            actions=actions,
            reasons=reasons,
            whole=found["whole"],
            policy=msgspec.json.decode(found["policy"], type=Policy) if found.get("policy") else None,
            entry=found.get("entry", b""),
        )
    except (KeyError, zlib.error, msgspec.DecodeError, msgspec.ValidationError):
        return None
