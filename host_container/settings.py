"""What the environment says about this host, checked as a whole before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from chalicelib.contract import limits
from chalicelib.contract.limiting import AccountLimits
from host_container.providers import Provider

PREFIX: Final = "MODELROCKET_"
MEMORY_BYTES_DEFAULT: Final = 2 * 1024**3
DISK_TO_MEMORY: Final = 5
_WORKER_TO_MEMORY: Final = 2
_WORKER_BYTES: Final = 512 * limits.MIB
"""Of a worker's address space. A load takes for a moment up to four and a half times what the model then
keeps (parsed, copied, optimised), which makes more of a difference the smaller a host is."""
_PORT_MAX: Final = 65_535
_HOST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_BEST: Final = "auto"

Value = TypeVar("Value")
Network = IPv4Network | IPv6Network
_ACCOUNT: Final = AccountLimits.of(limits.ACCOUNT_REQUESTS_PER_SECOND, limits.ACCOUNT_CONCURRENCY_MAX)
_NEAR: Final = {4: 16, 6: 48}


class Isolation(StrEnum):
    """Which models share a worker process. `HOST` isolates least: for a GPU that all must share."""

    TENANT = "tenant"
    MODEL = "model"
    HOST = "host"


class InvalidSettings(ValueError):
    """Every problem at once. Values are not repeated: some are secrets."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(
            "The host's settings are not usable:\n" + "\n".join(f"  {item}" for item in problems)
        )
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One host's. Credentials for S3 are boto3's own affair (AWS_* variables, roles).

    `provider` is what is to run models, None for the best that is there. `gpu_memory_bytes_max` is what
    each worker may take on the GPU, None for no limit. `network` is where other hosts may be, by default
    what is as near as a private network gets: the same /16, or /48 of IPv6. `account`: the gateways' own.
    `slots`: how many requests this host runs well at once, by default as many as it has processors.
    """

    host_id: str
    address: str
    port: int
    redis_url: str = field(repr=False)
    s3_bucket: str
    s3_endpoint_url: str | None
    dispatch_key: bytes = field(repr=False)
    cache_dir: Path
    memory_bytes_max: int
    disk_bytes_max: int
    worker_memory_bytes_max: int
    isolation: Isolation
    sandbox_required: bool
    provider: Provider | None = None
    gpu_memory_bytes_max: int | None = None
    network: Network | None = None
    slots: float | None = None
    account: AccountLimits = _ACCOUNT

    @property
    def neighbours(self) -> Network:
        """Where other hosts may be."""
        own = ip_address(self.address)
        return self.network or ip_network(f"{own}/{_NEAR[own.version]}", strict=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises InvalidSettings naming every variable that is missing or wrong."""
        read = _Reader(environ)
        memory = read.value("MEMORY_BYTES_MAX", _positive, default=MEMORY_BYTES_DEFAULT)
        settings = dict(
            host_id=read.value("HOST_ID", _host_id),
            address=read.value("HOST_ADDRESS", _address),
            port=read.value("HOST_PORT", _port),
            redis_url=read.value("REDIS_URL", _url("redis", "rediss", "unix")),
            s3_bucket=read.value("S3_BUCKET", _text),
            s3_endpoint_url=read.value("S3_ENDPOINT_URL", _url("http", "https"), default=None),
            dispatch_key=read.value("DISPATCH_KEY", _key),
            cache_dir=read.value("CACHE_DIR", Path),
            memory_bytes_max=memory,
            disk_bytes_max=read.value(
                "DISK_BYTES_MAX", _positive, default=DISK_TO_MEMORY * (memory or MEMORY_BYTES_DEFAULT)
            ),
            worker_memory_bytes_max=read.value(
                "WORKER_MEMORY_BYTES_MAX",
                _positive,
                default=worker_bytes_max(memory or MEMORY_BYTES_DEFAULT),
            ),
            isolation=read.value("ISOLATION", _isolation, default=Isolation.TENANT),
            sandbox_required=read.value("SANDBOX", _sandbox_required, default=True),
            provider=read.value("PROVIDER", _provider, default=None),
            gpu_memory_bytes_max=read.value("GPU_MEMORY_BYTES_MAX", _positive, default=None),
            network=read.value("HOST_NETWORK", _network, default=None),
            slots=read.value("HOST_SLOTS", _slots, default=None),
            account=AccountLimits.of(
                read.value("ACCOUNT_REQUESTS_PER_SECOND", _rate, default=limits.ACCOUNT_REQUESTS_PER_SECOND)
                or limits.ACCOUNT_REQUESTS_PER_SECOND,
                read.value("ACCOUNT_CONCURRENCY", _positive, default=limits.ACCOUNT_CONCURRENCY_MAX)
                or limits.ACCOUNT_CONCURRENCY_MAX,
            ),
        )
        if read.problems:
            raise InvalidSettings(tuple(read.problems))
        return cls(**settings)  # type: ignore[arg-type]  # no value is missing where no problem was found


