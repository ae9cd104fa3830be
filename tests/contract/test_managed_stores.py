"""What the code may ask of MongoDB and Redis, so that AWS's take it too; see `conftest.py`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.adapters import mongo
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from infra.redisroles import RIGHTS
from tests.contract.conftest import _noted
from tests.support import managed

ADAPTERS = sorted(Path(mongo.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ({"find": "a", "filter": {"x": {"$gt": 1, "$lte": 2}}, "sort": {"x": 1}, "limit": 1}, None),
        ({"find": "a", "filter": {"x": 1}, "collation": {"locale": "en"}}, "find: collation"),
        ({"find": "a", "filter": {"$or": [{"x": {"$near": [0, 0]}}]}}, "find: $near"),
        ({"find": "a", "filter": {"x": {"$ne": 1}}}, "find: $ne uses no index"),
        ({"find": "a", "filter": {}, "readConcern": {"level": "snapshot"}}, "find: readConcern"),
        ({"aggregate": "a", "pipeline": [{"$facet": {}}], "cursor": {}}, "aggregate: $facet"),
        ({"aggregate": "a", "pipeline": [{"$group": {"_id": {"$dateTrunc": {}}}}]}, "aggregate: $dateTrunc"),
        ({"distinct": "a", "key": "x"}, "distinct: no command that it has, or one that is never fast"),
        ({"bulkWrite": 1}, "bulkWrite: no command that it has, or one that is never fast"),
        ({"update": "a", "updates": [{"q": {}, "u": [{"$set": {}}]}]}, "update: a pipeline as the change"),
        ({"update": "a", "updates": [{"q": {}, "u": {}, "hint": {}}]}, "update: hint"),
        ({"insert": "a", "documents": [], "txnNumber": 1}, "insert: txnNumber"),
        ({"insert": "a", "documents": [], "writeConcern": {"w": 1, "wtimeout": 9}}, "writeConcern: wtimeout"),
        (
            {"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "n", "collation": {}}]},
            "index n: collation",
        ),
        ({"createIndexes": "a", "indexes": [{"key": {"x": "hashed"}, "name": "n"}]}, "index n: not by value"),
        (
            {"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "n" * 62}]},
            f"index {'n' * 62}: its name is too long",
        ),
        (
            {
                "createIndexes": "a",
                "indexes": [{"key": {"x": 1}, "name": "n", "partialFilterExpression": {"x": {"$in": []}}}],
            },
            "index n: $in",
        ),
    ],
)
def test_what_documentdb_does_not_take_is_named(command: dict[str, Any], problem: str | None) -> None:
    assert list(managed.refused(command)) == ([problem] if problem else [])


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_every_operator_in_the_code_is_one_that_documentdb_has(path: Path) -> None:
    """Also of what no test calls."""
    named = {
        key.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.startswith("$")
    }
    assert named <= managed.OPERATORS


def test_commands_are_noted(plane: ControlPlane) -> None:
    """Were they not, nothing would ever be refused."""
    plane.store.clock()
    assert {"createIndexes", "findAndModify"} <= _noted.commands


@pytest.mark.parametrize("role", RIGHTS)
def test_what_elasticache_keeps_to_itself_no_role_may_call_anywhere(
    servers: EmbeddedServers, raw_redis: Any, role: str
) -> None:
    user = urlsplit(servers.connections.redis_urls[role]).username
    for command, arguments in managed.RESTRICTED.items():
        said = raw_redis.execute_command("ACL DRYRUN", user, command, *arguments.split())
        assert b"no permissions to run" in said, command


@pytest.mark.parametrize("role", RIGHTS)
def test_rights_are_said_as_an_access_string_takes_them(raw_redis: Any, role: str) -> None:
    rules = RIGHTS[role].split()
    assert [rule for rule in rules if not managed.RULE.fullmatch(rule)] == []
    known = set(raw_redis.acl_cat())
    assert {rule[2:] for rule in rules if rule[1] == "@"} - {"all"} <= known
    named = {rule[1:].upper() for rule in rules if rule[0] in "+-" and rule[1] != "@"}
    assert not named & set(managed.RESTRICTED)


def test_a_command_that_came_later_is_told_from_others() -> None:
    assert [managed.newer(since) for since in ("2.0.0", "7.2.0", "8.1.0", "8.2.0", "9.0.0", "10.0.0")] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
