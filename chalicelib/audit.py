"""The audit log: who did what, when, from where, and how it ended.

    record        what a route did, before it answers
    by_platform   what the platform did by itself
    settle        late entries are written, old ones go   (the coordinator's passes)
    page, verify  for the account that it is about

Each account's entries are numbered and chained: an entry holds the hash of the one before, so that one that
is changed, taken out or put in shows. When entries' time is over, the chain's beginning is remembered in
their place; the last number is remembered too and not given again, so that a cut end shows.

A change that was made is never unsaid because its entry could not be written: the caller hears that it was
made. The entry then waits in the hot state and is written by a later pass, under its own time, once; it is
in the process's log as well, in full, for where the hot state is away too. So is what failed halfway. What
was refused is written where that works. Neither is more often than `AUDIT_REFUSALS_PER_SECOND`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError
from chalicelib.contract.limiting import LocalRates, Rate
from chalicelib.contract.tokens import without_tokens
from chalicelib.ports import AuditStore
from chalicelib.records import AuditChain, AuditEntry, AuditOutcome
from chalicelib.usage import whose

log = logging.getLogger(__name__)
PLATFORM: Final = "platform"
_REFUSALS: Final = (("refusals", Rate.of(limits.AUDIT_REFUSALS_PER_SECOND, seconds=1)),)
_LATE_AT_ONCE: Final = 100
_NOT_HASHED: Final = ("hash",)
_GIVEN: Final = {
    "object_id": limits.NAME_LENGTH_MAX,
    "object_name": limits.NAME_LENGTH_MAX,
    "user_agent": limits.USER_AGENT_LENGTH_MAX,
    "request_id": limits.REQUEST_ID_LENGTH_MAX,
}
"""What comes from callers, and how much of it is kept."""


class LateEntries(Protocol):
    """Where entries wait that could not be written: the hot state."""

    def push_late(self, entry: bytes) -> None: ...
    def late(self, count: int) -> Sequence[bytes]:
        """The oldest."""

    def drop_late(self, entry: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Acted:
    """What the platform did by itself to something of an account."""

    tenant: str
    action: str
    object_type: str
    object_id: str
    object_name: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `after` is what to ask behind for the next one; None for the last."""

    entries: tuple[AuditEntry, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether entries are as they were written.

    Attributes:
        first, last: their numbers, as far as they were looked at; 0 where there are none.
        complete: `last` is the log's last one.
        broken_at: the first number that is not as it was; None where all are.
        why: in words.
        hash: of the last one that is right. Who keeps it can tell later that nothing up to it was changed.
    """

    first: int
    last: int
    complete: bool
    broken_at: int | None = None
    why: str = ""
    hash: str = ""


class Audit:
    """The use cases of the audit log. Safe to use from many threads."""

    def __init__(
        self,
        *,
        store: AuditStore,
        late: LateEntries,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._late = late
        self._now = now
        self._new_id = new_id
        self._monotonic = monotonic
        self._refusals = LocalRates(entries_max=2)

    def record(self, entry: AuditEntry) -> None:
        """Write an entry; its id, time, number and hashes are given here. Raises nothing of ours.

        Safe to call when the change is made and the caller waits for nothing else.
        """
        entry = msgspec.structs.replace(
            _without_secrets(entry), id=self._new_id(), at=self._now(), tenant=entry.tenant or PLATFORM
        )
        if entry.outcome is not AuditOutcome.OK and self._too_many_refusals():
            return
        try:
            self._append(entry)
        except ModelRocketError as error:
            self._keep(entry, error)

    def _too_many_refusals(self) -> bool:
        return self._refusals.take(_REFUSALS, cost=1, now=self._monotonic()) is not None

    def by_platform(self, acted: Acted) -> None:
        """As `record`."""
        self.record(
            AuditEntry(
                id="",
                tenant=acted.tenant,
                actor=PLATFORM,
                action=acted.action,
                object_type=acted.object_type,
                object_id=acted.object_id,
                object_name=acted.object_name,
            )
        )

    def settle(self) -> int:
        """Write what waits, and drop what is older than `AUDIT_SECONDS`. Returns how many were written."""
        waiting = self._late.late(_LATE_AT_ONCE)
        for raw in waiting:
            entry = _read(raw)
            if entry is not None and not self._store.has_audit(entry.id):
                self._append(entry)
            self._late.drop_late(raw)
        self._store.expire_audit(self._now() - timedelta(seconds=limits.AUDIT_SECONDS))
        return len(waiting)

    def page(self, principal: Principal, *, after: int, action: str, object_id: str, account: str) -> Page:
        """Behind number `after`, 0 for the newest. Operators may name any `account`, and `platform`.

        Raises PermissionDenied.
        """
        tenant = whose(principal, account)
        entries = self._store.audit_page(
            tenant, before=after or None, action=action, object_id=object_id, limit=limits.PAGE_SIZE_MAX
        )
        more = len(entries) == limits.PAGE_SIZE_MAX
        return Page(tuple(entries), entries[-1].number if more else None)

    def verify(self, principal: Principal, *, after: int, account: str) -> Verified:
        """The entries behind `after`, as many as fit into one call. Raises PermissionDenied."""
        tenant = whose(principal, account)
        while True:
            found = self._walked(tenant, self._store.audit_chain(tenant), after)
            if found.broken_at is None or found.broken_at > self._store.audit_chain(tenant).anchor:
                return found
            # Its time was over meanwhile: what is kept begins behind it now.

    def _walked(self, tenant: str, chain: AuditChain, after: int) -> Verified:
        after = max(after, chain.anchor)
        walk = _Walk(after, chain.anchor_hash if after == chain.anchor else self._hash_of(tenant, after))
        if walk.hash is None and after <= chain.last:
            return Verified(after, after - 1, False, after, f"entry {after} is gone")
        left = limits.AUDIT_VERIFIED_MAX
        while left > 0 and (entries := self._store.audit_range(tenant, walk.number, limits.PROJECTION_PAGE)):
            left -= len(entries)
            for entry in entries:
                why = walk.step(entry)
                if why:
                    return Verified(after + 1, walk.number, False, walk.number + 1, why, walk.hash or "")
        if left > 0 and walk.number < chain.last:
            why = f"entries up to number {chain.last} were written, and are gone"
            return Verified(after + 1, walk.number, False, walk.number + 1, why, walk.hash or "")
        if walk.number == after:
            return Verified(0, 0, complete=True)
        return Verified(after + 1, walk.number, complete=left > 0, hash=walk.hash or "")

    def _hash_of(self, tenant: str, number: int) -> str | None:
        """Of the entry of this number; None where there is none."""
        found = self._store.audit_range(tenant, number - 1, 1)
        return found[0].hash if found and found[0].number == number else None

    def _append(self, entry: AuditEntry) -> None:
        """At the end of its log, wherever that is by then. Raises DependencyFailed."""
        for _ in range(limits.AUDIT_TRIES_MAX):
            number, previous = self._store.audit_tail(entry.tenant)
            if self._store.add_audit(chained(entry, number=number + 1, previous=previous)):
                return
        raise DependencyFailed("Too much is written to this audit log at once. Try again shortly.")

    def _keep(self, entry: AuditEntry, error: ModelRocketError) -> None:
        raw = msgspec.json.encode(entry)
        log.error("audit entry is late", extra={"reason": error.message, "entry": raw.decode()})
        if entry.outcome is AuditOutcome.REFUSED:
            return
        try:
            self._late.push_late(raw)
        except DependencyFailed as away:
            log.error("audit entry is in this log alone", extra={"reason": away.message, "id": entry.id})


def _without_secrets(entry: AuditEntry) -> AuditEntry:
    """Callers name things, in paths too, and say what their program is: none of it may be a credential."""
    given = {name: without_tokens(getattr(entry, name))[:length] for name, length in _GIVEN.items()}
    return msgspec.structs.replace(entry, **given)


def chained(entry: AuditEntry, *, number: int, previous: str) -> AuditEntry:
    """The entry in its place."""
    placed = msgspec.structs.replace(entry, number=number, previous=previous, hash="")
    return msgspec.structs.replace(placed, hash=entry_hash(placed))


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 of the entry without its hash: JSON, names sorted, no spaces, UTF-8, time in ISO 8601."""
    fields = msgspec.structs.asdict(entry)
    for name in _NOT_HASHED:
        del fields[name]
    fields["at"] = entry.at.isoformat(timespec="milliseconds")
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


class _Walk:
    """Along a chain. `hash` is None where there is nothing that the next entry could belong behind."""

    def __init__(self, number: int, previous: str | None) -> None:
        self.number = number
        self.hash = previous

    def step(self, entry: AuditEntry) -> str:
        """What is wrong with the next entry; empty where nothing is."""
        if entry.number != self.number + 1:
            return f"entry {self.number + 1} is gone: number {entry.number} comes next"
        if entry_hash(entry) != entry.hash:
            return f"entry {entry.number} is not what was written"
        if self.hash is not None and entry.previous != self.hash:
            return f"entry {entry.number} does not belong behind number {self.number}"
        self.number, self.hash = entry.number, entry.hash
        return ""


def _read(raw: bytes) -> AuditEntry | None:
    try:
        return msgspec.json.decode(raw, type=AuditEntry)
    except msgspec.DecodeError:
        return None
