"""What routes answer: the types of the HTTP API, made from records and use cases' results.

The API's description is generated from these types: their docstrings and field names are what its readers
see.
Numbers of bytes and times say so in their names; times are in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from chalice.app import Response

from chalicelib import records
from chalicelib.contract import limits
from chalicelib.contract.findings import Findings, Refusal
from chalicelib.contract.messages import (
    Certificate,
    Counts,
    Example,
    Guard,
    Optimisation,
    Passport,
    Preparation,
    PrepareStage,
    Signature,
    VersionFile,
    decode,
)
from chalicelib.contract.metadata import HEADER_LENGTH
from chalicelib.overview import Outline
from chalicelib.payloads import RESULT_FROM, BegunPayload
from chalicelib.ports import UploadPart
from chalicelib.records import Split, VersionState
from chalicelib.routing import InferenceAnswer
from chalicelib.settings import Settings
from chalicelib.traffic import Shown
from chalicelib.uploads import BegunUpload, UploadStatus

_JSON: Final = "application/json"
_PASSED_ON: Final = ("Retry-After", HEADER_LENGTH, RESULT_FROM)


class Error(msgspec.Struct, frozen=True):
    """Why a request was refused. Some codes add fields that say more.

    Attributes:
        code: stays the same for programs to decide by; `message` says what was wrong and what to do.
        retryable: sending the same request again may succeed; Retry-After says when.
        request_id: also in X-Request-Id. Quote it when you report a problem.
    """

    code: str
    message: str
    retryable: bool
    request_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Every answer of 400 and above."""

    error: Error


class OpenInferenceErrorAnswer(msgspec.Struct, frozen=True):
    """Every answer of 400 and above, as Open Inference Protocol v2 has it."""

    error: str
    code: str
    retryable: bool
    request_id: str


def inference(answer: InferenceAnswer, request_id: str) -> Response:
    """The host's own body, with the gateway's part of the timings in front.

    Open Inference Protocol's binary tensors go out as bytes, which API Gateway has in base64.
    """
    reply = answer.reply
    content_type = reply.headers.get("content-type", _JSON)
    headers: dict[str, str | list[str]] = {
        "Content-Type": content_type,
        "X-Request-Id": request_id,
        "X-Model-Version": str(answer.version),
        "X-Rocket-Tries": str(answer.tries),
        "Server-Timing": _server_timing(answer),
    }
    headers |= {name: reply.headers[name.lower()] for name in _PASSED_ON if name.lower() in reply.headers}
    body = reply.body.decode() if content_type == _JSON else reply.body
    return Response(body=body, status_code=reply.status, headers=headers)


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class File(msgspec.Struct, frozen=True):
    """A file of a version."""

    bytes: int
    sha256: str


class Version(msgspec.Struct, frozen=True):
    """One immutable upload of a model.

    Attributes:
        stage: where its preparation stands; null when none is under way.
        active: it has the traffic, or most of it; `activating`: it is on its way there.
        reason: why it failed.
        bytes, sha256: of the graph; `weights` of the file of weights beside it, where there is one.
        passport: what loading and running it costs, measured on a host.
    """

    model_id: str
    number: int
    state: VersionState
    stage: PrepareStage | None
    active: bool
    activating: bool
    reason: str | None
    bytes: int
    sha256: str
    weights: File | None
    framework: str
    signature: Signature | None
    passport: Passport | None
    created_at: datetime


def version(shown: records.Version, owner: records.Model, *, stage: PrepareStage | None = None) -> Version:
    return Version(
        model_id=shown.model_id,
        number=shown.number,
        state=shown.state,
        stage=stage,
        active=owner.active_version == shown.number,
        activating=shown.becomes_active(owner),
        reason=shown.reason,
        bytes=shown.bytes,
        sha256=shown.sha256,
        weights=File(shown.weights.bytes, shown.weights.sha256) if shown.weights else None,
        framework=shown.framework,
        signature=shown.signature,
        passport=shown.passport,
        created_at=shown.created_at,
    )


def upload_status(status: UploadStatus) -> Version:
    return version(status.version, status.model, stage=status.stage)


class VersionsPage(msgspec.Struct, frozen=True):
    """Versions of a model, oldest first."""

    versions: list[Version]


