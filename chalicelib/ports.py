"""Every side effect the use cases have, apart from the hot state's own typed access.

The adapters implement them; the suites in tests/contract say what each must do,
and run against whatever server they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from chalicelib.contract.messages import Heartbeat, Preparation, PrepareResult, VersionFile
from chalicelib.records import Account, Model, Token, TrafficChange, Version, VersionState


class AccountStore(Protocol):
    """Accounts and credentials."""

    def ensure_account(self, account: Account) -> Account:
        """The account of this name: the given one, or the one that was there first."""

    def add_token(self, token: Token) -> bool:
        """False when a token with this SHA-256 exists."""

    def token(self, sha256: str) -> Token | None: ...
    def count_tokens(self, tenant: str, model_id: str) -> int: ...

    def revoke_model_tokens(self, tenant: str, model_id: str, *, at: datetime) -> Sequence[Token]:
        """All tokens there are for this model, none of them valid any more."""

    def tokens_page(self, after: str, limit: int) -> Sequence[Token]:
        """Any tenant's, in order of SHA-256, behind `after`."""


class ModelStore(Protocol):
    """Models, and the tombstones of those that were deleted."""

    def ensure_model(self, model: Model) -> Model:
        """The tenant's model of this name: the given one, or the one that was there first."""

    def model(self, tenant: str, model_id: str) -> Model | None: ...
    def models(self, tenant: str, after: str, limit: int) -> Sequence[Model]:
        """The tenant's, in order of id, behind `after`."""

    def any_model(self, model_id: str) -> Model | None:
        """Any tenant's; the tombstone of a deleted one."""

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

    def any_version(self, version_id: str) -> Version | None:
        """Any tenant's."""

    def any_versions(self, version_ids: Sequence[str]) -> Sequence[Version]:
        """Any tenant's, in no order, missing ones left out."""

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


class Store(AccountStore, ModelStore, VersionStore, Protocol):
    """The truth. Every write is acknowledged by a majority and on disk.

    Methods for a caller take the tenant and see nothing of another's. The ones
    that say `any tenant` are for the coordinator and the gateway's read-through.
    """


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


@dataclass(frozen=True, slots=True)
class HostReply:
    """What a host answered, passed through as bytes. Header names are in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class HostUnreachable(Exception):
    """No whole answer came. `timed_out` tells a silent host from a broken connection."""

    def __init__(self, message: str, *, timed_out: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class HostCalls(Protocol):
    """Requests to hosts."""

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        """Raises HostUnreachable."""
