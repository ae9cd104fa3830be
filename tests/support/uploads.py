"""An upload as the client does it, for tests of what comes after."""

from __future__ import annotations

import hashlib

import httpx

from chalicelib.auth import Principal
from chalicelib.contract.messages import Certificate, Passport, PrepareResult, Signature, TensorSignature
from chalicelib.records import Version
from chalicelib.uploads import BeginUpload, BegunUpload
from chalicelib.wiring import ControlPlane

SIGNATURE = Signature(
    inputs=(TensorSignature("modelInput", "float32", (None, 4)),),
    outputs=(TensorSignature("modelOutput", "float32", (None, 2)),),
)
PASSPORT = Passport(load_ms=5.0, run_ms=0.1, memory_bytes=1_000_000)
CERTIFICATE = Certificate(True, "shown")


def announce(data: bytes, *, name: str = "digits") -> BeginUpload:
    return BeginUpload(
        name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), framework="test 1.0"
    )


def send(begun: BegunUpload, data: bytes) -> list[httpx.Response]:
    """Every part, straight to the store."""
    return [
        httpx.put(part.url, content=data[part.offset : part.offset + part.bytes], headers=part.headers)
        for part in begun.parts
    ]


def uploaded(plane: ControlPlane, who: Principal, data: bytes, *, name: str = "digits") -> Version:
    """A version that is preparing."""
    begun = plane.uploads.begin(who, announce(data, name=name))
    assert {reply.status_code for reply in send(begun, data)} == {200}
    return plane.uploads.complete(who, begun.model.id, begun.version.number)


def prepared(plane: ControlPlane, version: Version, *, reason: str | None = None) -> None:
    """As if a host had prepared it: well, or failing for this reason."""
    claimed = plane.hot.take_job("host-1", wait_ms=1_000)
    assert claimed is not None
    assert claimed.job == version.job()
    result = PrepareResult(version_id=version.id, host_id="host-1", reason=reason)
    if reason is None:
        result = PrepareResult(
            version_id=version.id, host_id="host-1", signature=SIGNATURE, passport=PASSPORT
        )
    plane.hot.finish_job(claimed.entry_id, result)


def deployed(plane: ControlPlane, who: Principal, data: bytes, *, name: str = "digits") -> Version:
    """A version that is ready and has the traffic."""
    version = uploaded(plane, who, data, name=name)
    prepared(plane, version)
    plane.uploads.settle()
    return plane.models.version(who, version.model_id, version.number)
