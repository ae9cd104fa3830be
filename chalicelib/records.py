"""The persisted nouns and the states a version goes through.

    uploading → preparing → ready
         │          └─────→ failed
         └────────────────→ failed       (never completed)
    any of them → deleted                (and, when the retention is over, gone)

A version is immutable: a new upload is a new version. What its state never says is
whether it has traffic; that is the model's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from chalicelib.contract.messages import (
    CandidateRecord,
    Certificate,
    Guard,
    ModelRecord,
    Passport,
    PrepareJob,
    PrepareStage,
    Scope,
    Signature,
    TokenKind,
    TokenRecord,
    VersionFile,
    VersionRecord,
    WeightsFile,
)
from chalicelib.contract.metering import Measures, Usage, together, total
from chalicelib.coordinator.planner import Action, Policy, Reason


class VersionState(StrEnum):
    UPLOADING = "uploading"
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


VERSIONS_KEPT: Final = frozenset({VersionState.UPLOADING, VersionState.PREPARING, VersionState.READY})
"""What counts against quotas: their bytes are there, or on their way, to be served."""
VERSION_MOVES: Final = frozenset(
    {
        (VersionState.UPLOADING, VersionState.PREPARING),
        (VersionState.UPLOADING, VersionState.FAILED),
        (VersionState.PREPARING, VersionState.READY),
        (VersionState.PREPARING, VersionState.FAILED),
        *((state, VersionState.DELETED) for state in VersionState if state is not VersionState.DELETED),
        (VersionState.DELETED, VersionState.READY),  # it got traffic at the same moment
    }
)


_FAR_AHEAD: Final = 1_000_000
_NAMED_ACCOUNTS: Final = uuid.UUID("5b1f2c0e-6a55-4f0e-9b59-0b6f4a3d7c11")


class Role(StrEnum):
    """`operator`: may also see and do what is not one tenant's."""

    MEMBER = "member"
    OPERATOR = "operator"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant.

    Attributes:
        founder: it signed itself up while there was no other account.
        email: in lower case, unique; empty for one that nobody logs in to.
        password_hash: argon2id in PHC form; None where nobody logs in.
        password_expired: who logs in may only choose another one.
        sessions_from: sessions that began before it are over.
        suspended_at: its credentials and sessions are refused since; None where they are not.
        revision: grows with every change.
    """

    id: str
    name: str
    created_at: datetime
    role: Role = Role.MEMBER
    founder: bool = False
    email: str = ""
    password_hash: str | None = None
    password_expired: bool = False
    sessions_from: datetime | None = None
    suspended_at: datetime | None = None
    revision: int = 1


def named_account_id(name: str) -> str:
    """The id of an account that a deployment makes for itself, so that it finds it again."""
    return str(uuid.uuid5(_NAMED_ACCOUNTS, name))


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in that goes on. Only the SHA-256 of its secret is kept, which is also how it is found.

    Attributes:
        began_at: before the password was looked at.
        last_used_at: to the minute.
        expires_at: when it is over unless it is used before, and at the latest.
        address, user_agent: of the log-in.
    """

    id: str
    sha256: str
    tenant: str
    began_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A credential: only its SHA-256 is kept, which is also how it is found.

    Attributes:
        hint: the first characters, for its owner to recognise it.
        scopes: what it may do.
        model_id: the one model it may infer; None for all of the tenant's.
        created_by: the hint of the key, or the e-mail address, that made it.
        expires_at: when it stops; also set, sooner, when it is rotated.
        rotated_to: the id of the token that takes its place.
        suspended: its account is.
        last_used_at: to the minute.
        revision: grows with every change but that of `last_used_at`.
    """

    id: str
    sha256: str
    tenant: str
    kind: TokenKind
    name: str
    hint: str
    created_at: datetime
    scopes: tuple[Scope, ...]
    created_by: str = ""
    model_id: str | None = None
    expires_at: datetime | None = None
    requests_per_second: float | None = None
    rotated_to: str | None = None
    revoked_at: datetime | None = None
    suspended: bool = False
    last_used_at: datetime | None = None
    revision: int = 1

    def hot(self) -> TokenRecord:
        return TokenRecord(
            tenant=self.tenant,
            kind=self.kind,
            revision=self.revision,
            token_id=self.id,
            scopes=self.scopes,
            model_id=self.model_id,
            expires_at=self.expires_at.timestamp() if self.expires_at else None,
            requests_per_second=self.requests_per_second,
            revoked=self.suspended or self.revoked_at is not None,
        )


class PublishedDemo(msgspec.Struct, frozen=True, kw_only=True):
    """The model that everybody may try. There is one at most.

    Attributes:
        tenant: whose model.
        token_id: of its demo token.
        secret: that token in plain text. It is for everybody to know: the one credential that is kept so.
    """

    id: str = "demo"
    tenant: str
    model_id: str
    token_id: str
    secret: str


class Answered(msgspec.Struct, frozen=True):
    """What a request was answered, to be answered again."""

    status: int
    body: str


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A request under an Idempotency-Key.

    Attributes:
        id: made from the tenant and the key.
        request: keyed hash of method, path, body and what its caller may do.
        repeatable: it succeeded, and doing it again finds what it made.
        answered: what it was answered; None while it is under way, and where it is done again instead.
    """

    id: str
    tenant: str
    request: str
    began_at: datetime
    repeatable: bool = False
    answered: Answered | None = None


