"""The values that cross between processes: through Redis, and from gateway to host.

`msgspec` validates while it decodes; `decode` turns anything malformed into
None, so that a corrupt or old-schema value reads as a miss and never as a crash.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.findings import Findings, Refusal

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Whole numbers that are numbers everywhere: in Lua, in MongoDB, and as a float."""
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


class BatchCost(msgspec.Struct, frozen=True):
    """One run of so many rows: how long it takes, and what it takes at its peak, the loaded model included.

    Mapped files are not counted.
    """

    rows: int
    run_ms: float
    memory_bytes: int


class Passport(msgspec.Struct, frozen=True):
    """What was measured, on the form that is served, when the version was prepared.

    Attributes:
        load_ms: processor time of a load: what it takes where the file is in the page cache and nobody
            else computes. `load_cold_ms`: how long it took without the page cache.
        run_ms: of one row.
        memory_bytes: what a host reserves: loaded, with a run of the best batch, mapped files included.
        bytes_anonymous: of it, once loaded and before any run, what no file backs.
        bytes_mapped: the prepared form's weights: pages of a file, shared, and the system may drop them.
        bytes_prepacked: as `bytes_anonymous`, where weights rearranged for the CPU are swapped in; else 0.
        batches: runs of 1, 2, 4, … rows, as many as could be measured.
        batch_size_best: the smallest run that gets (nearly) the most rows per second.
        batch_gain: rows per second at the best size over those of one row by itself.
        prepack_gain: run time mapped over run time prepacked.
        prepared: the prepared form was measured, else the file as it was uploaded.
        provider: what onnxruntime ran it with.
    """

    load_ms: float
    run_ms: float
    memory_bytes: int
    load_cold_ms: float = 0.0
    bytes_anonymous: int = 0
    bytes_mapped: int = 0
    bytes_prepacked: int = 0
    batches: Annotated[tuple[BatchCost, ...], msgspec.Meta(max_length=16)] = ()
    batch_size_best: int = 1
    batch_gain: float = 1.0
    prepack_gain: float = 1.0
    prepared: bool = False
    provider: str = ""

    @property
    def memory_bytes_mapped(self) -> int:
        """As `memory_bytes`, where its weights stay as they are mapped: slower, and in half the memory."""
        if not self.bytes_prepacked:
            return self.memory_bytes
        best = next((one for one in self.batches if one.rows == self.batch_size_best), None)
        run = max(0, best.memory_bytes - self.bytes_prepacked) if best else 0
        return min(self.memory_bytes, self.bytes_anonymous + run + self.bytes_mapped)


class Counterexample(msgspec.Struct, frozen=True):
    """An answer that changed with the company of its row. The row's first values from where they differ.

    Attributes:
        trial: the company, in words.
        rows: how many shared the run.
        position: of the row in it.
        expected, got: alone, and in company.
    """

    trial: str
    output: str
    rows: int
    position: int
    expected: tuple[str, ...]
    got: tuple[str, ...]


class Certificate(msgspec.Struct, frozen=True):
    """Whether rows of different callers may share a run, shown by running them.

    `batchable`, and the evidence in a sentence; without, perhaps the counterexample.
    """

    batchable: bool
    evidence: str
    counterexample: Counterexample | None = None


class TokenKind(StrEnum):
    API_KEY = "api_key"
    MODEL_TOKEN = "model_token"
    DEMO_TOKEN = "demo_token"
    """A model token that everybody knows: it runs its model at once, and nothing else."""


class Scope(StrEnum):
    """What a credential may do. `operate` is for operators: the fleet, and what is not one tenant's."""

    INFER = "infer"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    KEYS = "keys"
    OPERATE = "operate"


class TokenRecord(msgspec.Struct, frozen=True):
    """What both doors need to know of a credential. Stored under its SHA-256.

    Attributes:
        token_id: what limits and usage are counted under.
        scopes: what it may do.
        model_id: the one model it may infer; None for all of the tenant's.
        expires_at: Unix time in seconds from which it is refused; None for never.
        requests_per_second: its own limit, below the account's; None for the account's alone.
        revoked: kept as a tombstone, so an older record cannot bring it back.
    """

    tenant: str
    kind: TokenKind
    revision: int
    token_id: str
    scopes: tuple[Scope, ...]
    model_id: str | None = None
    expires_at: float | None = None
    requests_per_second: float | None = None
    revoked: bool = False


BATCH_GAIN_MIN: Final = 1.2
"""Sharing runs must be at least so many times faster."""


class VersionFile(StrEnum):
    """What a version is made of: a graph with its weights inside, or a graph and one file of weights."""

    MODEL = "model"
    WEIGHTS = "weights"


WEIGHTS_LOCATION: Final = "weights.bin"
"""The one name by which the graph of a version of two files may speak of the other."""


class WeightsFile(msgspec.Struct, frozen=True):
    """The second file of a version that is larger than a graph can be."""

    sha256: str
    bytes: int
    object_key: str