def versions(
    listed: Sequence[records.Version], owner: records.Model, stages: Mapping[str, PrepareStage | None]
) -> VersionsPage:
    return VersionsPage([version(one, owner, stage=stages[one.id]) for one in listed])


class Upload(msgspec.Struct, frozen=True):
    """What is still to be sent, and for how many seconds the grants are good."""

    expires_in: int
    parts: list[UploadPart]


def upload(parts: Sequence[UploadPart]) -> Upload:
    return Upload(limits.UPLOAD_URL_SECONDS, list(parts))


class NamedModel(msgspec.Struct, frozen=True):
    """`created`: by this request. `tokens`: how many valid model tokens it has."""

    id: str
    name: str
    created: bool
    tokens: int


class Begun(msgspec.Struct, frozen=True):
    """A version that waits for its bytes: send the parts, then complete it."""

    model: NamedModel
    version: Version
    upload: Upload


def begun_upload(begun: BegunUpload) -> Begun:
    named = NamedModel(begun.model.id, begun.model.name, begun.created, begun.tokens)
    return Begun(named, version(begun.version, begun.model), upload(begun.parts))


class CandidateCounts(msgspec.Struct, frozen=True):
    """What hosts counted of the candidate, and of the active version beside it; comparisons of the first."""

    candidate: Counts
    active: Counts


class Candidate(msgspec.Struct, frozen=True):
    """A version on trial beside the active one.

    Attributes:
        percent: share of callers it answers; `mirror_percent`: share of requests that both versions run.
        limits: when it is taken away by itself.
        counts: null where they were not asked for, or cannot be read now.
    """

    version: int
    percent: int
    mirror_percent: int
    limits: Guard
    counts: CandidateCounts | None = None


class LatestVersion(msgspec.Struct, frozen=True):
    """The version of a model that was uploaded last.

    Attributes:
        stage: where its preparation stands; null when none is under way, or while that is not known.
        reason: why it failed.
        bytes: of all its files.
    """

    number: int
    state: VersionState
    stage: PrepareStage | None
    reason: str | None
    bytes: int
    framework: str
    created_at: datetime


class Model(msgspec.Struct, frozen=True):
    """A name, and which of its versions answer.

    Attributes:
        previous: the version that a rollback goes back to.
        activating: the version that takes over once it is loaded.
        pinned: it stays loaded, used or not.
        url: where it answers.
        latest: null where none has been uploaded, or all were deleted.
        hosts: on how many hosts the active version is loaded now; null while that is not known.
        quarantined: the active version ended its process twice, and answers nobody for some minutes; null
            while that is not known.
    """

    id: str
    name: str
    active: int | None
    previous: int | None
    activating: int | None
    candidate: Candidate | None
    pinned: bool
    created_at: datetime
    url: str
    latest: LatestVersion | None
    hosts: int | None
    quarantined: bool | None


class ModelsPage(msgspec.Struct, frozen=True):
    """Models in order of id. `next`: what to send as `after` for those that follow; null at the end."""

    models: list[Model]
    next: str | None


def models(listed: Sequence[records.Model], seen: Mapping[str, Outline], settings: Settings) -> ModelsPage:
    told = [model(one, _candidate(one), seen[one.id], settings) for one in listed]
    return ModelsPage(told, following(listed))


def following(listed: Sequence[Any]) -> str | None:
    """The id behind which the next page begins."""
    return str(listed[-1].id) if len(listed) == limits.PAGE_SIZE_MAX else None


def model(shown: records.Model, candidate: Candidate | None, seen: Outline, settings: Settings) -> Model:
    return Model(
        id=shown.id,
        name=shown.name,
        active=shown.active_version,
        previous=shown.previous_version,
        activating=shown.activation.version if shown.activation else None,
        candidate=candidate,
        pinned=shown.pinned,
        created_at=shown.created_at,
        url=f"{settings.public_url}/inference",
        latest=_latest(seen),
        hosts=seen.hosts,
        quarantined=seen.quarantined,
    )


def model_in_full(shown: Shown, seen: Outline, settings: Settings) -> Model:
    """With what was counted of the candidate, which costs a look-up."""
    return model(shown.model, _candidate_in_full(shown), seen, settings)


def _latest(seen: Outline) -> LatestVersion | None:
    latest = seen.latest
    if latest is None:
        return None
    return LatestVersion(
        number=latest.number,
        state=latest.state,
        stage=seen.stage,
        reason=latest.reason,
        bytes=latest.bytes_in_all,
        framework=latest.framework,
        created_at=latest.created_at,
    )


