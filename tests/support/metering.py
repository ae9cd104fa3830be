"""Minutes of usage that are over without anybody waiting for it."""

from __future__ import annotations

from typing import Any, Final

_MINUTES: Final = "mr:usage:minutes"


def make_past(raw_redis: Any, minute: int) -> None:
    """What was counted after that minute was counted in it."""
    for name in map(int, raw_redis.smembers(_MINUTES)):
        if name > minute:
            for field, value in raw_redis.hgetall(f"mr:usage:{name}").items():
                if field == b"!":
                    raw_redis.hset(f"mr:usage:{minute}", field, value)
                else:
                    raw_redis.hincrby(f"mr:usage:{minute}", field, int(value))
            raw_redis.delete(f"mr:usage:{name}")
            raw_redis.srem(_MINUTES, name)
    raw_redis.sadd(_MINUTES, minute)
