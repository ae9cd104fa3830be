"""How a model's bytes become a version that serves.

    begin     a version in `uploading` and grants to store exactly these bytes; the same bytes again
              go on with it where it was
    missing   fresh grants for what has not arrived
    complete  the stored bytes are checked and kept, a host is asked to prepare them
    settle    what hosts found is recorded; a version that is ready asks for the traffic, of one that failed
              the bytes go

Each step can be repeated and can die at any line: the next call, or the
coordinator's next tick, goes on from what is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from chalicelib.arrivals import Arrivals
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, DependencyFailed, InvalidModel, InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import PrepareResult, PrepareStage, WeightsFile
from chalicelib.ports import Store, UploadPart
from chalicelib.quotas import Quotas
from chalicelib.records import Model, Version, VersionState
from chalicelib.traffic import Traffic

STAGING: Final = "staging/"
"""Of the keys of graphs that nobody has looked at yet."""
MODELS: Final = "models/"
"""Of the keys of what is kept."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FRAMEWORK_LENGTH_MAX: Final = 100
_NUMBER_TRIES: Final = 10
_SETTLE_BATCH: Final = 100
_ABANDONED: Final = "The upload was never completed. Upload the model again."


class AnnouncedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is to come."""

    bytes: int
    sha256: str


class BeginUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client says of the files it is about to send: the graph, and its weights where they are apart.

    `activate`: take the traffic over as soon as it is ready and loaded; else it waits for its owner.
    """

    name: str
    bytes: int
    sha256: str
    framework: str = ""
    receipt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    activate: bool = True
    weights: AnnouncedFile | None = None

    @property
    def bytes_in_all(self) -> int:
        return self.bytes + (self.weights.bytes if self.weights else 0)


@dataclass(frozen=True, slots=True)
class BegunUpload:
    model: Model
    created: bool
    tokens: int
    version: Version
    parts: tuple[UploadPart, ...]


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """`stage`: where its preparation stands; None when none is under way."""

    model: Model
    version: Version
    stage: PrepareStage | None