class Change(msgspec.Struct, frozen=True):
    """One change of a model's traffic."""

    at: datetime
    by: str
    why: str
    before: Split = msgspec.field(name="from")
    after: Split = msgspec.field(name="to")


class Traffic(msgspec.Struct, frozen=True):
    """Where a model's traffic goes."""

    active: int | None
    previous: int | None
    activating: int | None
    candidate: Candidate | None


class TrafficWithHistory(Traffic, frozen=True):
    """Where a model's traffic goes, and how it came to be, the newest change first."""

    history: list[Change]


def traffic(shown: Shown) -> Traffic:
    return Traffic(
        active=shown.model.active_version,
        previous=shown.model.previous_version,
        activating=shown.model.activation.version if shown.model.activation else None,
        candidate=_candidate_in_full(shown),
    )


def traffic_with_history(shown: Shown, entries: Sequence[records.TrafficChange]) -> TrafficWithHistory:
    history = [Change(one.at, one.by, one.why, one.before, one.after) for one in reversed(entries)]
    return TrafficWithHistory(**msgspec.structs.asdict(traffic(shown)), history=history)


def _candidate(shown: records.Model, counts: CandidateCounts | None = None) -> Candidate | None:
    if shown.candidate is None:
        return None
    one = shown.candidate
    return Candidate(one.version, one.percent, one.mirror_percent, one.limits, counts)


def _candidate_in_full(shown: Shown) -> Candidate | None:
    one, seen = shown.model.candidate, shown.counts
    if one is None or seen is None:
        return _candidate(shown.model)
    active = seen.get(shown.model.active_version_id or "", Counts())
    active = msgspec.structs.replace(active, mirrored=0, differing=0)
    return _candidate(shown.model, CandidateCounts(seen.get(one.version_id, Counts()), active))


class PreparedBy(msgspec.Struct, frozen=True):
    """What the prepared form fits."""

    onnxruntime: str
    host_class: str


class Report(msgspec.Struct, frozen=True):
    """All that is known of one version: what it is, what it costs, what was proved, and how it came to be.

    Attributes:
        certificate: whether rows of different callers may share a run, and the evidence.
        optimisation: how the prepared form compares with the uploaded file.
        receipt: what the client said of its conversion.
        hashes: SHA-256 of the uploaded files.
        example: inputs that it answers; null where they are large, or none were found.
        sizes: shape of one row of each input, by name, with sizes that it took where any may go.
    """

    model_id: str
    number: int
    state: VersionState
    reason: str | None
    refusal: Refusal | None
    signature: Signature | None
    passport: Passport | None
    certificate: Certificate | None
    optimisation: Optimisation | None
    findings: Findings | None
    receipt: Any
    hashes: dict[VersionFile, str]
    example: Example | None
    sizes: dict[str, tuple[int, ...]]
    prepared_by: PreparedBy | None
    framework: str
    bytes: int
    created_at: datetime


def report(shown: records.Version) -> Report:
    found = decode(shown.preparation, Preparation)
    return Report(
        model_id=shown.model_id,
        number=shown.number,
        state=shown.state,
        reason=shown.reason,
        refusal=found.refusal if found else None,
        signature=shown.signature,
        passport=shown.passport,
        certificate=shown.certificate,
        optimisation=found.optimisation if found else None,
        findings=found.findings if found else None,
        receipt=msgspec.json.decode(shown.receipt) if shown.receipt else None,
        hashes=_hashes(shown),
        example=found.example if found else None,
        sizes=found.sizes if found else {},
        prepared_by=PreparedBy(found.onnxruntime, found.host_class) if found else None,
        framework=shown.framework,
        bytes=shown.bytes,
        created_at=shown.created_at,
    )


def _hashes(shown: records.Version) -> dict[VersionFile, str]:
    """SHA-256 of the uploaded files."""
    weights = {VersionFile.WEIGHTS: shown.weights.sha256} if shown.weights else {}
    return {VersionFile.MODEL: shown.sha256} | weights


class IssuedModelToken(msgspec.Struct, frozen=True):
    """A token that may only infer one model, at the one moment it is shown."""

    id: str
    token: str
    hint: str
    name: str
    created_at: datetime


