"""The HTTP API and the scheduled coordinator: each route parses, calls one use case, serialises."""

from __future__ import annotations

from typing import Any

import msgspec
from chalice.app import CloudWatchEvent, Rate, Request, Response

from chalicelib import __version__, views
from chalicelib.contract import metadata
from chalicelib.contract.inference import read_deadline, read_number, read_sticky_key
from chalicelib.contract.metadata import ModelPath
from chalicelib.http import Boundary, read_body, read_query, read_raw
from chalicelib.routing import InferenceCall, OpenInference
from chalicelib.threadsafe import ThreadSafeChalice
from chalicelib.traffic import ChangeTraffic, RollBack
from chalicelib.uploads import BeginUpload
from chalicelib.wiring import control_plane, new_id

app = ThreadSafeChalice(app_name="modelrocket")
boundary = Boundary(app, new_id=new_id)
_ANY_TYPE = ["*/*"]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/models/{id}/tokens`."""

    name: str = ""


@app.route("/inference", methods=["POST"], content_types=_ANY_TYPE)
@boundary.view
def inference(request: Request, request_id: str) -> Response:
    call = InferenceCall(
        body=read_raw(request),
        authorization=request.headers.get("authorization"),
        request_id=request_id,
        deadline_seconds=read_deadline(request.headers.get("x-deadline-ms")),
        sticky=read_sticky_key(request.headers.get("x-sticky-key")),
    )
    return views.inference(control_plane().router.infer(call), request_id)


@app.route("/v2/models/{model_id}/infer", methods=["POST"], content_types=_ANY_TYPE)
@app.route("/v2/models/{model_id}/versions/{number}/infer", methods=["POST"], content_types=_ANY_TYPE)
@boundary.open_inference_view
def open_inference(request: Request, request_id: str, model_id: str, number: str = "") -> Response:
    header_length = request.headers.get(metadata.HEADER_LENGTH)
    call = InferenceCall(
        body=read_raw(request),
        authorization=request.headers.get("authorization"),
        request_id=request_id,
        deadline_seconds=read_deadline(request.headers.get("x-deadline-ms")),
        sticky=read_sticky_key(request.headers.get("x-sticky-key")),
        open_inference=OpenInference(ModelPath(model_id, number), header_length),
    )
    return views.inference(control_plane().router.infer(call), request_id)


@app.route("/v2/models/{model_id}", methods=["GET"])
@app.route("/v2/models/{model_id}/versions/{number}", methods=["GET"])
@boundary.open_inference_view
def describe_model(request: Request, _request_id: str, model_id: str, number: str = "") -> dict[str, Any]:
    path = ModelPath(model_id, number)
    return metadata.model(*control_plane().router.describe(request.headers.get("authorization"), path))


@app.route("/v2/models/{model_id}/ready", methods=["GET"])
@app.route("/v2/models/{model_id}/versions/{number}/ready", methods=["GET"])
@boundary.open_inference_view
def model_ready(request: Request, _request_id: str, model_id: str, number: str = "") -> dict[str, Any]:
    path = ModelPath(model_id, number)
    return metadata.ready(*control_plane().router.describe(request.headers.get("authorization"), path))


@app.route("/v1/models", methods=["GET"])
@boundary.view
def list_models(request: Request, _request_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    models = plane.models.list(principal, after=read_query(request, "after"))
    return views.models(models, plane.settings)


@app.route("/v1/models", methods=["POST"], content_types=_ANY_TYPE)
@boundary.view
def begin_upload(request: Request, _request_id: str) -> Response:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    begun = plane.uploads.begin(principal, read_body(request, BeginUpload))
    return Response(body=views.begun_upload(begun), status_code=201)


@app.route("/v1/models/{model_id}", methods=["GET"])
@boundary.view
def get_model(request: Request, _request_id: str, model_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    return views.model_in_full(plane.traffic.show(principal, model_id), plane.settings)


@app.route("/v1/models/{model_id}", methods=["DELETE"])
@boundary.view
def delete_model(request: Request, _request_id: str, model_id: str) -> Response:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    plane.deletion.delete_model(principal, model_id)
    return Response(body="", status_code=204)


@app.route("/v1/models/{model_id}/traffic", methods=["GET"])
@boundary.view
def get_traffic(request: Request, _request_id: str, model_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    shown = plane.traffic.show(principal, model_id)
    history = plane.traffic.history(principal, model_id)
    return views.traffic(shown) | {"history": views.traffic_history(history)}


@app.route("/v1/models/{model_id}/traffic", methods=["PUT"], content_types=_ANY_TYPE)
@boundary.view
def put_traffic(request: Request, _request_id: str, model_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    return views.traffic(plane.traffic.change(principal, model_id, read_body(request, ChangeTraffic)))


@app.route("/v1/models/{model_id}/rollback", methods=["POST"], content_types=_ANY_TYPE)
@boundary.view
def roll_back(request: Request, _request_id: str, model_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    return views.traffic(plane.traffic.roll_back(principal, model_id, read_body(request, RollBack)))


@app.route("/v1/models/{model_id}/tokens", methods=["POST"], content_types=_ANY_TYPE)
@boundary.view
def issue_token(request: Request, _request_id: str, model_id: str) -> Response:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    issued = plane.auth.issue_model_token(principal, model_id, name=read_body(request, NewToken).name)
    return Response(body=views.issued_token(issued), status_code=201)


@app.route("/v1/models/{model_id}/versions", methods=["GET"])
@boundary.view
def list_versions(request: Request, _request_id: str, model_id: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    model = plane.models.get(principal, model_id)
    after = read_number(read_query(request, "after") or "0", name="after")
    versions = plane.models.versions(principal, model_id, after=after)
    return {"versions": [views.version(version, model) for version in versions]}


@app.route("/v1/models/{model_id}/versions/{number}", methods=["GET"])
@boundary.view
def get_version(request: Request, _request_id: str, model_id: str, number: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    status = plane.uploads.status(principal, model_id, read_number(number, name="version"))
    return views.upload_status(status)


@app.route("/v1/models/{model_id}/versions/{number}/report", methods=["GET"])
@boundary.view
def get_report(request: Request, _request_id: str, model_id: str, number: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    status = plane.uploads.status(principal, model_id, read_number(number, name="version"))
    return views.report(status.version)


@app.route("/v1/models/{model_id}/versions/{number}", methods=["DELETE"])
@boundary.view
def delete_version(request: Request, _request_id: str, model_id: str, number: str) -> Response:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    plane.deletion.delete_version(principal, model_id, read_number(number, name="version"))
    return Response(body="", status_code=204)


@app.route("/v1/models/{model_id}/versions/{number}/complete", methods=["POST"], content_types=_ANY_TYPE)
@boundary.view
def complete_upload(request: Request, _request_id: str, model_id: str, number: str) -> Response:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    version = plane.uploads.complete(principal, model_id, read_number(number, name="version"))
    status = plane.uploads.status(principal, model_id, version.number)
    return Response(body=views.upload_status(status), status_code=202)


@app.route("/v1/models/{model_id}/versions/{number}/upload", methods=["GET"])
@boundary.view
def get_upload(request: Request, _request_id: str, model_id: str, number: str) -> dict[str, Any]:
    plane = control_plane()
    principal = plane.auth.principal(request.headers.get("authorization"))
    missing = plane.uploads.missing(principal, model_id, read_number(number, name="version"))
    return views.upload(missing)


@app.route("/v1/limits", methods=["GET"])
@boundary.view
def get_limits(_request: Request, _request_id: str) -> dict[str, Any]:
    return views.limits_published(control_plane().settings)


@app.route("/healthz", methods=["GET"])
@boundary.view
def healthz(_request: Request, _request_id: str) -> dict[str, Any]:
    return {"status": "ok", "version": __version__}


@app.schedule(Rate(1, unit=Rate.MINUTES))
def coordinate(_event: CloudWatchEvent) -> dict[str, int]:
    """The coordinator: EventBridge's smallest step is a minute, so it loops inside."""
    return {"passes": control_plane().reconciler.run()}
