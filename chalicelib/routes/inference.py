"""Running models: the routes that answer with what a model says."""

from __future__ import annotations

from typing import Any, Final

from chalice.app import Response

from chalicelib import views
from chalicelib.answers import Accepted, prefers_later
from chalicelib.api import Asked, Routes
from chalicelib.contract import metadata
from chalicelib.contract.encodings import decoded
from chalicelib.contract.inference import bearer, read_deadline, read_sticky_key
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.transfers import INPUTS_FROM
from chalicelib.payloads import BeginPayload
from chalicelib.routing import InferenceCall, OpenInference
from chalicelib.wiring import control_plane as plane

route = Routes()
_HEADER_LENGTH: Final = metadata.HEADER_LENGTH.lower()
_INPUTS_FROM: Final = INPUTS_FROM.lower()


@route("POST", "/inference", accepts=views.Inference, answers=views.InferenceResult)
def inference(asked: Asked) -> Response:
    """Run a model."""
    return _answered(asked, _call(asked))


@route(
    "POST",
    "/v2/models/{model_id}/infer",
    "/v2/models/{model_id}/versions/{number}/infer",
    open_inference=True,
    accepts=views.OpenInferenceRequest,
    answers=views.OpenInferenceAnswer,
)
def open_inference(asked: Asked, model_id: str, number: str = "") -> Response:
    """Run a model, in Open Inference Protocol v2: JSON, or JSON and binary tensors."""
    call = _call(asked, OpenInference(ModelPath(model_id, number), asked.headers.get(_HEADER_LENGTH)))
    return _answered(asked, call)


@route(
    "GET",
    "/v2/models/{model_id}",
    "/v2/models/{model_id}/versions/{number}",
    open_inference=True,
    answers=views.OpenInferenceModel,
)
def describe_model(asked: Asked, model_id: str, number: str = "") -> dict[str, Any]:
    """The tensors that a model takes and gives."""
    return metadata.model(*plane().router.describe(_authorization(asked), ModelPath(model_id, number)))


@route(
    "GET",
    "/v2/models/{model_id}/ready",
    "/v2/models/{model_id}/versions/{number}/ready",
    open_inference=True,
    answers=views.OpenInferenceReady,
)
def model_ready(asked: Asked, model_id: str, number: str = "") -> dict[str, Any]:
    """Whether a model would answer."""
    return metadata.ready(*plane().router.describe(_authorization(asked), ModelPath(model_id, number)))


@route("GET", "/v2", open_inference=True, answers=views.OpenInferenceServer)
def describe_server() -> dict[str, Any]:
    """What speaks Open Inference Protocol v2 here."""
    return metadata.server()


@route("GET", "/v2/health/live", open_inference=True, answers=views.OpenInferenceLive)
def live() -> dict[str, Any]:
    """The process answers."""
    return {"live": True}


@route("GET", "/v2/health/ready", open_inference=True, answers=views.OpenInferenceServerReady)
def ready() -> dict[str, Any]:
    """Whether a host would run a model."""
    plane().router.check_ready()
    return {"ready": True}


@route("POST", "/v1/payloads", status=201)
def begin_payload(asked: Asked, body: BeginPayload) -> views.Payload:
    """Announce inputs that are too large for a request, and get a grant to store them."""
    tenant = plane().router.permit(bearer(_authorization(asked)), body.model, size=body.bytes).tenant
    return views.payload(plane().payloads.begin(tenant, body.bytes))


@route("GET", "/v1/answers/{answer_id}", answers=views.InferenceResult)
def get_answer(asked: Asked, answer_id: str) -> Response:
    """The answer to a request that was sent with `Prefer: respond-async`, by the token that sent it."""
    answer = plane().answers.fetch(_authorization(asked), answer_id)
    if answer is None:
        return views.promise(answer_id, plane().settings, asked.request_id)
    return views.inference(answer, asked.request_id)


def _call(asked: Asked, spoken: OpenInference | None = None) -> InferenceCall:
    return InferenceCall(
        body=decoded(asked.raw, asked.headers.get("content-encoding", "")),
        authorization=_authorization(asked),
        request_id=asked.request_id,
        deadline_seconds=read_deadline(asked.headers.get("x-deadline-ms")),
        sticky=read_sticky_key(asked.headers.get("x-sticky-key")),
        open_inference=spoken,
        inputs_from=asked.headers.get(_INPUTS_FROM, "") if spoken else "",
        callers_id=asked.headers.get("x-request-id") == asked.request_id,
    )


def _answered(asked: Asked, call: InferenceCall) -> Response:
    if not prefers_later(asked.headers.get("prefer")):
        return views.inference(plane().router.infer(call), asked.request_id)
    answer = plane().answers.accept(call)
    if isinstance(answer, Accepted):
        return views.promise(answer.answer_id, plane().settings, asked.request_id)
    return views.inference(answer, asked.request_id)


def _authorization(asked: Asked) -> str | None:
    return asked.headers.get("authorization")
