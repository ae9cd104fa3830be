"""How a model's bytes become a version that serves.

    begin     a version in `uploading` and a grant to store exactly these bytes
    complete  the stored bytes are checked and kept, a host is asked to prepare them
    settle    what hosts found is recorded; a version that is ready asks for the traffic

Each step can be repeated and can die at any line: the next call, or the
coordinator's next tick, goes on from what is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidModel, InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import PrepareResult, PrepareStage
from chalicelib.ports import ObjectStore, Store, UploadPart
from chalicelib.records import Model, Version, VersionState
from chalicelib.traffic import Traffic

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FRAMEWORK_LENGTH_MAX: Final = 100
_NUMBER_TRIES: Final = 10
_SETTLE_BATCH: Final = 100
_ABANDONED: Final = "The upload was never completed. Upload the model again."


class BeginUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client says of the file it is about to send.

    `activate`: take the traffic over as soon as it is ready and loaded; else it waits for its owner.
    """

    name: str
    bytes: int
    sha256: str
    framework: str = ""
    producer: dict[str, str] = {}
    activate: bool = True


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

    def __init__(
        self,
        *,
        store: Store,
        objects: ObjectStore,
        hot: HotState,
        traffic: Traffic,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._objects = objects
        self._hot = hot
        self._traffic = traffic
        self._now = now
        self._new_id = new_id

    def begin(self, principal: Principal, request: BeginUpload) -> BegunUpload:
        """A new version of the tenant's model of this name, which is made if there is none."""
        _check(request)
        fresh = Model(id=self._new_id(), tenant=principal.tenant, name=request.name, created_at=self._now())
        model = self._store.ensure_model(fresh)
        version = self._add_version(model, request)
        parts = self._objects.presign_upload(version.staging_key, size=version.bytes, sha256=version.sha256)
        return BegunUpload(
            model=model,
            created=model.id == fresh.id,
            tokens=self._store.count_tokens(principal.tenant, model.id),
            version=version,
            parts=parts,
        )

    def complete(self, principal: Principal, model_id: str, number: int) -> Version:
        """Check and keep the stored bytes, and have them prepared. Safe to repeat."""
        version = self._found(principal, model_id, number).version
        if version.state is VersionState.UPLOADING:
            self._keep(version)
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
        for version in self._unfinished(VersionState.UPLOADING):
            if version.created_at < abandoned:
                self._store.finish_failed(version.id, state=VersionState.UPLOADING, reason=_ABANDONED)
                self._objects.delete(version.staging_key)

    def stage(self, model: Model, version: Version) -> PrepareStage | None:
        if version.state is VersionState.PREPARING:
            return self._hot.stage(version.id) or PrepareStage.QUEUED
        return PrepareStage.WARMING if version.becomes_active(model) else None

    def _found(self, principal: Principal, model_id: str, number: int) -> UploadStatus:
        model = self._store.model(principal.tenant, model_id)
        version = self._store.version(principal.tenant, model_id, number)
        if model is None or version is None:
            raise NotFound("There is no such version.")
        return UploadStatus(model, version, self.stage(model, version))

    def _versions_in(self, state: VersionState, *, activation_pending: bool = True) -> Sequence[Version]:
        return self._store.versions_in(state, activation_pending=activation_pending, limit=_SETTLE_BATCH)

    def _unfinished(self, state: VersionState) -> tuple[Version, ...]:
        waiting = self._versions_in(state, activation_pending=False)
        return (*self._versions_in(state), *waiting)

    def _add_version(self, model: Model, request: BeginUpload) -> Version:
        for _ in range(_NUMBER_TRIES):
            version_id = self._new_id()
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
                staging_key=f"staging/{model.tenant}/{version_id}",
                object_key=f"models/{model.tenant}/{model.id}/{version_id}/{request.sha256}.onnx",
                activation_pending=request.activate,
            )
            if self._store.add_version(version):
                return version
        raise Conflict("Too many uploads of this model at once. Try again.")

    def _keep(self, version: Version) -> None:
        """Copy the upload to its lasting key if it is what was announced."""
        stored = self._objects.stored(version.staging_key)
        if stored is None:
            if self._objects.stored(version.object_key) is not None:
                return  # another call got here first, or died right after the copy
            raise Conflict("The file has not arrived yet: send it to the URL given, then complete.")
        if stored.bytes != version.bytes:
            raise InvalidModel(
                f"The stored file has {stored.bytes} bytes, {version.bytes} were announced. Upload it again."
            )
        if stored.sha256 != version.sha256:
            raise InvalidModel("The stored file's SHA-256 is not the one announced. Upload it again.")
        try:
            self._objects.keep(stored, version.object_key)
        except Conflict:
            if self._objects.stored(version.object_key) is None:
                raise
        self._objects.delete(version.staging_key)

    def _record(self, result: PrepareResult) -> None:
        if result.signature is not None and result.passport is not None and result.reason is None:
            self._store.finish_ready(result.version_id, result.signature, result.passport)
            return
        reason = result.reason or "The host gave no reason."
        self._store.finish_failed(result.version_id, state=VersionState.PREPARING, reason=reason)


def _check(request: BeginUpload) -> None:
    if len(request.name) > limits.MODEL_NAME_LENGTH_MAX or _NAME.fullmatch(request.name) is None:
        raise InvalidRequest(
            f"name: 1 to {limits.MODEL_NAME_LENGTH_MAX} letters, digits, spaces, dots, dashes and "
            "underscores, beginning with a letter or digit"
        )
    if not 1 <= request.bytes <= limits.MODEL_BYTES_MAX:
        raise InvalidModel(
            f"bytes: a model may have 1 to {limits.MODEL_BYTES_MAX} bytes, this one has {request.bytes}"
        )
    if _SHA256.fullmatch(request.sha256) is None:
        raise InvalidRequest("sha256: 64 lower-case hex digits expected")
    if len(request.framework) > _FRAMEWORK_LENGTH_MAX:
        raise InvalidRequest(f"framework: at most {_FRAMEWORK_LENGTH_MAX} characters")
