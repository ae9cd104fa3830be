"""`localstack-compose.yml` as Compose reads it: merged, with its variables put in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from infra.compose.variables import Store, made

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "localstack-compose.yml"
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Z0-9_]+)(?::([?-])([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Used:
    """One `${NAME:?message}` or `${NAME:-default}`. `operator`: `?`, `-`, or empty for a bare one."""

    name: str
    operator: str


@lru_cache
def raw() -> dict[str, Any]:
    """Merged, with its variables as they are written."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def used() -> set[Used]:
    found = (match for text in strings(raw()) for match in _VARIABLE.finditer(text))
    return {Used(match[2], match[3] or "") for match in found if not match[1]}


def composed(store: Store = Store.MINIO, **more: str) -> dict[str, Any]:
    """Its services, networks and volumes, with the variables of a new environment file."""
    variables = made(store) | more
    filled: dict[str, Any] = _filled(raw(), variables)
    filled["services"] = {
        name: service
        for name, service in filled["services"].items()
        if "profiles" not in service or variables["COMPOSE_PROFILES"] in service["profiles"]
    }
    return filled


def strings(tree: Any) -> Iterator[str]:
    """Every value that is a string, however deep."""
    match tree:
        case str():
            yield tree
        case dict():
            for value in tree.values():
                yield from strings(value)
        case list():
            for value in tree:
                yield from strings(value)


def _filled(tree: Any, variables: Mapping[str, str]) -> Any:
    match tree:
        case str():
            return _VARIABLE.sub(lambda found: _value(found, variables), tree)
        case dict():
            return {name: _filled(value, variables) for name, value in tree.items()}
        case list():
            return [_filled(value, variables) for value in tree]
    return tree


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found[1]:
        return "$"
    if found[3] == "-":
        return variables.get(found[2], "") or found[4]
    return variables[found[2]]
