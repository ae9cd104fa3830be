"""What every collection is read and written by.

Writes are acknowledged by a majority and journalled. Changes of state compare
and set with `update_one`, so that repeating one is safe; the driver repeats nothing by
itself, since callers wait: they hear at once, and send it again. Every query is covered
whole by an index, and pages go by range.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from pymongo import ASCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from chalicelib.contract.errors import DependencyFailed
from chalicelib.patience import patience as of_this_request
from chalicelib.ports import ChangePoint

Document = dict[str, Any]
Record = TypeVar("Record", bound=msgspec.Struct)
TIMES: Final = (datetime,)
"""What MongoDB keeps as it is."""
CHANGED: Final[Document] = {"$currentDate": {"changed_at": True}}
"""In every change of what is read by `changed_page`: when it was, by MongoDB's own clock."""
_SILENCE_MS: Final = 3_000
"""With what a request may have waited before (see `patience`), its caller hears within five seconds."""
_SELECTION_MS: Final = 800
"""A database that is away is said to be within a second: the driver looks twice in it. Under its `timeoutMS`
it would not heed this, and take a write of its own that it repeats for another's."""
_AWAY: Final = "The platform's records do not answer. Try again shortly."


class Database:
    """The connection that all collections share. None is made before first use."""

    def __init__(self, url: str, name: str, *, silence_ms: int | None = None) -> None:
        """`silence_ms`: after how long an answer is not waited for any more; None for what requests wait."""
        silence_ms = silence_ms or _SILENCE_MS
        client: MongoClient[Document] = MongoClient(
            url,
            tz_aware=True,
            serverSelectionTimeoutMS=_SELECTION_MS,
            connectTimeoutMS=silence_ms,
            socketTimeoutMS=silence_ms,
            waitQueueTimeoutMS=silence_ms,
            retryWrites=False,
            retryReads=False,
            connect=False,
            appname="modelrocket",
        )
        self._database = client.get_database(name, write_concern=WriteConcern(w="majority", j=True))

    def collection(self, name: str) -> Collection[Document]:
        return self._database.get_collection(name)


def insert(collection: Collection[Document], record: msgspec.Struct) -> bool:
    """False when a unique index has it already."""
    try:
        collection.insert_one(document(record))
    except DuplicateKeyError:
        return False
    return True


def document(record: msgspec.Struct) -> Document:
    """As it is stored: its `id` is `_id`."""
    fields: Document = msgspec.to_builtins(record, builtin_types=TIMES)
    fields["_id"] = fields.pop("id")
    return fields


def read(found: Mapping[str, Any] | None, kind: type[Record]) -> Record | None:
    """A document that does not fit its schema reads as absent: never as something else."""
    if found is None:
        return None
    fields = {("id" if name == "_id" else name): value for name, value in found.items()}
    try:
        return msgspec.convert(fields, kind, builtin_types=TIMES)
    except msgspec.ValidationError:
        return None


def required(found: Mapping[str, Any] | None, kind: type[Record]) -> Record:
    record = read(found, kind)
    if record is None:
        raise DependencyFailed("The platform's records do not answer as expected. Try again shortly.")
    return record


def read_all(found: Any, kind: type[Record]) -> tuple[Record, ...]:
    return tuple(record for one in found if (record := read(one, kind)) is not None)


def read_page(found: Cursor[Document], kind: type[Record], limit: int) -> tuple[Record, ...]:
    """The first so many that fit their schema: what does not must not look like the end."""
    documents = list(found.limit(limit))
    page = read_all(documents, kind)
    if len(page) == len(documents):
        return page
    readable = (record for one in found.clone().limit(0) if (record := read(one, kind)) is not None)
    return tuple(itertools.islice(readable, limit))


def changed_page(
    collection: Collection[Document],
    after: ChangePoint,
    limit: int,
    *,
    key: str,
    fields: Document | None = None,
) -> tuple[list[Document], ChangePoint]:
    """What changed after it in the order it did, by an index on `changed_at` and `key`; where it ends."""
    at_once = {"changed_at": after.at, key: {"$gt": after.key}}
    in_order = [("changed_at", ASCENDING), (key, ASCENDING)]
    page = list(collection.find(at_once, fields).sort(in_order).limit(limit))
    if len(page) < limit:
        later = collection.find({"changed_at": {"$gt": after.at}}, fields)
        page += later.sort(in_order).limit(limit - len(page))
    return page, ChangePoint(page[-1]["changed_at"], page[-1][key]) if page else after


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the driver as ours, and one at once where this request has waited long enough."""
    patience = of_this_request()
    if patience.over:
        raise DependencyFailed(_AWAY)
    try:
        with patience.waiting():
            yield
    except PyMongoError as error:
        patience.lose()
        raise DependencyFailed(_AWAY) from error