class Uploads:
    """The upload use cases."""

    def __init__(  # noqa: PLR0913 - what it is composed of
        self,
        *,
        store: Store,
        arrivals: Arrivals,
        hot: HotState,
        traffic: Traffic,
        quotas: Quotas,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._arrivals = arrivals
        self._hot = hot
        self._traffic = traffic
        self._quotas = quotas
        self._now = now
        self._new_id = new_id

    def begin(self, principal: Principal, request: BeginUpload, *, seed: bytes | None = None) -> BegunUpload:
        """A new version of the tenant's model of this name, which is made if there is none.

        The model's latest version goes on if it still waits for the same content. With the same `seed`
        it is always the same version, wherever it stands by now. Neither is counted against quotas again.
        """
        _check(request)
        if request.weights is not None:
            self._check_fits(request.bytes_in_all)
        known = self._store.model_named(principal.tenant, request.name)
        seeded_id = None if seed is None else str(UUID(bytes=seed[:16], version=4))
        begun = self._begun(known, request, seeded_id)
        if begun is None:
            self._quotas.check_upload(principal.tenant, known, size=request.bytes_in_all)
        fresh = Model(id=self._new_id(), tenant=principal.tenant, name=request.name, created_at=self._now())
        model = known or self._store.ensure_model(fresh)
        version = begun or self._add_version(model, request, seeded_id or self._new_id())
        return BegunUpload(
            model=model,
            created=model.id == fresh.id,
            tokens=self._store.count_tokens(principal.tenant, model.id, at=self._now()),
            version=version,
            parts=self._arrivals.missing(version) if version.state is VersionState.UPLOADING else (),
        )

    def missing(self, principal: Principal, model_id: str, number: int) -> tuple[UploadPart, ...]:
        """Fresh grants for what has not arrived. Raises NotFound, Conflict once it is complete."""
        version = self._found(principal, model_id, number).version
        if version.state is not VersionState.UPLOADING:
            raise Conflict(f"Version {number} is {version.state}: nothing of it is waited for.")
        return self._arrivals.missing(version)

    def complete(self, principal: Principal, model_id: str, number: int) -> Version:
        """Check and keep the stored bytes, and have them prepared. Safe to repeat."""
        version = self._found(principal, model_id, number).version
        if version.state is VersionState.UPLOADING:
            self._arrivals.keep(version)
            self._store.start_preparing(version.id)
            version = self._store.any_version(version.id) or version
        if version.state is VersionState.PREPARING:
            self._hot.enqueue(version.job())
        return version

    def status(self, principal: Principal, model_id: str, number: int) -> UploadStatus:
        """Where a version stands, after whatever could be done for it by now. Raises NotFound."""
        self._found(principal, model_id, number)
        self.settle()
        self._traffic.advance(self._found(principal, model_id, number).model)
        return self._found(principal, model_id, number)

    def settle(self) -> int:
        """Record what hosts found; what is ready asks for the traffic. Returns how many there were."""
        results = self._hot.results(count=_SETTLE_BATCH)
        for entry_id, result in results:
            if result is not None and not result.retry:
                self._record(result)
            self._hot.drop_result(entry_id, version_id=result.version_id if result else None)
        for version in self._versions_in(VersionState.READY):
            self._traffic.ask(version)
            self._store.activation_done(version.id)
        return len(results)

    def repair(self) -> None:
        """Ask again for versions whose job was lost, and give up uploads nobody completed."""
        for version in self._unfinished(VersionState.PREPARING):
            self._hot.enqueue(version.job())
        abandoned = self._now() - timedelta(seconds=limits.UPLOAD_ABANDONED_SECONDS)
        late = [one for one in self._unfinished(VersionState.UPLOADING) if one.created_at < abandoned]
        for version in late:
            if self._store.finish_failed(version.id, state=VersionState.UPLOADING, reason=_ABANDONED):
                self._arrivals.give_up(version)

    def _found(self, principal: Principal, model_id: str, number: int) -> UploadStatus:
        model = self._store.model(principal.tenant, model_id)
        version = self._store.version(principal.tenant, model_id, number)
        if model is None or version is None:
            raise NotFound("There is no such version.")
        told = self._hot.stage(version.id) if version.state is VersionState.PREPARING else None
        return UploadStatus(model, version, version.stage(model, told=told))

    def _versions_in(self, state: VersionState, *, activation_pending: bool = True) -> Sequence[Version]:
        return self._store.versions_in(state, activation_pending=activation_pending, limit=_SETTLE_BATCH)

    def _unfinished(self, state: VersionState) -> tuple[Version, ...]:
        waiting = self._versions_in(state, activation_pending=False)
        return (*self._versions_in(state), *waiting)

    def _check_fits(self, size: int) -> None:
        """Before anybody sends so much: raises InvalidModel for what no host there is has the memory for."""
        _, hosts = self._hot.hosts()
        largest = max((host.memory_bytes_max for host in hosts), default=size)
        if size > largest:
            raise InvalidModel(
                f"It has {size / 2**30:.3g} GiB; the largest host here has {largest / 2**30:.3g} GiB for "
                "models. Make it smaller (quantise it, for example)."
            )

    def _begun(self, model: Model | None, request: BeginUpload, seeded_id: str | None) -> Version | None:
        """What the same request, or the same announcement, has begun before."""
        begun = self._store.any_version(seeded_id) if seeded_id else None
        return begun or (self._interrupted(model, request) if model else None)

    def _interrupted(self, model: Model, request: BeginUpload) -> Version | None:
        """The latest version, if its upload was begun by the same announcement and not completed."""
        latest = self._store.last_number(model.tenant, model.id)
        version = self._store.version(model.tenant, model.id, latest) if latest else None
        if version is None or version.state is not VersionState.UPLOADING:
            return None
        return version if _was_begun_by(version, request) else None

    def _add_version(self, model: Model, request: BeginUpload, version_id: str) -> Version:
        folder = f"{MODELS}{model.tenant}/{model.id}/{version_id}"
        for _ in range(_NUMBER_TRIES):
            version = Version(
                id=version_id,
                model_id=model.id,
                tenant=model.tenant,
                number=max(model.numbers_used, self._store.last_number(model.tenant, model.id)) + 1,
                state=VersionState.UPLOADING,
                created_at=self._now(),
                bytes=request.bytes,
                sha256=request.sha256,
                framework=request.framework,
                receipt=_receipt(request),
                staging_key=f"{STAGING}{model.tenant}/{version_id}",
                object_key=f"{folder}/{request.sha256}.onnx",
                weights=_weights(request, folder),
                activation_pending=request.activate,
            )
            if self._store.add_version(version):
                return version
        raise Conflict("Too many uploads of this model at once. Try again.")

    def _record(self, result: PrepareResult) -> None:
        if result.signature is not None and result.passport is not None and result.reason is None:
            self._store.finish_ready(result)
            return
        self._store.finish_failed(
            result.version_id,
            state=VersionState.PREPARING,
            reason=result.reason or "The host gave no reason.",
            preparation=result.preparation,
        )
        failed = self._store.any_version(result.version_id)
        if failed is not None and failed.state is VersionState.FAILED:
            with suppress(DependencyFailed):  # then it goes with the version
                self._arrivals.give_up(failed)


def _is_receipt(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return len(content) <= limits.RECEIPT_BYTES_MAX and bool(content.decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _receipt(request: BeginUpload) -> str | None:
    """As JSON: what is in it is the client's affair."""
    return bytes(request.receipt).decode() if request.receipt else None


def _was_begun_by(version: Version, request: BeginUpload) -> bool:
    """As far as it matters to whoever sends it: the same bytes, from the same framework, for the same end."""
    weights = request.weights
    announced = WeightsFile(weights.sha256, weights.bytes, "") if weights else None
    kept = msgspec.structs.replace(version.weights, object_key="") if version.weights else None
    return (version.bytes, version.sha256, kept, version.framework, version.activation_pending) == (
        request.bytes,
        request.sha256,
        announced,
        request.framework,
        request.activate,
    )


def _check(request: BeginUpload) -> None:
    if len(request.name) > limits.MODEL_NAME_LENGTH_MAX or _NAME.fullmatch(request.name) is None:
        raise InvalidRequest(
            f"name: 1 to {limits.MODEL_NAME_LENGTH_MAX} letters, digits, spaces, dots, dashes and "
            "underscores, beginning with a letter or digit"
        )
    _check_file("", request.bytes, request.sha256, bytes_max=limits.MODEL_BYTES_MAX)
    if request.weights is not None:
        weights = request.weights
        _check_file("weights.", weights.bytes, weights.sha256, bytes_max=limits.WEIGHTS_BYTES_MAX)
    if not _is_receipt(bytes(request.receipt or b"{}")):
        raise InvalidRequest(f"receipt: an object of at most {limits.RECEIPT_BYTES_MAX} bytes as JSON")
    if len(request.framework) > _FRAMEWORK_LENGTH_MAX:
        raise InvalidRequest(f"framework: at most {_FRAMEWORK_LENGTH_MAX} characters")


def _check_file(field: str, size: int, sha256: str, *, bytes_max: int) -> None:
    if not 1 <= size <= bytes_max:
        raise InvalidModel(
            f"{field}bytes: a file of a model may have 1 to {bytes_max} bytes here, this one has {size}"
        )
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidRequest(f"{field}sha256: 64 lower-case hex digits expected")


def _weights(request: BeginUpload, folder: str) -> WeightsFile | None:
    if request.weights is None:
        return None
    announced = request.weights
    return WeightsFile(announced.sha256, announced.bytes, f"{folder}/{announced.sha256}.weights")
