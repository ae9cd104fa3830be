"""An inference request as it came, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, PayloadTooLarge
from chalicelib.contract.inference import read_inference
from chalicelib.contract.metadata import HEADER_LENGTH, ModelPath, read_header_length
from chalicelib.contract.transfers import INLINE_MAX, INPUTS_FROM


class OpenInference(msgspec.Struct, frozen=True):
    """What a request of Open Inference Protocol v2 says beside its body; `header_length` is as it came."""

    path: ModelPath
    header_length: str | None = None


class InferenceCall(msgspec.Struct, frozen=True):
    """A request as it came, and what the gateway gave it. `sticky` keeps a caller with one version.

    `open_inference`: the body is of that protocol, else of `POST /inference`. `callers_id`: the request's id
    is the caller's own, so that the same request may come again under it. `inputs_from`: a payload is the
    body of that protocol.
    """

    body: bytes
    authorization: str | None
    request_id: str
    deadline_seconds: float
    sticky: str | None = None
    open_inference: OpenInference | None = None
    callers_id: bool = False
    inputs_from: str = ""

    @property
    def version(self) -> str:
        """The number of the one version that may answer, empty where any may."""
        return "" if self.open_inference is None else self.open_inference.path.version


class Asked(msgspec.Struct, frozen=True):
    """What a body asks for. `headers` go to the host with `inputs`, and tell how to read them.

    `inputs_from`: the id of the payload that they are, where there are none here. `answer_id`: the host is to
    accept the request at once, and to answer later under this id.
    """

    model_id: str
    token: str | None
    inputs: bytes
    headers: Mapping[str, str]
    inputs_from: str = ""
    answer_id: str = ""


_INLINE = {INLINE_MAX: str(limits.RESPONSE_BYTES_LAMBDA_MAX)}
_JSON_HEADERS = {"Content-Type": "application/json", **_INLINE}


def read_call(call: InferenceCall) -> Asked:
    """Raises PayloadTooLarge, InvalidRequest."""
    if len(call.body) > limits.BODY_BYTES_MAX:
        raise PayloadTooLarge(
            f"The body has {len(call.body)} bytes, {limits.BODY_BYTES_MAX} are allowed. "
            "Send fewer rows at once."
        )
    if call.open_inference is not None:
        return _open_inference(call, call.open_inference)
    body = read_inference(call.body)
    inputs = b"" if body.inputs_from else bytes(body.inputs)
    return Asked(body.model, body.token, inputs, _JSON_HEADERS, body.inputs_from or "")


def _open_inference(call: InferenceCall, told: OpenInference) -> Asked:
    """How much of a payload is JSON, its host compares with what it finds there."""
    if call.inputs_from and call.body:
        raise InvalidRequest(f"There are both a body and {INPUTS_FROM}: send one of them.")
    size = limits.PAYLOAD_BYTES_MAX if call.inputs_from else len(call.body)
    length = read_header_length(told.header_length, body_bytes=size)
    headers = {"Content-Type": "application/octet-stream", "X-Rocket-Form": "v2", **_INLINE}
    if length is not None:
        headers[HEADER_LENGTH] = str(length)
    return Asked(told.path.model_id, None, call.body, headers, call.inputs_from)
