"""What the person who starts a stack may choose."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from chalicelib.coordinator.planner import Policy
from infra.local.connections import External

PORT_DEFAULT: Final = 5000
_PORT_MAX: Final = 65_535
_HOSTS_MAX: Final = 64
_HOSTS: Final = re.compile(r"(?:(\d{1,2})-)?(\d{1,2})", re.ASCII)
_HOSTS_DEFAULT: Final = "2"


class InvalidSettings(Exception):
    """Every problem at once, one per line."""


@dataclass(frozen=True, slots=True)
class HostRange:
    """The fewest and the most hosts that run; the same number where it does not change."""

    fewest: int
    most: int

    @classmethod
    def read(cls, text: str) -> HostRange:
        """Of `2`, `1-3` or `0-3`. Raises ValueError."""
        found = _HOSTS.fullmatch(text)
        most = int(found[2]) if found else 0
        fewest = int(found[1] or most) if found else 0
        if not 0 < most <= _HOSTS_MAX or fewest > most:
            raise ValueError(
                f"ROCKET_HOSTS must be a whole number from 1 to {_HOSTS_MAX}, or a range such as 1-3 or 0-3, "
                f"not {text!r}."
            )
        return cls(fewest, most)


@dataclass(frozen=True, slots=True)
class StackSettings:
    """`policy`: the coordinator's, the person's own with the number of hosts."""

    port: int
    home: Path
    hosts: HostRange
    external: External
    policy: Mapping[str, Any]

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, hosts: str | None = None) -> StackSettings:
        """`hosts` wins over ROCKET_HOSTS. Raises InvalidSettings."""
        problems: list[str] = []
        port = _number(environ, "ROCKET_PORT", default=PORT_DEFAULT, largest=_PORT_MAX, problems=problems)
        external, chosen, policy = External(), HostRange.read(_HOSTS_DEFAULT), dict[str, Any]()
        try:
            external = External.from_env(environ)
        except ValueError as error:
            problems.append(str(error))
        try:
            chosen = HostRange.read(hosts or environ.get("ROCKET_HOSTS") or _HOSTS_DEFAULT)
        except ValueError as error:
            problems.append(str(error))
        try:
            policy = _policy(environ.get("MODELROCKET_POLICY") or "{}", chosen)
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise InvalidSettings("\n".join(problems))
        return cls(
            port=port,
            home=Path(environ.get("ROCKET_HOME") or ".rocket").expanduser().resolve(),
            hosts=chosen,
            external=external,
            policy=policy,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _number(values: Mapping[str, str], name: str, *, default: int, largest: int, problems: list[str]) -> int:
    text = values.get(name) or str(default)
    if text.isascii() and text.isdigit() and 1 <= int(text) <= largest:
        return int(text)
    problems.append(f"{name} must be a whole number from 1 to {largest}, not {text!r}.")
    return default


def _policy(text: str, hosts: HostRange) -> dict[str, Any]:
    """Raises ValueError for what the coordinator would not take either."""
    try:
        own = json.loads(text)
        scaling = {**own.get("scaling", {}), "hosts_min": hosts.fewest, "hosts_max": hosts.most}
        policy = {**own, "scaling": scaling}
        msgspec.convert(policy, Policy)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"MODELROCKET_POLICY: {error}") from None
    return policy
