"""The control plane's settings, read once from the environment."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar, cast

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.limiting import AccountLimits
from chalicelib.coordinator.planner import Policy
from chalicelib.prices import Prices

Value = TypeVar("Value")
_DATABASE: Final = "modelrocket"
_EDGE_KEY: Final = re.compile(r"[A-Za-z0-9]{32,128}")
_PASSWORD_COST: Final = re.compile(r"m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})")
_PASSWORD_WORK_KIB_MIN: Final = 7168 * 5
"""The least of those that are recommended, m=7168,t=5."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SignUpMode(StrEnum):
    """Who may make an account for oneself: anybody, nobody, or whoever comes before there is any."""

    OPEN = "open"
    CLOSED = "closed"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class HashCost:
    """What one argon2id hash of a password costs."""

    memory_kib: int
    rounds: int
    lanes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuotas:
    """What one account may keep; `model_versions`: of each of its models."""

    models: int
    model_versions: int
    bytes: int
    pinned: int


class CapacityKind(StrEnum):
    """Who starts and stops hosts: nobody, the stack on this machine, an ECS service."""

    NONE = "none"
    LOCAL = "local"
    ECS = "ecs"


class GaugesKind(StrEnum):
    """Where the coordinator tells of itself and the fleet: nowhere, or CloudWatch by way of its log."""

    NONE = "none"
    CLOUDWATCH = "cloudwatch"