def issued_token(made: records.Token, plain: str) -> IssuedModelToken:
    return IssuedModelToken(made.id, plain, made.hint, made.name, made.created_at)


class Inference(msgspec.Struct, frozen=True):
    """A call of a model.

    Attributes:
        model: its id.
        inputs: by name; `modelInput` is taken for the only input of a model. Tensors are nested lists, rows
            first.
        inputs_from: instead of them, the id of a payload that is this object.
        token: the model's token, where it is not sent as `Authorization: Bearer`.
    """

    model: str
    inputs: dict[str, Any] | None = None
    token: str | None = None
    inputs_from: str | None = None


class ResultFrom(msgspec.Struct, frozen=True):
    """Where an answer is that is too large for this one: a GET without credentials, for some seconds.

    Attributes:
        json_bytes: how much of it is JSON, where binary tensors follow.
    """

    url: str
    expires_in: int
    bytes: int
    content_type: str
    json_bytes: int | None = None


class InferenceResult(msgspec.Struct, frozen=True):
    """An answer, or where it is.

    Attributes:
        result: outputs by name, as nested lists.
        result_from: instead of them, where it is too large; the header X-Rocket-Result-From says so too.
    """

    result: dict[str, Any] | None = None
    result_from: ResultFrom | None = None


class Payload(msgspec.Struct, frozen=True):
    """Inputs that are to be stored, and named by their id in `inputs_from` or X-Rocket-Inputs-From.

    Attributes:
        expires_in: seconds for which the grant is good. The bytes are kept for a day.
    """

    id: str
    upload: Grant
    expires_in: int


class Grant(msgspec.Struct, frozen=True):
    """A request to the store that has been signed: with exactly these headers."""

    method: str
    url: str
    headers: dict[str, str]


def payload(begun: BegunPayload) -> Payload:
    put = begun.upload
    return Payload(begun.id, Grant(put.method, put.url, put.headers), begun.expires_in)


class Promised(msgspec.Struct, frozen=True):
    """Where an answer will be, for the token that asked."""

    id: str
    url: str


class Promise(msgspec.Struct, frozen=True):
    """The answer is not there yet: Retry-After says when to ask for it again."""

    answer: Promised


def promise(answer_id: str, settings: Settings, request_id: str) -> Response:
    """202, whether the request was accepted just now or is still pending."""
    path = f"/v1/answers/{answer_id}"
    promised = Promise(Promised(answer_id, f"{settings.public_url}{path}"))
    headers: dict[str, str | list[str]] = {
        "Content-Type": _JSON,
        "X-Request-Id": request_id,
        "Location": path,
        "Preference-Applied": "respond-async",
        "Retry-After": str(round(limits.ANSWER_POLL_SECONDS)),
    }
    return Response(body=msgspec.json.encode(promised).decode(), status_code=202, headers=headers)


class OpenInferenceTensor(msgspec.Struct, frozen=True):
    """A tensor of Open Inference Protocol v2. Its data may follow the JSON as bytes instead."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None


class OpenInferenceRequest(msgspec.Struct, frozen=True):
    """A call of a model in Open Inference Protocol v2."""

    inputs: list[OpenInferenceTensor]
    id: str | None = None
    outputs: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class OpenInferenceAnswer(msgspec.Struct, frozen=True):
    """An answer of Open Inference Protocol v2."""

    model_name: str
    model_version: str
    outputs: list[OpenInferenceTensor]
    id: str | None = None


class OpenInferenceModel(msgspec.Struct, frozen=True):
    """A model, its versions that answer, and the tensors of one of them; -1 is a free dimension."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[OpenInferenceTensor]
    outputs: list[OpenInferenceTensor]


class OpenInferenceServer(msgspec.Struct, frozen=True):
    """What speaks the protocol."""

    name: str
    version: str
    extensions: list[str]


class OpenInferenceLive(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool


class OpenInferenceServerReady(msgspec.Struct, frozen=True):
    """A host would run a model."""

    ready: bool


class OpenInferenceReady(msgspec.Struct, frozen=True):
    """Whether the version would answer."""

    name: str
    ready: bool


def _server_timing(answer: InferenceAnswer) -> str:
    own = f"auth;dur={answer.timings.auth * 1000:.3f}, route;dur={answer.timings.route * 1000:.3f}"
    host = answer.reply.headers.get("server-timing")
    return f"{own}, {host}" if host else own
