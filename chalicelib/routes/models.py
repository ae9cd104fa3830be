"""Models, their versions and their traffic."""

from __future__ import annotations

from chalicelib import views
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal
from chalicelib.contract.messages import Scope
from chalicelib.traffic import ChangeTraffic, RollBack
from chalicelib.uploads import BeginUpload
from chalicelib.wiring import control_plane as plane

route = Routes()


@route("GET", "/v1/models", scope=Scope.MODELS_READ)
def list_models(principal: Principal, after: str = "") -> views.ModelsPage:
    """Your models, in order of id."""
    listed = plane().models.list(principal, after=after)
    return views.models(listed, plane().overview.of(listed), plane().settings)


@route("POST", "/v1/models", scope=Scope.MODELS_WRITE, status=201, audit="upload.begin", secret=True)
def begin_upload(principal: Principal, asked: Asked, body: BeginUpload) -> views.Begun:
    """Announce a model's file: a new version of the model of this name, and grants to store its bytes."""
    return views.begun_upload(plane().uploads.begin(principal, body, seed=asked.seed))


@route("GET", "/v1/models/{model_id}", scope=Scope.MODELS_READ)
def get_model(principal: Principal, model_id: str) -> views.Model:
    """One model."""
    shown = plane().traffic.show(principal, model_id)
    seen = plane().overview.of([shown.model])[model_id]
    return views.model_in_full(shown, seen, plane().settings)


@route("DELETE", "/v1/models/{model_id}", scope=Scope.MODELS_WRITE, audit="model.delete")
def delete_model(principal: Principal, model_id: str) -> None:
    """Delete a model with all its versions and tokens."""
    plane().deletion.delete_model(principal, model_id)


@route("GET", "/v1/models/{model_id}/traffic", scope=Scope.MODELS_READ)
def get_traffic(principal: Principal, model_id: str) -> views.TrafficWithHistory:
    """Where a model's traffic goes, and how it came to be."""
    shown = plane().traffic.show(principal, model_id)
    return views.traffic_with_history(shown, plane().traffic.history(principal, model_id))


@route("PUT", "/v1/models/{model_id}/traffic", scope=Scope.MODELS_WRITE, audit="model.traffic")
def put_traffic(principal: Principal, model_id: str, body: ChangeTraffic) -> views.Traffic:
    """Activate a version, put one on trial beside the active one, or end a trial."""
    return views.traffic(plane().traffic.change(principal, model_id, body))


@route("POST", "/v1/models/{model_id}/rollback", scope=Scope.MODELS_WRITE, audit="model.rollback")
def roll_back(principal: Principal, model_id: str, body: RollBack) -> views.Traffic:
    """End a trial, or go back to the version that was active before."""
    return views.traffic(plane().traffic.roll_back(principal, model_id, body))


@route("GET", "/v1/models/{model_id}/versions", scope=Scope.MODELS_READ)
def list_versions(principal: Principal, model_id: str, after: int = 0) -> views.VersionsPage:
    """The versions of a model, oldest first."""
    model = plane().models.get(principal, model_id)
    listed = plane().models.versions(principal, model_id, after=after)
    return views.versions(listed, model, plane().overview.stages(model, listed))


@route("GET", "/v1/models/{model_id}/versions/{number}", scope=Scope.MODELS_READ)
def get_version(principal: Principal, model_id: str, number: int) -> views.Version:
    """One version, and where its preparation stands."""
    return views.upload_status(plane().uploads.status(principal, model_id, number))


@route("DELETE", "/v1/models/{model_id}/versions/{number}", scope=Scope.MODELS_WRITE, audit="version.delete")
def delete_version(principal: Principal, model_id: str, number: int) -> None:
    """Delete a version that has no traffic."""
    plane().deletion.delete_version(principal, model_id, number)


@route("GET", "/v1/models/{model_id}/versions/{number}/report", scope=Scope.MODELS_READ)
def get_report(principal: Principal, model_id: str, number: int) -> views.Report:
    """All that was measured and proved of a version."""
    return views.report(plane().uploads.status(principal, model_id, number).version)


@route("GET", "/v1/models/{model_id}/versions/{number}/upload", scope=Scope.MODELS_WRITE)
def get_upload(principal: Principal, model_id: str, number: int) -> views.Upload:
    """Fresh grants for what has not arrived of an upload."""
    return views.upload(plane().uploads.missing(principal, model_id, number))


@route(
    "POST",
    "/v1/models/{model_id}/versions/{number}/complete",
    scope=Scope.MODELS_WRITE,
    status=202,
    audit="upload.complete",
)
def complete_upload(principal: Principal, model_id: str, number: int) -> views.Version:
    """Everything has been sent: have it checked and prepared."""
    version = plane().uploads.complete(principal, model_id, number)
    return views.upload_status(plane().uploads.status(principal, model_id, version.number))