def worker_bytes_max(memory_bytes_max: int) -> int:
    """What one worker may map, of a host that has so much for models: address space is not memory."""
    return _WORKER_BYTES + _WORKER_TO_MEMORY * memory_bytes_max


_REQUIRED: Final = object()


class _Reader:
    """Reads variables one by one and remembers what was wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def value(self, name: str, parse: Callable[[str], Value], *, default: object = _REQUIRED) -> Value | None:
        raw = self._environ.get(PREFIX + name, "")
        if not raw:
            if default is _REQUIRED:
                self.problems.append(f"{PREFIX}{name} is not set")
                return None
            return default  # type: ignore[return-value]  # the caller's default has the type it wants
        try:
            return parse(raw)
        except ValueError as error:
            self.problems.append(f"{PREFIX}{name} {error}")
            return None


def _text(raw: str) -> str:
    return raw


def _host_id(raw: str) -> str:
    if _HOST_ID.fullmatch(raw) is None:
        raise ValueError("takes up to 64 letters, digits, dots, dashes and underscores")
    return raw


def _address(raw: str) -> str:
    try:
        return str(ip_address(raw))
    except ValueError:
        raise ValueError("must be an IP address, not a name") from None


def _network(raw: str) -> Network:
    try:
        return ip_network(raw)
    except ValueError:
        raise ValueError("must be a network, such as 10.0.0.0/16") from None


def _port(raw: str) -> int:
    if not raw.isdecimal() or not 0 < int(raw) <= _PORT_MAX:
        raise ValueError(f"must be a port from 1 to {_PORT_MAX}")
    return int(raw)


def _positive(raw: str) -> int:
    if not raw.isdecimal() or int(raw) == 0:
        raise ValueError("must be a number of bytes above 0")
    return int(raw)


def _rate(raw: str) -> float:
    rate = float(raw)
    if not 0 < rate < math.inf:
        raise ValueError("must be a number above 0")
    return rate


def _slots(raw: str) -> float:
    slots = float(raw)
    if not limits.HOST_SLOTS_MIN <= slots <= limits.HOST_SLOTS_MAX:
        raise ValueError(f"must be a number from {limits.HOST_SLOTS_MIN:g} to {limits.HOST_SLOTS_MAX:,.0f}")
    return slots


def _isolation(raw: str) -> Isolation:
    try:
        return Isolation(raw)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Isolation)}") from None


def _provider(raw: str) -> Provider | None:
    if raw == _BEST:
        return None
    try:
        return Provider(raw)
    except ValueError:
        raise ValueError(f"must be one of {', '.join((_BEST, *Provider))}") from None


def _sandbox_required(raw: str) -> bool:
    if raw not in ("required", "preferred"):
        raise ValueError("must be required or preferred")
    return raw == "required"


def _key(raw: str) -> bytes:
    if _KEY_HEX.fullmatch(raw) is None:
        raise ValueError("must be 64 hexadecimal characters")
    return bytes.fromhex(raw)


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if urlsplit(raw).scheme not in schemes:
            raise ValueError(f"must be a URL starting with {' or '.join(f'{s}://' for s in schemes)}")
        return raw

    return parse
