"""How to reach the stores, and the environment each role gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKET: Final = "modelrocket"
DATABASE: Final = "modelrocket"
_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Access:
    """`endpoint_url` is None for AWS's own."""

    endpoint_url: str | None
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str
    bucket: str

    def environment(self) -> dict[str, str]:
        environment = {
            "MODELROCKET_S3_BUCKET": self.bucket,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }
        if self.endpoint_url is not None:
            environment["MODELROCKET_S3_ENDPOINT_URL"] = self.endpoint_url
        return environment


@dataclass(frozen=True, slots=True, repr=False)
class External:
    """Servers that the user brings; None means that ours is started."""

    mongo_url: str | None = None
    redis_url: str | None = None
    s3: S3Access | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> External:
        """Raises ValueError naming what is missing beside an S3 endpoint."""
        return cls(
            mongo_url=environ.get("MODELROCKET_MONGO_URL") or None,
            redis_url=environ.get("MODELROCKET_REDIS_URL") or None,
            s3=_external_s3(environ),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Connections:
    """URLs carry passwords. `mongo_stack_url` and the Redis role `stack` are for checks and tests."""

    mongo_url: str
    mongo_stack_url: str
    redis_urls: Mapping[str, str]
    s3: S3Access

    def control_plane(self, role: str) -> dict[str, str]:
        """The environment of the gateway or the coordinator."""
        return {
            "MODELROCKET_MONGO_URL": self.mongo_url,
            "MODELROCKET_MONGO_DATABASE": DATABASE,
            "MODELROCKET_REDIS_URL": self.redis_urls[role],
            **self.s3.environment(),
        }

    def host(self) -> dict[str, str]:
        """The environment of a host, which never sees MongoDB."""
        return {"MODELROCKET_REDIS_URL": self.redis_urls["host"], **self.s3.environment()}


def _external_s3(environ: Mapping[str, str]) -> S3Access | None:
    endpoint_url = environ.get("MODELROCKET_S3_ENDPOINT_URL")
    if not endpoint_url:
        return None
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environ.get(name)]
    if missing:
        raise ValueError(f"MODELROCKET_S3_ENDPOINT_URL needs {' and '.join(missing)} beside it.")
    return S3Access(
        endpoint_url=endpoint_url,
        access_key=environ["AWS_ACCESS_KEY_ID"],
        secret_key=environ["AWS_SECRET_ACCESS_KEY"],
        region=environ.get("AWS_DEFAULT_REGION") or _REGION,
        bucket=environ.get("MODELROCKET_S3_BUCKET") or BUCKET,
    )
