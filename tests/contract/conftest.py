"""Every command that these tests send to the stores is held against what the managed ones take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import redis
from pymongo import monitoring

from infra.local.embedded import EmbeddedServers
from tests.support import managed

_OF_TESTS: Final = frozenset({"explain", "listCollections", "listIndexes", "profile"})
"""With these tests look behind the store; the store itself has no use for them."""


class Noted(monitoring.CommandListener):
    """What is wrong with commands to MongoDB, each once."""

    def __init__(self) -> None:
        self.commands: set[str] = set()
        self.refused: set[str] = set()
        self.noting = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.noting and event.command_name not in _OF_TESTS:
            self.commands.add(event.command_name)
            self.refused |= set(managed.refused(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Only what is asked counts."""

    failed: Any = succeeded


_noted = Noted()
monitoring.register(_noted)


@pytest.fixture(scope="package", autouse=True)
def documentdb_takes_it() -> Iterator[None]:
    _noted.noting = True
    yield
    _noted.noting = False
    assert not _noted.refused


@pytest.fixture(scope="package", autouse=True)
def elasticache_takes_it(servers: EmbeddedServers) -> Iterator[None]:
    """Also what scripts call: the server here, which is newer, counts all of it."""
    client: Any = redis.Redis.from_url(servers.connections.redis_urls["stack"], decode_responses=True)
    yield
    called = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    since = dict(_since(client.execute_command("COMMAND DOCS")))
    assert called <= set(since), called - set(since)
    assert {name for name in called if managed.newer(since[name])} == set()


def _since(documented: Any) -> Iterator[tuple[str, str]]:
    """By the name of the command, or of command|subcommand. RESP2's lists and RESP3's maps."""
    for name, said in _pairs(documented):
        fields = dict(_pairs(said))
        yield name, fields["since"]
        yield from _since(fields.get("subcommands", ()))


def _pairs(flat: Any) -> Any:
    return flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
