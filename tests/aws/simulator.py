"""What IAM answers: may a call do that, by these statements.

As "Policy evaluation logic", "JSON policy elements" and "Condition operators" of IAM's user guide say, for
one account and what is attached to a role: what no statement allows is refused, and one that denies outweighs
all that allow. What these pages know and this does not is refused loudly, never guessed: `Unsupported`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

Statement = Mapping[str, Any]

_ELEMENTS: Final = frozenset({"Sid", "Effect", "Action", "Resource", "Condition", "Principal"})
_ARN_PARTS: Final = 6
_IF_EXISTS: Final = "IfExists"


class Unsupported(Exception):
    """A statement says something that is not simulated."""


class Decision(StrEnum):
    """`REFUSED`: nothing allows it. `DENIED`: something says that it must not be."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Request:
    """One action on one resource. `context`: what else is known of it, by the names of condition keys.

    A call that takes several permissions is several requests. `resource`: an ARN, or * where the service asks
    for no particular one.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def decide(statements: Iterable[Statement], request: Request) -> Decision:
    """Raises Unsupported."""
    effects = {_effect(one) for one in statements if applies(one, request)}
    if "Deny" in effects:
        return Decision.DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.REFUSED


def applies(statement: Statement, request: Request) -> bool:
    """Whether the statement is about this. A principal is the caller's affair. Raises Unsupported."""
    unknown = statement.keys() - _ELEMENTS
    if unknown:
        raise Unsupported(f"elements of a statement: {', '.join(sorted(unknown))}")
    met = holds(statement.get("Condition", {}), request.context)
    return (
        any(_is_action(pattern, request.action) for pattern in listed(statement["Action"]))
        and any(_is_resource(pattern, request.resource) for pattern in listed(statement["Resource"]))
        and met
    )


def holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Every operator for every key; of several values for a key one is enough. Raises Unsupported.

    A key's name has no case. One that the request does not have meets only operators that say IfExists.
    """
    known = {key.lower(): value for key, value in context.items()}
    return all(
        [
            _key_holds(operator, wanted, known.get(key.lower()))
            for operator, keys in condition.items()
            for key, wanted in keys.items()
        ]
    )


def listed(value: Any) -> list[Any]:
    """An element that may be one thing or a list of them."""
    return value if isinstance(value, list) else [value]


def _effect(statement: Statement) -> str:
    effect = str(statement["Effect"])
    if effect not in {"Allow", "Deny"}:
        raise Unsupported(f"effect {effect}")
    return effect


def _key_holds(operator: str, wanted: Any, found: str | None) -> bool:
    name = operator.removesuffix(_IF_EXISTS)
    if name not in _OPERATORS:
        raise Unsupported(f"condition operator {operator}")
    values = [_literal(str(one)) for one in listed(wanted)]
    if found is None:
        return operator.endswith(_IF_EXISTS)
    return any(_OPERATORS[name](value, found) for value in values)


def _literal(text: str) -> str:
    if "${" in text:
        raise Unsupported(f"policy variable in {text}")
    return text


def _is_action(pattern: str, action: str) -> bool:
    """Actions have no case."""
    return _matches(_literal(pattern).lower(), action.lower())


def _is_resource(pattern: str, resource: str) -> bool:
    """A wildcard is within a part of an ARN, between colons; a star that ends one goes beyond it."""
    if pattern == "*":
        return True
    expression = re.sub(r"\*(?=:)|\*$", "\0", _literal(pattern))
    parts = {"\0": ".*", "*": "[^:]*", "?": "[^:]"}
    return _fits(expression, resource, parts)


def _matches(pattern: str, text: str) -> bool:
    return _fits(pattern, text, {"*": ".*", "?": "."})


def _fits(pattern: str, text: str, wildcards: Mapping[str, str]) -> bool:
    expression = "".join(wildcards.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _is_arn_like(pattern: str, arn: str) -> bool:
    """Part by part: a wildcard never goes over a colon, but in the last part, which may have some itself."""
    wanted, found = pattern.split(":", _ARN_PARTS - 1), arn.split(":", _ARN_PARTS - 1)
    if len(wanted) != _ARN_PARTS or len(found) != _ARN_PARTS:
        return False
    return all(map(_matches, wanted, found))


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda wanted, found: wanted == found,
    "StringLike": _matches,
    "ArnEquals": _is_arn_like,
    "ArnLike": _is_arn_like,
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
    "NumericLessThan": lambda wanted, found: float(found) < float(wanted),
}