class UsagePeriod(msgspec.Struct, frozen=True, kw_only=True):
    """What one key used of one version in an hour (or a day).

    Attributes:
        at: when it began.
        parts: by minute of the hour (hour of the day), as they came; they only ever grow.
        counters: beside these sums, likewise; apart from them, so that they need not be read.
        settled, settled_counters: the sums of parts that are not kept by themselves any more.
    """

    id: str
    tenant: str
    at: datetime
    token_id: str
    model_id: str
    version: int
    parts: dict[str, Usage] = {}
    counters: dict[str, dict[str, int]] = {}
    settled: Usage = Usage()
    settled_counters: dict[str, int] = {}

    @property
    def total(self) -> Usage:
        return total((self.settled, *self.parts.values()))

    @property
    def measured(self) -> dict[str, Measures]:
        """By part."""
        return {
            part: Measures(self.parts.get(part, Usage()), self.counters.get(part, {}))
            for part in {**self.parts, **self.counters}
        }

    @property
    def measures(self) -> Measures:
        """All together."""
        return together((Measures(self.settled, self.settled_counters), *self.measured.values()))


class UsageKept(StrEnum):
    """Periods that usage is kept by."""

    HOURS = "hours"
    DAYS = "days"


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Periods that begin from `since` to before `until`, both whole ones.

    Attributes:
        model_id, token_id: empty for all.
        sums_alone: what is counted beside the sums is not read.
    """

    kept: UsageKept
    tenant: str
    since: datetime
    until: datetime
    model_id: str = ""
    token_id: str = ""
    sums_alone: bool = False


class AuditOutcome(StrEnum):
    """`failed`: on our side, and part of it may have been done. What was refused changed nothing."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an account's audit log. Never payloads, secrets or whole credentials.

    Attributes:
        id: new for every entry, so that one is not written twice.
        tenant: whose log; `platform` where nobody was recognised, and for what is not one account's.
        at: when it happened, in whole milliseconds.
        actor: the hint of a key, an e-mail address, `operator` (of another account), or `platform`.
        action: what, as `key.create`.
        object_type, object_id, object_name: on what, as far as it is known.
        address, user_agent: from where.
        outcome, code: `refused` and `failed` with the code of the error.
        number: 1, 2, 3 … in the tenant's log.
        previous: the `hash` of the entry before; empty for the first.
        hash: SHA-256 of this entry in canonical JSON, `previous` included.
    """

    id: str
    tenant: str
    actor: str
    action: str
    at: datetime = datetime.min.replace(tzinfo=UTC)
    outcome: AuditOutcome = AuditOutcome.OK
    code: str = ""
    object_type: str = ""
    object_id: str = ""
    object_name: str = ""
    address: str = ""
    user_agent: str = ""
    request_id: str = ""
    number: int = 0
    previous: str = ""
    hash: str = ""


class AuditChain(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a log beside its entries. `id` is the tenant's.

    Attributes:
        anchor: number of the last entry whose time was over; `anchor_hash` is its hash.
        last: the highest number that was written.
    """

    id: str
    anchor: int = 0
    anchor_hash: str = ""
    last: int = 0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A ready version on trial beside the active one: canary (`percent` > 0), shadow, or both.

    Attributes:
        percent: share of callers it answers.
        mirror_percent: share of requests that both versions run, to be compared.
        limits: when it is taken away by itself.
        trial: the model's revision when this split began; counts are kept under it.
    """

    version: int
    version_id: str
    percent: int
    mirror_percent: int
    limits: Guard
    trial: int


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A version that takes the traffic over as soon as it is loaded where it will serve."""

    version: int
    version_id: str
    since: datetime
    by: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name a tenant owns, and where its traffic goes.

    Attributes:
        active_version: the number that answers.
        previous_version: what answered before it, and is gone back to; None after going back.
        activation: what is to become active.
        numbers_used: no version up to this number is made again.
        pinned: it is to be loaded, used or not.
        revision: grows with every change.
    """

    id: str
    tenant: str
    name: str
    created_at: datetime
    active_version: int | None = None
    active_version_id: str | None = None
    previous_version: int | None = None
    previous_version_id: str | None = None
    candidate: Candidate | None = None
    activation: Activation | None = None
    numbers_used: int = 0
    pinned: bool = False
    deleted_at: datetime | None = None
    revision: int = 0

    @property
    def version_ids(self) -> tuple[str, ...]:
        """All that hosts are to hold, the active one first."""
        following = (self.candidate, self.activation)
        return tuple(
            dict.fromkeys(
                version_id
                for version_id in (self.active_version_id, *(one.version_id for one in following if one))
                if version_id
            )
        )


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One tick of the coordinator.

    Attributes:
        id: 1, 2, 3 …
        epoch: of who decided.
        at: by the hot state's clock, in whole milliseconds.
        changed: it did something, or has something else to say than the one before.
        whole: the entry is all that the tick saw; else what differed from the tick before.
        policy: by which it was decided, where the entry is whole: it stays until the next such one.
        entry: see `coordinator.journal`; empty where it was not asked for.
    """

    id: int
    epoch: int
    at: datetime
    changed: bool
    actions: tuple[Action, ...]
    reasons: tuple[Reason, ...]
    whole: bool
    policy: Policy | None = None
    entry: bytes = b""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it has something to say of."""
        return tuple(dict.fromkeys(reason.subject for reason in self.reasons))


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model's traffic goes, in the numbers users see."""

    active: int | None
    candidate: int | None = None
    percent: int = 0
    mirror_percent: int = 0


