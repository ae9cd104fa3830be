"""What every part of the hot state's access has: the client, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from chalicelib.contract.errors import DependencyFailed

AWAY = "The platform's hot state does not answer. Try again shortly."


class Connected:
    """Over one client, whose pool makes it safe to use from many threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client  # redis-py types every reply as a union of sync and async


@contextmanager
def translated() -> Iterator[None]:
    """Raises DependencyFailed for whatever Redis says or does not say."""
    try:
        yield
    except redis.RedisError as error:
        raise DependencyFailed(AWAY) from error


def pairs(flat: Sequence[bytes] | dict[bytes, bytes]) -> Iterable[tuple[bytes, bytes]]:
    """HGETALL from inside a script is a flat list with RESP2 and a map with RESP3."""
    if isinstance(flat, dict):
        return flat.items()
    return zip(flat[::2], flat[1::2], strict=True)
