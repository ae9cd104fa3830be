"""Every side effect the use cases have, apart from the hot state's own typed access.

The adapters implement them; the suites in tests/contract say what each must do,
and run against whatever server they are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from chalicelib.contract.messages import Heartbeat, Preparation, PrepareResult, VersionFile
from chalicelib.contract.metering import MinuteOfUsage
from chalicelib.coordinator.state import CapacityView
from chalicelib.records import (
    Account,
    Answered,
    AttemptRecord,
    AuditChain,
    AuditEntry,
    Decision,
    Model,
    PublishedDemo,
    Session,
    Token,
    TrafficChange,
    UsagePeriod,
    UsageQuery,
    Version,
    VersionState,
)


class AccountStore(Protocol):
    """Accounts."""

    def ensure_account(self, account: Account) -> Account:
        """The account of this id: the given one, or the one that was there first."""

    def add_account(self, account: Account) -> bool:
        """False when one has its id or e-mail address, or is the founder that it is to be."""

    def account(self, account_id: str) -> Account | None: ...
    def account_of(self, email: str) -> Account | None: ...
    def has_accounts(self) -> bool:
        """Any at all."""

    def accounts_page(self, after: str, limit: int) -> Sequence[Account]:
        """In order of id, behind `after`."""

    def suspended_accounts(self) -> Sequence[Account]: ...
    def change_account(self, seen: Account, changed: Account) -> bool:
        """`changed` in the place of `seen`; False when that has changed or another has the e-mail address."""


class SessionStore(Protocol):
    """Log-ins that go on."""

    def add_session(self, session: Session) -> None: ...
    def session(self, sha256: str) -> Session | None:
        """Also one that is over, for a while."""

    def sessions(self, tenant: str, limit: int) -> Sequence[Session]:
        """The latest to begin first."""

    def use_session(self, session: Session) -> None:
        """Remember when it was used and when it is over."""

    def end_session(self, tenant: str, session_id: str) -> None:
        """Safe to repeat."""

    def end_sessions(self, tenant: str) -> None:
        """All of them. Safe to repeat."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A point in the order of changes: the store's time, and what changed then by its id, or SHA-256."""

    at: datetime
    key: str = ""