class TrafficChange(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history.

    Attributes:
        by: the first characters of the API key, or what part of the platform.
    """

    at: datetime
    by: str
    why: str
    before: Split
    after: Split


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable upload.

    Attributes:
        id: names it towards hosts and stores; never reused.
        number: 1, 2, 3 … within the model; what users see.
        bytes, sha256: of the graph.
        weights: the file of weights beside the graph, where there is one.
        staging_key: where a graph arrives that comes in one piece.
        object_key: where the verified bytes are kept.
        upload_ids: the store's names for what arrives in parts, by file.
        activation_pending: it asks for the traffic once ready.
        reason: why it failed, for the user.
        preparation: what the host found besides, a `Preparation` as JSON: MongoDB takes no dots in keys.
        receipt: what the client said of its conversion, as JSON.
    """

    id: str
    model_id: str
    tenant: str
    number: int
    state: VersionState
    created_at: datetime
    bytes: int
    sha256: str
    framework: str
    staging_key: str
    object_key: str
    weights: WeightsFile | None = None
    upload_ids: dict[VersionFile, str] = {}
    activation_pending: bool = True
    reason: str | None = None
    signature: Signature | None = None
    passport: Passport | None = None
    certificate: Certificate | None = None
    preparation: str | None = None
    receipt: str | None = None
    deleted_at: datetime | None = None

    @property
    def bytes_in_all(self) -> int:
        """Of its files."""
        return self.bytes + (self.weights.bytes if self.weights else 0)

    @property
    def folder(self) -> str:
        """Everything kept of this version is under this prefix."""
        return self.object_key.rpartition("/")[0] + "/"

    def job(self) -> PrepareJob:
        return PrepareJob(
            version_id=self.id,
            model_id=self.model_id,
            tenant=self.tenant,
            number=self.number,
            sha256=self.sha256,
            bytes=self.bytes,
            object_key=self.object_key,
            weights=self.weights,
        )

    def becomes_active(self, model: Model) -> bool:
        """It is ready and on its way to all the traffic, which it does not have yet."""
        own = model.activation is not None and model.activation.version_id == self.id
        return self.state is VersionState.READY and (own or self.activation_pending)

    def stage(self, model: Model, *, told: PrepareStage | None) -> PrepareStage | None:
        """Where its preparation stands; None when none is under way. `told`: by the host that is at it."""
        if self.state is VersionState.PREPARING:
            return told or PrepareStage.QUEUED
        return PrepareStage.WARMING if self.becomes_active(model) else None

    def hot(self) -> VersionRecord | None:
        """What hosts load it by; None before it is ready."""
        if self.signature is None or self.passport is None:
            return None
        return VersionRecord(
            version_id=self.id,
            model_id=self.model_id,
            tenant=self.tenant,
            number=self.number,
            sha256=self.sha256,
            bytes=self.bytes,
            object_key=self.object_key,
            signature=self.signature,
            passport=msgspec.structs.replace(self.passport, batches=()),  # read with every request
            certificate=self.certificate,
            weights=self.weights,
        )


def routing_record(model: Model, versions: Mapping[str, Version]) -> ModelRecord:
    """What both doors route by, given the versions that it speaks of by id."""
    active = versions.get(model.active_version_id or "")
    return ModelRecord(
        model_id=model.id,
        tenant=model.tenant,
        revision=model.revision,
        active=active.hot() if active else None,
        deleted=model.deleted_at is not None,
        candidate=_candidate_record(model.candidate, versions) if model.candidate else None,
    )


def _candidate_record(candidate: Candidate, versions: Mapping[str, Version]) -> CandidateRecord | None:
    version = versions.get(candidate.version_id)
    hot = version.hot() if version else None
    if hot is None:
        return None
    return CandidateRecord(
        version=hot,
        percent=candidate.percent,
        mirror_percent=candidate.mirror_percent,
        trial=candidate.trial,
        drift_tolerance=candidate.limits.drift_tolerance,
    )


def split(model: Model) -> Split:
    if model.candidate is None:
        return Split(active=model.active_version)
    return Split(
        active=model.active_version,
        candidate=model.candidate.version,
        percent=model.candidate.percent,
        mirror_percent=model.candidate.mirror_percent,
    )


def activated(model: Model, version: Version) -> Model:
    """The model once this version alone has the traffic. What was on trial or on its way is settled by it."""
    again = model.active_version_id == version.id
    return msgspec.structs.replace(
        model,
        active_version=version.number,
        active_version_id=version.id,
        previous_version=model.previous_version if again else model.active_version,
        previous_version_id=model.previous_version_id if again else model.active_version_id,
        candidate=None,
        activation=None,
        revision=model.revision + 1,
    )


def gone_back(model: Model, version: Version) -> Model:
    """As `activated`; what it went back from is not gone back to."""
    return msgspec.structs.replace(activated(model, version), previous_version=None, previous_version_id=None)


def on_trial(model: Model, candidate: Candidate) -> Model:
    """The model with this candidate in place of any other. It no longer is to become active by itself."""
    own = model.activation is not None and model.activation.version_id == candidate.version_id
    return msgspec.structs.replace(
        model,
        candidate=candidate,
        activation=None if own else model.activation,
        revision=model.revision + 1,
    )


def without_candidate(model: Model) -> Model:
    """The model without a trial; a candidate that was to become active is not either."""
    own = model.candidate and model.activation and model.activation.version_id == model.candidate.version_id
    activation = None if own else model.activation
    return msgspec.structs.replace(model, candidate=None, activation=activation, revision=model.revision + 1)


def without_activation(model: Model) -> Model:
    return msgspec.structs.replace(model, activation=None, revision=model.revision + 1)


def activating(model: Model, activation: Activation) -> Model:
    return msgspec.structs.replace(model, activation=activation, revision=model.revision + 1)


def with_pin(model: Model, *, pinned: bool) -> Model:
    return msgspec.structs.replace(model, pinned=pinned, revision=model.revision + 1)


def deleted(model: Model, at: datetime) -> Model:
    """A tombstone: it answers nobody. Newer than any change that is made at the same moment."""
    return msgspec.structs.replace(
        model,
        active_version=None,
        active_version_id=None,
        previous_version=None,
        previous_version_id=None,
        candidate=None,
        activation=None,
        deleted_at=at,
        revision=model.revision + _FAR_AHEAD,
    )


def without_version(model: Model, version: Version) -> Model:
    """The model once this version, which has no traffic, is deleted."""
    previous = model.previous_version_id == version.id
    return msgspec.structs.replace(
        model,
        previous_version=None if previous else model.previous_version,
        previous_version_id=None if previous else model.previous_version_id,
        numbers_used=max(model.numbers_used, version.number),
        revision=model.revision + 1,
    )
