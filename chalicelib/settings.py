"""The control plane's settings, read once from the environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from chalicelib.contract import limits

Value = TypeVar("Value")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InvalidSettings(Exception):
    """Every problem of an environment at once, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this deployment is wired. Units are in the names.

    Attributes:
        s3_endpoint_url: None for AWS's own.
        dispatch_key: signs the tickets that hosts check.
        retention_seconds: how long the bytes of what was deleted are kept.
        upload_part_bytes: larger files arrive in parts of this size.
        host_network: the only network inference requests are forwarded into.
    """

    mongo_url: str
    mongo_database: str
    redis_url: str
    s3_bucket: str
    s3_endpoint_url: str | None
    dispatch_key: bytes
    public_url: str
    host_network: Network
    tick_seconds: float
    loop_seconds: float
    retention_seconds: float
    upload_part_bytes: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises InvalidSettings naming every variable that is missing or wrong."""
        reader = _Reader(environ)
        settings = cls(
            mongo_url=reader.read("MONGO_URL", str),
            mongo_database=reader.read("MONGO_DATABASE", str, "modelrocket"),
            redis_url=reader.read("REDIS_URL", str),
            s3_bucket=reader.read("S3_BUCKET", str),
            s3_endpoint_url=reader.read("S3_ENDPOINT_URL", str, "") or None,
            dispatch_key=reader.read("DISPATCH_KEY", bytes.fromhex),
            public_url=reader.read("PUBLIC_URL", str).rstrip("/"),
            host_network=reader.read("HOST_NETWORK", ipaddress.ip_network),
            tick_seconds=reader.read("TICK_SECONDS", float, "10"),
            loop_seconds=reader.read("LOOP_SECONDS", float, "50"),
            retention_seconds=reader.read("RETENTION_SECONDS", float, str(limits.RETENTION_SECONDS)),
            upload_part_bytes=reader.read("UPLOAD_PART_BYTES", _part_bytes, str(limits.UPLOAD_PART_BYTES)),
        )
        reader.raise_problems()
        return settings


def _part_bytes(text: str) -> int:
    """As S3 takes them, and enough of them for the largest file."""
    least = max(limits.UPLOAD_PART_BYTES_MIN, -(-limits.WEIGHTS_BYTES_MAX // limits.UPLOAD_PARTS_MAX))
    if int(text) < least:
        raise ValueError(f"at least {least} bytes expected")
    return int(text)


class _Reader:
    """Reads variables, collecting what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], Value], default: str | None = None) -> Value:
        variable = f"MODELROCKET_{name}"
        text = self._environ.get(variable, default)
        try:
            if text is None:
                raise ValueError("it is not set")
            return parse(text)
        except ValueError as error:
            self._problems.append(f"{variable}: {error}")
            return cast(Value, None)  # never seen: raise_problems comes before any use

    def raise_problems(self) -> None:
        if self._problems:
            raise InvalidSettings("\n".join(self._problems))
