"""The persisted nouns and the states a version goes through.

    uploading → preparing → ready
         │          └─────→ failed
         └────────────────→ failed       (never completed)

Nothing leaves ready or failed: a version is immutable, a new upload is a new version.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from chalicelib.contract.messages import (
    ModelRecord,
    Passport,
    PrepareJob,
    Signature,
    TokenKind,
    TokenRecord,
    VersionRecord,
)


class VersionState(StrEnum):
    UPLOADING = "uploading"
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"


VERSION_MOVES: Final = frozenset(
    {
        (VersionState.UPLOADING, VersionState.PREPARING),
        (VersionState.UPLOADING, VersionState.FAILED),
        (VersionState.PREPARING, VersionState.READY),
        (VersionState.PREPARING, VersionState.FAILED),
    }
)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    created_at: datetime


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A credential: only its SHA-256 is kept, which is also how it is found.

    Attributes:
        hint: the first characters, for its owner to recognise it.
        model_id: the one model a model token may infer.
    """

    id: str
    sha256: str
    tenant: str
    kind: TokenKind
    name: str
    hint: str
    created_at: datetime
    model_id: str | None = None
    revoked_at: datetime | None = None
    revision: int = 1

    def hot(self) -> TokenRecord:
        return TokenRecord(
            tenant=self.tenant,
            kind=self.kind,
            revision=self.revision,
            model_id=self.model_id,
            revoked=self.revoked_at is not None,
        )


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name a tenant owns. `active_version` is the number the traffic goes to.

    `revision` grows with every change of where the traffic goes.
    """

    id: str
    tenant: str
    name: str
    created_at: datetime
    active_version: int | None = None
    active_version_id: str | None = None
    revision: int = 0


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable upload.

    Attributes:
        id: names it towards hosts and stores; never reused.
        number: 1, 2, 3 … within the model; what users see.
        staging_key: where the client's bytes arrive.
        object_key: where the verified bytes are kept.
        activation_pending: it is to take over the traffic once ready.
        reason: why it failed, for the user.
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
    activation_pending: bool = True
    reason: str | None = None
    signature: Signature | None = None
    passport: Passport | None = None

    def job(self) -> PrepareJob:
        return PrepareJob(
            version_id=self.id,
            model_id=self.model_id,
            tenant=self.tenant,
            number=self.number,
            sha256=self.sha256,
            bytes=self.bytes,
            object_key=self.object_key,
        )

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
            passport=self.passport,
        )


def routing_record(model: Model, active: Version | None) -> ModelRecord:
    """What the gateway routes by. Its revision is the model's."""
    return ModelRecord(
        model_id=model.id,
        tenant=model.tenant,
        revision=model.revision,
        active=active.hot() if active else None,
    )


def activated(model: Model, version: Version) -> Model:
    """The model once the traffic goes to this version."""
    return msgspec.structs.replace(
        model,
        active_version=version.number,
        active_version_id=version.id,
        revision=model.revision + 1,
    )
