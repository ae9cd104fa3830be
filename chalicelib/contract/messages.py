"""The values that cross between processes: through Redis, and from gateway to host.

`msgspec` validates while it decodes; `decode` turns anything malformed into
None, so that a corrupt or old-schema value reads as a miss and never as a crash.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Message = TypeVar("Message", bound=msgspec.Struct)


class TensorSignature(msgspec.Struct, frozen=True):
    """One input or output: `shape` holds sizes, None where any size goes."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Signature(msgspec.Struct, frozen=True):
    """What a version takes and gives."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


class Passport(msgspec.Struct, frozen=True):
    """What was measured when the version was prepared."""

    load_ms: float
    run_ms: float
    memory_bytes: int


class TokenKind(StrEnum):
    API_KEY = "api_key"
    MODEL_TOKEN = "model_token"


class TokenRecord(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a credential. Stored under its SHA-256.

    Attributes:
        model_id: the one model a model token may infer; None for an API key.
        revoked: kept as a tombstone, so an older record cannot bring it back.
    """

    tenant: str
    kind: TokenKind
    revision: int
    model_id: str | None = None
    revoked: bool = False


class VersionRecord(msgspec.Struct, frozen=True):
    """Everything a host needs to load one version."""

    version_id: str
    model_id: str
    tenant: str
    number: int
    sha256: str
    bytes: int
    object_key: str
    signature: Signature
    passport: Passport


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a candidate is taken away by itself. Nothing is judged on fewer than `requests_min` runs.

    Attributes:
        errors_percent_max: of the candidate's runs, those that failed through the model's own fault.
        latency_ratio_max: mean run time of the candidate over the active version's.
        drift_percent_max: of the compared requests, those that were answered differently.
        drift_tolerance: floating-point outputs are the same up to this, absolute below 1 and relative
            above; labels (whole numbers, strings, booleans) must be equal.
    """

    errors_percent_max: Percent = 2.0
    latency_ratio_max: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 2.0
    drift_percent_max: Percent = 5.0
    requests_min: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50
    drift_tolerance: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 0.1


class CandidateRecord(msgspec.Struct, frozen=True):
    """A version on trial beside the active one.

    Attributes:
        percent: share of callers it answers, 0 to 99.
        mirror_percent: share of requests that both versions run, so that their answers are compared.
        trial: names this trial, and so what is counted of it: another split is another trial.
    """

    version: VersionRecord
    percent: int
    mirror_percent: int
    trial: int
    drift_tolerance: float


class Counts(msgspec.Struct, frozen=True):
    """What hosts saw of one version during a trial.

    Attributes:
        requests: requests it ran, whether it answered them or ran them only to be compared.
        errors: those that failed through the model's own fault (500 `inference_failed`, a lost worker).
        run_us: time in the model of those that succeeded, in microseconds, without queue and load.
        mirrored: of the candidate: requests where both versions ran and were compared.
        differing: of those, where labels or scores differ, or one of the two failed.
    """

    requests: int = 0
    errors: int = 0
    run_us: int = 0
    mirrored: int = 0
    differing: int = 0


class ModelRecord(msgspec.Struct, frozen=True):
    """How both doors route one model. `active` is None until a version is ready."""

    model_id: str
    tenant: str
    revision: int
    active: VersionRecord | None = None
    deleted: bool = False
    candidate: CandidateRecord | None = None


class HostState(StrEnum):
    LAUNCHING = "launching"
    READY = "ready"
    DRAINING = "draining"


class Heartbeat(msgspec.Struct, frozen=True):
    """What a host says of itself every `HEARTBEAT_SECONDS`.

    Attributes:
        boot_id: new at every start of the process.
        at: Redis server time in seconds when it was written (filled in by the script).
    """

    host_id: str
    boot_id: str
    address: str
    port: int
    state: HostState
    memory_bytes_max: int
    memory_bytes_used: int
    in_flight: int
    versions_ready: int
    at: float = 0.0


class ReplicaState(StrEnum):
    ASSIGNED = "assigned"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Replica(msgspec.Struct, frozen=True):
    """A version on a host, as the host (or, when only assigned, the coordinator) wrote it."""

    host_id: str
    boot_id: str
    state: ReplicaState


class PrepareJob(msgspec.Struct, frozen=True):
    """Work for whichever host takes it. Safe to run twice."""

    version_id: str
    model_id: str
    tenant: str
    number: int
    sha256: str
    bytes: int
    object_key: str


class PrepareStage(StrEnum):
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    VALIDATING = "validating"
    LOADING = "loading"
    MEASURING = "measuring"
    WARMING = "warming"
    """Ready, and being loaded where it will serve. Said by the control plane, not by a host."""


class PrepareResult(msgspec.Struct, frozen=True):
    """What came out of it: `reason` is set when the version cannot be served, and is for the user.

    `retry` says that the host and not the model failed (the store was away, say).
    """

    version_id: str
    host_id: str
    reason: str | None = None
    retry: bool = False
    signature: Signature | None = None
    passport: Passport | None = None


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def decode(raw: bytes | str | None, kind: type[Message]) -> Message | None:
    """The message, or None when there is none or it does not fit the schema."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        return None


def to_plain(message: msgspec.Struct) -> Any:
    """Dicts and lists, for a JSON answer or a document."""
    return msgspec.to_builtins(message)
