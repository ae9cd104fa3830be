"""What an account used, and who did what in it, as the server tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

from modelrocket.account import Account
from modelrocket.models import find_model, is_id

Grain: TypeAlias = Literal["minute", "hour", "day"]
ENTRIES_MAX = 100
"""Of the audit log, unless more are asked for."""


@dataclass(frozen=True)
class Usage:
    """Sums of requests, each counted once.

    errors_caller, errors_model, errors_platform: requests that failed, by whose fault it was.
    rows: of answered requests. compute_ms: in the model, without queues and loads.
    bytes_in, bytes_out: of bodies. cold_loads: requests that waited for the model to be loaded.
    """

    requests: int = 0
    errors_caller: int = 0
    errors_model: int = 0
    errors_platform: int = 0
    rows: int = 0
    compute_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    cold_loads: int = 0

    @property
    def errors(self) -> int:
        return self.errors_caller + self.errors_model + self.errors_platform


@dataclass(frozen=True)
class UsageLine:
    """What one key used of one version in the minute, hour or day that began at `at` (ISO 8601, UTC)."""

    at: str
    model_id: str
    version: int
    key_id: str
    usage: Usage


@dataclass(frozen=True)
class Cost:
    """What one model is estimated to cost: in all, and for requests, compute, memory and storage."""

    model_id: str
    requests: int
    cost: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Costs:
    """An estimate in `currency`, no bill. prices: what it was made with, and where those are from."""

    currency: str
    since: str
    until: str
    total: float
    lines: tuple[Cost, ...]
    prices: Mapping[str, Any]


@dataclass(frozen=True)
class AuditEntry:
    """Who did what, when, from where, and how it ended.

    actor: the first characters of an API key, an e-mail address, operator (of the deployment), or platform.
    outcome: ok; refused, or failed (halfway, on the platform's side), with the error's `code`.
    hash: over this entry and the one before.
    """

    number: int
    at: str
    actor: str
    action: str
    outcome: str
    code: str | None
    object_type: str
    object_id: str | None
    object_name: str | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    hash: str


@dataclass(frozen=True)
class Verified:
    """Whether the audit log is as it was written.

    first, last: the numbers that were looked at; 0 where there are none.
    broken_at: the first number that is not as it was, `why` says how it shows; None where all are.
    hash: of the last. Whoever keeps it can tell later that nothing up to it was changed.
    """

    first: int
    last: int
    broken_at: int | None
    why: str | None
    hash: str | None


def usage(
    account: Account, *, by: Grain, since: str | None, until: str | None, model: str | None, key: str | None
) -> tuple[UsageLine, ...]:
    """Page by page, oldest first. `model` by id or name."""
    model_id = model if model is None or is_id(model) else find_model(account, model).id
    asked = {"by": by, "from": since, "to": until, "model": model_id, "key": key}
    return tuple(_lines(account, asked))


def costs(account: Account, *, since: str | None, until: str | None) -> Costs:
    """By whole days."""
    told = account.ask("GET", _path("/v1/usage/cost", {"from": since, "to": until}))
    lines = tuple(Cost(**{field.name: line[field.name] for field in fields(Cost)}) for line in told["lines"])
    return Costs(**{field.name: told[field.name] for field in fields(Costs)} | {"lines": lines})


def audit(
    account: Account, *, action: str | None, object_id: str | None, entries: int
) -> tuple[AuditEntry, ...]:
    """Page by page, newest first, so many at most."""
    found: list[AuditEntry] = []
    asked: dict[str, Any] = {"action": action, "object": object_id, "after": None}
    while len(found) < entries:
        page = account.ask("GET", _path("/v1/audit", asked))
        found += [_entry(told) for told in page["entries"]]
        asked["after"] = page["next"]
        if page["next"] is None:
            break
    return tuple(found[:entries])


def verify_audit(account: Account) -> Verified:
    """From the first entry there is to the last."""
    first, after = 0, 0
    while True:
        told = account.ask("GET", _path("/v1/audit/verified", {"after": after or None}))
        first = first or told["first"]
        last = told["last"] or after
        if told["complete"] or told["broken_at"] is not None:
            return Verified(first, last, told["broken_at"], told["why"], told["hash"])
        after = last


def summed(lines: Iterable[UsageLine]) -> dict[tuple[str, str, int], Usage]:
    """All keys together: by time, model id and version, in order."""
    sums: dict[tuple[str, str, int], Usage] = {}
    for line in lines:
        place = line.at, line.model_id, line.version
        sums[place] = added(sums.get(place, Usage()), line.usage)
    return dict(sorted(sums.items()))


def added(one: Usage, other: Usage) -> Usage:
    return Usage(
        **{field.name: getattr(one, field.name) + getattr(other, field.name) for field in fields(Usage)}
    )


def _lines(account: Account, asked: dict[str, Any]) -> Iterator[UsageLine]:
    while True:
        page = account.ask("GET", _path("/v1/usage", asked))
        for told in page["lines"]:
            named = {name: told[name] for name in ("at", "model_id", "version", "key_id")}
            yield UsageLine(**named, usage=_usage(told["sums"]))
        if page["next"] is None:
            return
        asked = {**asked, "after": page["next"], "from": page["since"], "to": page["until"]}


def _usage(told: Mapping[str, Any]) -> Usage:
    errors = {f"errors_{fault}": told["errors"][fault] for fault in ("caller", "model", "platform")}
    plain = [field.name for field in fields(Usage) if field.name not in errors]
    return Usage(**errors, **{name: told[name] for name in plain})


def _entry(told: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(**{field.name: told[field.name] for field in fields(AuditEntry)})


def _path(path: str, asked: Mapping[str, Any]) -> str:
    given = {name: value for name, value in asked.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