class VersionRecord(msgspec.Struct, frozen=True):
    """Everything a host needs to load one version. `sha256`, `bytes` and `object_key` are the graph's."""

    version_id: str
    model_id: str
    tenant: str
    number: int
    sha256: str
    bytes: int
    object_key: str
    signature: Signature
    passport: Passport
    certificate: Certificate | None = None
    weights: WeightsFile | None = None

    @property
    def bytes_in_all(self) -> int:
        """Of its files."""
        return self.bytes + (self.weights.bytes if self.weights else 0)

    @property
    def batch_size_max(self) -> int:
        """How many requests may share a run: several only where that is proved right, and measured to pay."""
        proved = self.certificate is not None and self.certificate.batchable
        pays = self.passport.batch_gain >= BATCH_GAIN_MIN
        return self.passport.batch_size_best if proved and pays else 1


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
        row_us: the same, each run's time divided by the rows that shared it.
        mirrored: of the candidate: requests where both versions ran and were compared.
        differing: of those, where labels or scores differ, or one of the two failed.
    """

    requests: int = 0
    errors: int = 0
    run_us: int = 0
    mirrored: int = 0
    differing: int = 0
    row_us: int = 0


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
        loop_lag_seconds: how long its event loop takes to come round, or has taken without having done so.
        slots: requests that it runs well at once.
    """

    host_id: str
    boot_id: str
    address: str
    port: int
    state: HostState
    memory_bytes_max: Count
    memory_bytes_used: Count
    in_flight: Count
    versions_ready: Count
    at: float = 0.0
    loop_lag_seconds: float = 0.0
    slots: Annotated[float, msgspec.Meta(ge=limits.HOST_SLOTS_MIN, le=limits.HOST_SLOTS_MAX)] = 1.0


_ToldSeconds = Annotated[float, msgspec.Meta(ge=0, le=limits.TOLD_SECONDS_MAX)]


class VersionLoad(msgspec.Struct, frozen=True, array_like=True):
    """What a host was asked of one version.

    Attributes:
        requests: those that ended.
        seconds: the time integral of those that waited or ran: over the time it took, how many at once.
        ran: the part of it in which the model ran for them; of a run that several share, each has its share.
    """

    requests: Count = 0
    seconds: _ToldSeconds = 0.0
    ran: _ToldSeconds = 0.0

    def __add__(self, other: VersionLoad) -> VersionLoad:
        return VersionLoad(self.requests + other.requests, self.seconds + other.seconds, self.ran + other.ran)


class HostLoad(msgspec.Struct, frozen=True):
    """What a host was asked since it last told.

    Attributes:
        seconds: how long that is.
        versions: by version id.
        front_seconds: processor time of its front, which is one process for all requests.
    """

    seconds: Annotated[float, msgspec.Meta(ge=limits.TOLD_SECONDS_MIN, le=limits.TOLD_SECONDS_MAX)]
    versions: dict[str, VersionLoad]
    front_seconds: _ToldSeconds = 0.0

    def overloads(self, slots: float) -> bool:
        """Whether so many slots need longer for what waits than it should wait."""
        loads = self.versions.values()
        ran, requests = sum([one.ran for one in loads]), sum([one.requests for one in loads])
        waiting = (sum([one.seconds for one in loads]) - ran) / self.seconds if self.seconds else 0.0
        return overloaded(waiting, slots=slots, run_seconds=ran / requests if requests else None)


def overloaded(waiting: float, *, slots: float, run_seconds: float | None) -> bool:
    """`waiting` requests on so many slots. `run_seconds`: of one; None where none has ended yet."""
    if run_seconds is None:
        return waiting > slots
    return waiting * run_seconds > limits.OVERLOAD_SECONDS * slots


class ReplicaState(StrEnum):
    """`stored`: not in memory, and its files are on the host's disk."""

    ASSIGNED = "assigned"
    STORED = "stored"
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
    weights: WeightsFile | None = None

    @property
    def bytes_in_all(self) -> int:
        """Of its files."""
        return self.bytes + (self.weights.bytes if self.weights else 0)


class PrepareStage(StrEnum):
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    VALIDATING = "validating"
    OPTIMISING = "optimising"
    MEASURING = "measuring"
    WARMING = "warming"
    """Ready, and being loaded where it will serve. Said by the control plane, not by a host."""


class Optimisation(msgspec.Struct, frozen=True):
    """The prepared form, and how it compares with the uploaded file; or why there is none.

    Attributes:
        reason: why the file is served as it was uploaded; None where the form is kept.
        uploaded_load_ms, load_ms: how long the two take to load, in the same process.
        relative_tolerance, absolute_tolerance: floats had to agree within the first of themselves or the
            second of the largest; whole numbers, texts and truths had to be equal.
        largest_difference: of any float output, relative to the largest of its tensor.
    """

    reason: str | None = None
    uploaded_load_ms: float = 0.0
    load_ms: float = 0.0
    relative_tolerance: float = 0.0
    absolute_tolerance: float = 0.0
    largest_difference: float = 0.0


class ExampleSource(StrEnum):
    SAMPLE = "sample"
    ZEROS = "zeros"


class Example(msgspec.Struct, frozen=True):
    """Inputs that the version has run on, as `POST /inference` takes them.

    Attributes:
        inputs: nested lists by name: one row, where it takes any number of them. Null is NaN.
        source: sample: a row that its owner let go along in the model; zeros: made up here, zeros and
            empty texts where it takes those.
    """

    inputs: dict[str, Any]
    source: ExampleSource


class Preparation(msgspec.Struct, frozen=True):
    """What a host found out about a version besides signature, passport and certificate.

    Attributes:
        onnxruntime: its version.
        host_class: what prepared forms fit: onnxruntime, machine, class of CPU and provider.
        example: None where it is larger than `EXAMPLE_BYTES_MAX`, or none was told.
        sizes: of the inputs that it ran on, by name: a single row, where it takes any number of them.
    """

    onnxruntime: str
    host_class: str
    refusal: Refusal | None = None
    findings: Findings | None = None
    optimisation: Optimisation | None = None
    example: Example | None = None
    sizes: dict[str, tuple[int, ...]] = {}


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
    certificate: Certificate | None = None
    preparation: Preparation | None = None


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def decode(raw: bytes | str | None, kind: type[Message]) -> Message | None:
    """The message, or None when there is none or it does not fit the schema."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None


def to_plain(message: msgspec.Struct) -> Any:
    """Dicts and lists, for a JSON answer or a document."""
    return msgspec.to_builtins(message)
