"""Minutes of usage that are over without anybody waiting for it."""

from __future__ import annotations

from typing import Any, Final

_MINUTES: Final = "mr:usage:minutes"


def make_past(raw_redis: Any, minute: int) -> None:
    """What was counted after that minute was counted in it."""
    for name in raw_redis.smembers(_MINUTES):
        counted, _, tenant = name.decode().partition("/")
        if int(counted) > minute:
            past = f"{minute}/{tenant}"
            for field, value in raw_redis.hgetall(f"mr:usage:{counted}/{tenant}").items():
                if field == b"!":
                    raw_redis.hsetnx(f"mr:usage:{past}", field, value)
                else:
                    raw_redis.hincrby(f"mr:usage:{past}", field, int(value))
            raw_redis.delete(f"mr:usage:{counted}/{tenant}")
            raw_redis.srem(_MINUTES, name)
            raw_redis.srem(f"{_MINUTES}:{tenant}", counted)
            raw_redis.sadd(_MINUTES, past)
            raw_redis.sadd(f"{_MINUTES}:{tenant}", minute)
