"""What the managed stores take of what is asked of them: DocumentDB 5.0 and ElastiCache for Valkey 8.1.

Sources, read on 2026-11-23: DocumentDB's developer guide, "Supported MongoDB APIs, operations, and data
types" (its columns for 5.0), "Partial index", "Functional differences" and "Quotas and limits"; of the
operators the same table as compat-tool/compat.py of awslabs/amazon-documentdb-tools has it. ElastiCache's
user guide, "Restricted commands", "Role-Based Access Control" and "Engine versions".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

# DocumentDB

COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "aggregate": frozenset({"pipeline", "cursor"}),
    "createIndexes": frozenset({"indexes"}),
    "delete": frozenset({"deletes", "ordered"}),
    "find": frozenset({"filter", "projection", "sort", "skip", "limit", "batchSize", "singleBatch"}),
    "findAndModify": frozenset({"query", "update", "upsert", "new", "remove", "sort", "fields"}),
    "getMore": frozenset({"collection", "batchSize"}),
    "insert": frozenset({"documents", "ordered"}),
    "killCursors": frozenset({"cursors"}),
    "update": frozenset({"updates", "ordered"}),
}
"""Of those that it has: ours, and what they may say. It has `distinct` too, and then looks through all."""
OF_THE_DRIVER: Final = frozenset({"hello", "ismaster", "ping", "endSessions", "saslStart", "saslContinue"})
_OF_ALL: Final = frozenset({"lsid", "writeConcern", "$db", "$clusterTime", "$readPreference"})
_STATEMENT: Final = frozenset({"q", "u", "multi", "upsert", "arrayFilters", "limit"})
_WRITE_CONCERN: Final = frozenset({"w", "j"})
INDEX_OPTIONS: Final = frozenset(
    {"key", "name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression"}
)
PARTIAL_FILTERS: Final = frozenset({"$eq", "$exists", "$and", "$gt", "$gte", "$lt", "$lte"})
_INDEX_NAME_MAX: Final = 63
"""With its collection's, as 4.0 still had it; 5.0 takes 255."""
_IN_QUERIES: Final = (
    "$all $and $elemMatch $eq $exists $gt $gte $in $lt $lte $mod $ne $nin $nor $not $or $regex $size $type"
)
_IN_UPDATES: Final = (
    "$addToSet $currentDate $each $inc $max $min $mul $pop $position $pull $pullAll $push $rename $set "
    "$setOnInsert $slice $sort $unset"
)
_IN_PIPELINES: Final = (
    "$addFields $avg $count $first $group $last $limit $lookup $match $project $replaceRoot $skip $sum "
    "$unwind"
)
OPERATORS: Final = frozenset(f"{_IN_QUERIES} {_IN_UPDATES} {_IN_PIPELINES}".split())
"""Those that may be needed. Left out are some that it has, and all that it has not."""
_NO_INDEX: Final = frozenset({"$exists", "$ne", "$nin", "$nor", "$not"})
"""Looked for in all documents: its guide says so of the first planner, which pipelines always have."""


def refused(command: Mapping[str, Any]) -> Iterator[str]:
    """What DocumentDB would not take, or would answer by looking through a whole collection."""
    name = next(iter(command), None)  # what holds a password is not shown
    if name is None or name in OF_THE_DRIVER:
        return
    known = COMMANDS.get(name)
    if known is None:
        yield f"{name}: no command that it has, or one that is never fast"
        return
    yield from (f"{name}: {one}" for one in set(command) - known - _OF_ALL - {name})
    yield from (f"writeConcern: {one}" for one in set(command.get("writeConcern", {})) - _WRITE_CONCERN)
    body = {key: value for key, value in command.items() if key in known}
    yield from (f"{name}: {one}" for one in _operators(body) - OPERATORS)
    yield from (f"{name}: {one} uses no index" for one in _operators(body) & _NO_INDEX)
    for statement in [*command.get("updates", ()), *command.get("deletes", ())]:
        yield from (f"{name}: {one}" for one in set(statement) - _STATEMENT)
    changes = [one.get("u") for one in command.get("updates", ())] + [command.get("update")]
    if any(isinstance(change, list) for change in changes):
        yield f"{name}: a pipeline as the change"
    for index in command.get("indexes", ()):
        yield from _index_refused(command[name], index)


def _index_refused(collection: str, index: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"index {index['name']}: {one}" for one in set(index) - INDEX_OPTIONS)
    yield from (
        f"index {index['name']}: {one}"
        for one in _operators(index.get("partialFilterExpression", {})) - PARTIAL_FILTERS
    )
    if any(direction not in (1, -1) for direction in index["key"].values()):
        yield f"index {index['name']}: not by value"
    if len(f"{collection}.${index['name']}") > _INDEX_NAME_MAX:
        yield f"index {index['name']}: its name is too long"


def _operators(value: Any) -> frozenset[str]:
    """Names of fields that begin with a dollar, however deep."""
    if isinstance(value, Mapping):
        own = {key for key in value if key.startswith("$")}
        return frozenset(own).union(*map(_operators, value.values()))
    if isinstance(value, list | tuple):
        return frozenset[str]().union(*map(_operators, value))
    return frozenset()


# ElastiCache

VALKEY: Final = (8, 1)
RESTRICTED: Final[Mapping[str, str]] = {
    "BGREWRITEAOF": "",
    "BGSAVE": "",
    "CONFIG": "GET maxmemory",
    "DEBUG": "SLEEP 0",
    "MIGRATE": "host 6379 key 0 1",
    "REPLICAOF": "NO ONE",
    "SAVE": "",
    "SLAVEOF": "NO ONE",
    "SHUTDOWN": "",
    "SYNC": "",
}
"""Commands that nobody may call there, with arguments that they would have."""
RULE: Final = re.compile(r"(?:~|%R~|%W~|%RW~|&)[a-z:*-]+|[+-](?:@[a-z]+|[a-z|-]+)")
"""What an access string may hold after `on` or `off`: neither passwords nor `reset`."""


def newer(since: str) -> bool:
    """`since`: of a command, as the server's own COMMAND DOCS has it."""
    major, minor, *_ = map(int, since.split("."))
    return (major, minor) > VALKEY
