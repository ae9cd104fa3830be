"""What the person who starts a stack may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.connections import External

PORT_DEFAULT: Final = 5000
_PORT_MAX: Final = 65_535
_HOSTS_MAX: Final = 64


class InvalidSettings(Exception):
    """Every problem at once, one per line."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    port: int
    home: Path
    hosts: int
    external: External

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, hosts: int | None = None) -> StackSettings:
        """`hosts` wins over ROCKET_HOSTS. Raises InvalidSettings."""
        problems: list[str] = []
        chosen = {"ROCKET_HOSTS": str(hosts)} if hosts is not None else {}
        values = {**environ, **chosen}
        port = _number(values, "ROCKET_PORT", default=PORT_DEFAULT, largest=_PORT_MAX, problems=problems)
        count = _number(values, "ROCKET_HOSTS", default=2, largest=_HOSTS_MAX, problems=problems)
        external = External()
        try:
            external = External.from_env(environ)
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise InvalidSettings("\n".join(problems))
        return cls(
            port=port,
            home=Path(environ.get("ROCKET_HOME") or ".rocket").expanduser().resolve(),
            hosts=count,
            external=external,
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