class InvalidSettings(Exception):
    """Every problem of an environment at once, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this deployment is wired. Units are in the names.

    Attributes:
        s3_endpoint_url: None for AWS's own.
        s3_public_url: where callers reach the store; None where that is where the platform does.
        dispatch_key: signs the tickets that hosts check.
        edge_key: what CloudFront shows to be believed where a request comes from; None where there is none.
        retention_seconds: how long the bytes of what was deleted are kept.
        upload_part_bytes: larger files arrive in parts of this size.
        sign_up: who may make an account for oneself.
        password_cost: what guessing one password costs.
        host_network: the only network inference requests are forwarded into.
        account_concurrency_max: requests of one account under way at the same time.
        quotas: what one account may keep.
        ecs_cluster, ecs_service: where `capacity` is ECS, whose tasks are the hosts.
        gauges: where the coordinator tells of itself and the fleet.
        policy: the coordinator's; what it does not name is as usual.
        prices: what costs are estimated with; what it does not name is as AWS lists it.
    """

    mongo_url: str
    mongo_database: str
    redis_url: str
    s3_bucket: str
    s3_endpoint_url: str | None
    s3_public_url: str | None
    dispatch_key: bytes
    edge_key: str | None
    public_url: str
    host_network: Network
    tick_seconds: float
    loop_seconds: float
    retention_seconds: float
    upload_part_bytes: int
    sign_up: SignUpMode
    password_cost: HashCost
    account_requests_per_second: float
    account_concurrency_max: int
    quotas: AccountQuotas
    capacity: CapacityKind
    ecs_cluster: str
    ecs_service: str
    gauges: GaugesKind
    policy: Policy
    prices: Prices

    @property
    def account_limits(self) -> AccountLimits:
        return AccountLimits.of(self.account_requests_per_second, self.account_concurrency_max)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises InvalidSettings naming every variable that is missing or wrong."""
        reader = _Reader(environ)
        capacity = reader.read("CAPACITY", _capacity, CapacityKind.NONE)
        ecs_default = None if capacity is CapacityKind.ECS else ""
        settings = cls(
            mongo_url=reader.read("MONGO_URL", str),
            mongo_database=reader.read("MONGO_DATABASE", str, _DATABASE),
            redis_url=reader.read("REDIS_URL", str),
            s3_bucket=reader.read("S3_BUCKET", str),
            s3_endpoint_url=reader.read("S3_ENDPOINT_URL", str, "") or None,
            s3_public_url=reader.read("S3_PUBLIC_URL", str, "") or None,
            dispatch_key=reader.read("DISPATCH_KEY", bytes.fromhex),
            edge_key=reader.read("EDGE_KEY", _edge_key, "") or None,
            public_url=reader.read("PUBLIC_URL", _door),
            host_network=reader.read("HOST_NETWORK", ipaddress.ip_network),
            tick_seconds=reader.read("TICK_SECONDS", float, "10"),
            loop_seconds=reader.read("LOOP_SECONDS", float, "50"),
            retention_seconds=reader.read("RETENTION_SECONDS", float, str(limits.RETENTION_SECONDS)),
            upload_part_bytes=reader.read("UPLOAD_PART_BYTES", _part_bytes, str(limits.UPLOAD_PART_BYTES)),
            sign_up=reader.read("SIGN_UP", _sign_up, SignUpMode.FIRST),
            password_cost=reader.read("PASSWORD_COST", _password_cost, "m=19456,t=2,p=1"),
            account_requests_per_second=reader.read(
                "ACCOUNT_REQUESTS_PER_SECOND", _positive, str(limits.ACCOUNT_REQUESTS_PER_SECOND)
            ),
            account_concurrency_max=reader.read(
                "ACCOUNT_CONCURRENCY", int, str(limits.ACCOUNT_CONCURRENCY_MAX)
            ),
            quotas=_quotas(reader),
            capacity=capacity,
            ecs_cluster=reader.read("ECS_CLUSTER", str, ecs_default),
            ecs_service=reader.read("ECS_SERVICE", str, ecs_default),
            gauges=reader.read("GAUGES", _gauges, GaugesKind.NONE),
            policy=reader.read("POLICY", _policy, "{}"),
            prices=reader.read("PRICES", _prices, "{}"),
        )
        reader.raise_problems()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """What is enough for the records alone."""

    mongo_url: str
    mongo_database: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> RecordSettings:
        """Raises InvalidSettings naming every variable that is missing or wrong."""
        reader = _Reader(environ)
        settings = cls(
            mongo_url=reader.read("MONGO_URL", str),
            mongo_database=reader.read("MONGO_DATABASE", str, _DATABASE),
        )
        reader.raise_problems()
        return settings


def _door(text: str) -> str:
    return text.rstrip("/")


def _edge_key(text: str) -> str:
    """What a header can hold, and nobody can guess."""
    if text and _EDGE_KEY.fullmatch(text) is None:
        raise ValueError("32 to 128 letters and digits expected")
    return text


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError("more than 0 expected")
    return number


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError("0 or more expected")
    return int(text)


def _part_bytes(text: str) -> int:
    """As S3 takes them, and enough of them for the largest file."""
    least = max(limits.UPLOAD_PART_BYTES_MIN, -(-limits.WEIGHTS_BYTES_MAX // limits.UPLOAD_PARTS_MAX))
    if int(text) < least:
        raise ValueError(f"at least {least} bytes expected")
    return int(text)


def _sign_up(text: str) -> SignUpMode:
    if text not in set(SignUpMode):
        raise ValueError(f"one of {', '.join(SignUpMode)} expected")
    return SignUpMode(text)


def _capacity(text: str) -> CapacityKind:
    if text not in set(CapacityKind):
        raise ValueError(f"one of {', '.join(CapacityKind)} expected")
    return CapacityKind(text)


def _gauges(text: str) -> GaugesKind:
    if text not in set(GaugesKind):
        raise ValueError(f"one of {', '.join(GaugesKind)} expected")
    return GaugesKind(text)


def _policy(text: str) -> Policy:
    return msgspec.json.decode(text, type=Policy)


def _prices(text: str) -> Prices:
    return msgspec.json.decode(text, type=Prices)


def _password_cost(text: str) -> HashCost:
    """As a hash says it itself; see RFC 9106, and OWASP's Password Storage Cheat Sheet for the least."""
    found = _PASSWORD_COST.fullmatch(text)
    memory_kib, rounds, lanes = map(int, found.groups()) if found else (0, 0, 0)
    if memory_kib * rounds < _PASSWORD_WORK_KIB_MIN or not rounds or not lanes or memory_kib < 8 * lanes:
        raise ValueError("as costly as m=19456,t=2,p=1 or more expected: KiB of memory, rounds, lanes")
    return HashCost(memory_kib, rounds, lanes)


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


def _quotas(reader: _Reader) -> AccountQuotas:
    return AccountQuotas(
        models=reader.read("ACCOUNT_MODELS", _count, str(limits.ACCOUNT_MODELS_MAX)),
        model_versions=reader.read("MODEL_VERSIONS", _count, str(limits.MODEL_VERSIONS_MAX)),
        bytes=reader.read("ACCOUNT_BYTES", _count, str(limits.ACCOUNT_BYTES_MAX)),
        pinned=reader.read("ACCOUNT_PINNED", _count, str(limits.ACCOUNT_PINNED_MAX)),
    )
