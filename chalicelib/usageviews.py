"""How usage and the audit log look as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from chalicelib import audit, usage
from chalicelib.contract.metering import Usage
from chalicelib.records import AuditEntry, AuditOutcome
from chalicelib.usage import Grain

_MICROSECONDS: Final = 1_000


class Errors(msgspec.Struct, frozen=True):
    """Requests that failed, by whose fault it was.

    Attributes:
        caller: 4xx; callers that hung up are among them.
        model: 500.
        platform: 502 to 504. A request that was answered when it came again under the same X-Request-Id is
            among them, too.
    """

    caller: int
    model: int
    platform: int


class Sums(msgspec.Struct, frozen=True):
    """What was counted of requests that a host was asked to run, each once.

    Attributes:
        rows: of requests that were answered.
        compute_ms: in the model, queues and loads left out; a run that requests share is shared out by rows.
        mean_compute_ms: per answered request; null where none was.
        bytes_in, bytes_out: of bodies.
        cold_loads: requests that waited for the model to be loaded.
    """

    requests: int
    errors: Errors
    rows: int
    compute_ms: float
    mean_compute_ms: float | None
    bytes_in: int
    bytes_out: int
    cold_loads: int


class UsageLine(msgspec.Struct, frozen=True):
    """What one key used of one version of a model in the minute, hour or day that began at `at`."""

    at: datetime
    model_id: str
    version: int
    key_id: str
    sums: Sums


class UsagePage(msgspec.Struct, frozen=True):
    """Usage from `since` to before `until`, oldest first.

    A minute appears soon after it is over. `next`: what to send as `after` for the lines that follow; null at
    the end.
    """

    by: Grain
    since: datetime
    until: datetime
    lines: list[UsageLine]
    next: str | None


class AuditLine(msgspec.Struct, frozen=True):
    """Who did what, when, from where, and how it ended.

    Attributes:
        number: 1, 2, 3 … in your log.
        actor: the first characters of an API key, an e-mail address, `operator`, or `platform`.
        outcome: `failed` on our side, where part of it may have been done. What was refused changed nothing.
        code: of the error, where there was one.
        hash: SHA-256 over this entry and the one before.
    """

    number: int
    at: datetime
    actor: str
    action: str
    outcome: AuditOutcome
    code: str | None
    object_type: str
    object_id: str | None
    object_name: str | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    """Newest first. `next`: what to send as `after` for the entries that follow; null at the end."""

    entries: list[AuditLine]
    next: int | None


class AuditVerified(msgspec.Struct, frozen=True):
    """Whether the entries `first` to `last` are as they were written.

    Attributes:
        complete: `last` is the newest; else ask again with `after` set to it.
        broken_at: the first number that is not as it was; null where all are.
        hash: of `last`. Keep it, and you can tell later that nothing up to it was changed.
    """

    first: int
    last: int
    complete: bool
    broken_at: int | None
    why: str | None
    hash: str | None


def usage_page(page: usage.Page) -> UsagePage:
    lines = [
        UsageLine(line.at, line.model_id, line.version, line.token_id, sums(line.usage))
        for line in page.lines
    ]
    return UsagePage(page.by, page.since, page.until, lines, page.after)


def audit_page(page: audit.Page) -> AuditPage:
    return AuditPage([_line(entry) for entry in page.entries], page.after)


def audit_verified(found: audit.Verified) -> AuditVerified:
    return AuditVerified(
        found.first, found.last, found.complete, found.broken_at, found.why or None, found.hash or None
    )


def sums(counted: Usage) -> Sums:
    errors = Errors(counted.errors_caller, counted.errors_model, counted.errors_platform)
    answered = counted.requests - errors.caller - errors.model
    compute_ms = counted.compute_us / _MICROSECONDS
    return Sums(
        requests=counted.requests,
        errors=errors,
        rows=counted.rows,
        compute_ms=compute_ms,
        mean_compute_ms=round(compute_ms / answered, 3) if compute_ms and answered > 0 else None,
        bytes_in=counted.bytes_in,
        bytes_out=counted.bytes_out,
        cold_loads=counted.cold_loads,
    )


def _line(entry: AuditEntry) -> AuditLine:
    return AuditLine(
        number=entry.number,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        outcome=entry.outcome,
        code=entry.code or None,
        object_type=entry.object_type,
        object_id=entry.object_id or None,
        object_name=entry.object_name or None,
        address=entry.address or None,
        user_agent=entry.user_agent or None,
        request_id=entry.request_id or None,
        hash=entry.hash,
    )