class TokenStore(Protocol):
    """API keys and model tokens."""

    def add_token(self, token: Token) -> bool:
        """False when a token with this SHA-256 exists."""

    def token(self, sha256: str) -> Token | None:
        """Any tenant's."""

    def own_token(self, tenant: str, token_id: str) -> Token | None: ...
    def tokens(self, tenant: str, *, model_id: str | None, after: str, limit: int) -> Sequence[Token]:
        """The newest first, behind the one with the id `after`; those of all models where none is named."""

    def count_tokens(self, tenant: str, model_id: str | None, *, at: datetime) -> int:
        """Those that work: of a model, or those that are no model's."""

    def change_token(self, seen: Token, changed: Token) -> bool:
        """`changed` in the place of `seen`, if `seen` is the latest revision."""

    def mark_used(self, used: Mapping[str, datetime]) -> None:
        """When tokens were last used, by id, any tenant's. It never goes back, and is no change otherwise."""

    def revoke_model_tokens(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[Token]:
        """All tokens there are for this model, none of them valid any more."""

    def mark_suspended(self, tenant: str, suspended: bool) -> None:
        """All of the tenant's say whether their account is."""

    def suspended_tenants(self) -> frozenset[str]:
        """Those with tokens that say so."""

    def tokens_page(self, after: str, limit: int) -> Sequence[Token]:
        """Any tenant's, in order of SHA-256, behind `after`."""

    def changed_tokens(self, after: ChangePoint, limit: int) -> tuple[Sequence[Token], ChangePoint]:
        """Any tenant's that changed after it, in the order they did, and the point up to which these go."""

    def ended_tokens(self, before: datetime, limit: int) -> Sequence[Token]:
        """Any tenant's that were revoked or expired before then."""

    def remove_token(self, token: Token) -> None: ...
    def clock(self) -> datetime:
        """The time by which the store says when something changed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How many versions there are that count against quotas, and the bytes of their files."""

    versions: int = 0
    bytes: int = 0


class ModelStore(Protocol):
    """Models, and the tombstones of those that were deleted."""

    def ensure_model(self, model: Model) -> Model:
        """The tenant's model of this name: the given one, or the one that was there first."""

    def model(self, tenant: str, model_id: str) -> Model | None: ...
    def model_named(self, tenant: str, name: str) -> Model | None: ...
    def count_models(self, tenant: str) -> int:
        """Without what is deleted."""

    def count_pinned(self, tenant: str) -> int:
        """Models that are to stay loaded."""

    def models(self, tenant: str, after: str, limit: int) -> Sequence[Model]:
        """The tenant's, in order of id, behind `after`."""

    def any_model(self, model_id: str) -> Model | None:
        """Any tenant's; the tombstone of a deleted one."""

    def any_models(self, model_ids: Sequence[str]) -> Sequence[Model]:
        """Any tenant's, in no order; without what is deleted."""

    def models_page(self, after: str, limit: int) -> Sequence[Model]:
        """Any tenant's, in order of id, behind `after`."""

    def change_model(self, seen: Model, changed: Model, entry: TrafficChange | None) -> bool:
        """`changed` in the place of `seen` and the entry in its history, if `seen` is the latest revision."""

    def history(self, tenant: str, model_id: str) -> Sequence[TrafficChange]:
        """The latest changes of a model's traffic, oldest first."""

    def delete_model(self, tombstone: Model) -> None:
        """Put it in the model's place; the name is free. Safe to repeat."""

    def tombstones_page(self, after: str, limit: int) -> Sequence[Model]:
        """Deleted models of any tenant, in order of id, behind `after`."""

    def changed_models(self, after: ChangePoint, limit: int) -> tuple[Sequence[Model], ChangePoint]:
        """Any tenant's that changed after it, in the order they did, and the point up to which these go."""

    def changed_tombstones(self, after: ChangePoint, limit: int) -> tuple[Sequence[Model], ChangePoint]:
        """Of any tenant's that were deleted after it, as `changed_models`."""

    def remove_model(self, model_id: str) -> None:
        """A tombstone and the model's tokens. Nothing is left of it."""


class VersionStore(Protocol):
    """Versions of models."""

    def add_version(self, version: Version) -> bool:
        """False when the model already has a version of this number."""

    def last_number(self, tenant: str, model_id: str) -> int:
        """Deleted ones count."""

    def version(self, tenant: str, model_id: str, number: int) -> Version | None:
        """None also for what is deleted."""

    def versions(self, tenant: str, model_id: str, after: int, limit: int) -> Sequence[Version]:
        """In order of number, behind `after`; without what is deleted."""

    def kept(self, tenant: str, *, model_id: str | None = None) -> Kept:
        """Of one of the tenant's models, or of all; the work grows with how many versions these are."""

    def stored(self, tenant: str, since: datetime, until: datetime) -> Mapping[str, float]:
        """Of what counts against quotas, by model: the bytes of its files times the seconds in that time."""

    def any_version(self, version_id: str) -> Version | None:
        """Any tenant's."""

    def any_versions(self, version_ids: Sequence[str]) -> Sequence[Version]:
        """Any tenant's, in no order, missing ones left out."""

    def latest_versions(self, tenant: str, model_ids: Sequence[str]) -> Sequence[Version]:
        """The last of each of the tenant's models, in no order; without what is deleted, and without
        signatures, receipts and what hosts found. The work grows with how many versions the models have."""

    def versions_in(self, state: VersionState, *, activation_pending: bool, limit: int) -> Sequence[Version]:
        """Any tenant's, oldest first."""

    def set_upload_id(self, version: Version, file: VersionFile, upload_id: str) -> bool:
        """In place of what `version` says of it; False when that has changed, or it is not uploading."""

    def start_preparing(self, version_id: str) -> bool:
        """uploading → preparing; False when it was not uploading."""

    def delete_version(self, version: Version, *, at: datetime) -> bool:
        """Its state → deleted; False when it is in another state now."""

    def restore_version(self, version: Version) -> bool:
        """deleted → ready, because it got traffic at the same moment."""

    def delete_versions(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[str]:
        """All of a model that are not deleted yet; the ids of all that are."""

    def deleted_page(self, after: str, limit: int) -> Sequence[Version]:
        """Any tenant's deleted ones, in order of id, behind `after`."""

    def remove_version(self, version: Version) -> None:
        """A deleted one. Its number is not used again."""

    def finish_ready(self, result: PrepareResult) -> bool:
        """preparing → ready, with what a host found; False when it was not preparing."""

    def finish_failed(
        self, version_id: str, *, state: VersionState, reason: str, preparation: Preparation | None = None
    ) -> bool:
        """`state` → failed; False when it was in another state."""

    def activation_done(self, version_id: str) -> None: ...


class AttemptStore(Protocol):
    """Requests under an Idempotency-Key. They are forgotten after `IDEMPOTENCY_SECONDS`."""

    def begin_attempt(self, record: AttemptRecord) -> AttemptRecord | None:
        """None where the key is new, else what is there."""

    def take_attempt(self, seen: AttemptRecord, record: AttemptRecord) -> bool:
        """`record` in the place of `seen`, which died; False when somebody else was faster."""

    def finish_attempt(self, record: AttemptRecord, answered: Answered | None) -> None:
        """It succeeded: `answered`, or (None) repeatable."""

    def forget_attempt(self, record: AttemptRecord) -> None:
        """It changed nothing: the key is free."""


class SiteStore(Protocol):
    """What is told to everybody."""

    def demo(self) -> PublishedDemo | None: ...
    def change_demo(self, seen: PublishedDemo | None, changed: PublishedDemo | None) -> bool:
        """`changed` in the place of `seen`; False where something else is there by now."""


class UsageStore(Protocol):
    """Usage by hour and day; how long each is kept is in `limits`."""

    def add_usage(self, minutes: Sequence[MinuteOfUsage]) -> None:
        """What they counted, under their names. Safe to repeat, with all or with less."""

    def usage(self, query: UsageQuery, *, after: str, limit: int) -> Sequence[UsagePeriod]:
        """In order of time and id, behind `after`: the last one's id without the tenant."""

    def settle_usage(self, before: datetime, limit: int) -> int:
        """Keep of older hours and days the sums alone, at most so many of each. How many there were."""


class AuditStore(Protocol):
    """Audit logs: entries are added at the end, and go at the beginning when their time is over."""

    def audit_tail(self, tenant: str) -> tuple[int, str]:
        """The highest number that was written, and the hash of the last entry; 0 and "" for a new log."""

    def add_audit(self, entry: AuditEntry) -> bool:
        """False when its number, or its id, is there already."""

    def has_audit(self, entry_id: str) -> bool: ...

    def audit_page(
        self, tenant: str, *, before: int | None, action: str, object_id: str, limit: int
    ) -> Sequence[AuditEntry]:
        """Newest first, with numbers below `before`; empty strings stand for any."""

    def audit_range(self, tenant: str, after: int, limit: int) -> Sequence[AuditEntry]:
        """In order of number, behind `after`."""

    def audit_chain(self, tenant: str) -> AuditChain: ...
    def expire_audit(self, before: datetime) -> int:
        """Drop older entries of all logs, remembering what came before the rest. How many went."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The epoch of the coordinator that may write, and the number of the last decision."""

    epoch: int = 0
    decisions: int = 0


class CoordinatorStore(Protocol):
    """Who coordinates, and what was decided. Decisions are forgotten after `DECISIONS_KEPT_SECONDS`."""

    def standing(self) -> Standing: ...
    def next_epoch(self, holder: str, *, above: int = 0) -> int:
        """One that nobody had, and more than `above`. What carries an earlier one is refused from now on."""

    def record_decision(self, decision: Decision) -> None:
        """The next one. Raises StaleEpoch where another coordinator stands, or has recorded this number."""

    def decisions(
        self, *, before: int | None, limit: int, subject: str = "", changes_only: bool = True
    ) -> Sequence[Decision]:
        """Newest first, with numbers below `before`, without entries. An empty subject stands for any."""

    def journal(self, since: datetime, until: datetime) -> Iterator[Decision]:
        """All of that time in order, from the last one before it whose entry is whole, if there is one."""


class Store(
    AccountStore,
    SessionStore,
    TokenStore,
    ModelStore,
    VersionStore,
    AttemptStore,
    SiteStore,
    UsageStore,
    AuditStore,
    CoordinatorStore,
    Protocol,
):
    """The truth. Every write is acknowledged by a majority and on disk.

    Methods for a caller take the tenant and see nothing of another's. The ones
    that say `any tenant` are for the coordinator and the gateway's read-through.
    """


class Passwords(Protocol):
    """Hashes of passwords, at a cost that makes guessing slow."""

    def place(self) -> AbstractContextManager[None]:
        """To be had before anything else is done for who shows a password. Raises Overloaded."""

    def hash(self, password: str) -> str:
        """In PHC form."""

    def matches(self, password: str, password_hash: str | None) -> bool:
        """As costly, and False, where there is none."""

    def outdated(self, password_hash: str) -> bool:
        """It was made at another cost than now."""


@dataclass(frozen=True, slots=True)
class UploadPart:
    """Where and how the client sends bytes `offset` to `offset + bytes` of a file, its part `number`."""

    method: str
    url: str
    headers: dict[str, str]
    offset: int
    bytes: int
    number: int = 1
    file: VersionFile = VersionFile.MODEL


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that has arrived."""

    number: int
    bytes: int
    etag: str


class ObjectStore(Protocol):
    """Artifacts by key. Keys are never reused for other bytes."""

    def presign_upload(self, key: str, *, size: int, sha256: str) -> tuple[UploadPart, ...]:
        """A grant to store exactly these bytes under this key, for a limited time."""

    def stored(self, key: str) -> StoredObject | None:
        """What is there, or None."""

    def keep(self, staging: StoredObject, key: str) -> None:
        """Copy a checked upload to its lasting key. Conflict when it changed meanwhile."""

    def begin_parts(self, key: str) -> str:
        """The id of an upload in parts. Nothing is under the key before they are joined."""

    def presign_part(self, key: str, upload_id: str, *, number: int, size: int) -> UploadPart:
        """A grant to store one part of this size, until the upload ends but for a limited time."""

    def parts(self, key: str, upload_id: str) -> Sequence[StoredPart] | None:
        """Those that have arrived, each once, in order; None when there is no such upload any more."""

    def join_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Make them the object. Safe to repeat. Conflict when the parts or the upload are gone."""

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts. Safe to repeat."""

    def delete(self, key: str) -> None: ...
    def delete_under(self, prefix: str) -> None:
        """Everything whose key begins so, and what is still arriving there. Safe to repeat."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """`sha256` is the store's own, in lower-case hex."""

    key: str
    bytes: int
    sha256: str
    etag: str


class PayloadStore(Protocol):
    """Inputs and answers on their way. Nothing of them is kept for long."""

    def presign_put(self, key: str, *, size: int, seconds: int) -> UploadPart:
        """A grant to store bytes of exactly this size, for so long."""

    def presign_put_any(self, key: str, *, seconds: int) -> str:
        """A URL to store whatever it is, for so long; for our own hosts."""

    def presign_get(self, key: str, *, seconds: int) -> str:
        """A URL to fetch it, for so long. Nobody has looked whether it is there."""

    def presign_get_inside(self, key: str, *, seconds: int) -> str:
        """The same for our own hosts, who may reach the store elsewhere than callers."""

    def stored(self, key: str) -> StoredObject | None:
        """What is there, or None."""

    def put(self, key: str, body: bytes) -> None: ...
    def get(self, key: str) -> bytes | None:
        """All of it, or None where there is nothing."""

    def delete_older(self, prefix: str, *, than: datetime, limit: int) -> int:
        """Objects whose key begins so and that came before: how many went, no more than `limit`."""

    def expire(self, prefix: str, *, days: int) -> bool:
        """Let the store itself delete what is so old. False where it cannot."""


class HostReply(msgspec.Struct, frozen=True):
    """What a host answered, passed through as bytes. Header names are in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class HostUnreachable(Exception):
    """No whole answer came. `timed_out` tells a silent host from a broken connection."""

    def __init__(self, message: str, *, timed_out: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class HostCalls(Protocol):
    """Requests to hosts."""

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        """Raises HostUnreachable."""


class Capacity(Protocol):
    """Whoever starts and stops hosts. Only what it was told last counts."""

    def status(self) -> CapacityView | None:
        """To be asked once a tick. None where it does not answer: then nobody knows."""

    def set(self, hosts: int, *, ending: Sequence[str], epoch: int) -> None:
        """There are to be so many hosts beside those in `ending`, which may be stopped; no other may.

        Safe to repeat. Raises StaleEpoch where another coordinator has taken over, and DependencyFailed.
        """
