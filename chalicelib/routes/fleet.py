"""The fleet: what it is doing, and why."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chalicelib import fleetviews, views
from chalicelib.api import Routes
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.messages import Scope
from chalicelib.models import Pin
from chalicelib.wiring import control_plane as plane

route = Routes()
_DECISIONS = 20
_Page = Annotated[int, Meta(ge=1, le=limits.PAGE_SIZE_MAX)]


@route("GET", "/v1/fleet", scope=Scope.OPERATE)
def get_fleet(principal: Principal) -> fleetviews.Fleet:
    """The hosts there are, how many there should be, and why."""
    return fleetviews.shown(plane().fleet.show(), plane().inventory.quarantined())


@route("GET", "/v1/fleet/hosts/{host_id}/versions", scope=Scope.OPERATE)
def list_versions_of_host(principal: Principal, host_id: str, after: str = "") -> fleetviews.HostedVersions:
    """The versions that a host is to hold, of all accounts."""
    return fleetviews.hosted(plane().inventory.of_host(host_id, after=after))


@route("GET", "/v1/fleet/decisions", scope=Scope.OPERATE)
def list_decisions(
    principal: Principal, before: int = 0, limit: _Page = _DECISIONS, model: str = ""
) -> fleetviews.Decisions:
    """What the coordinator did and why, newest first; with `model`, all that was said of it."""
    explained = plane().fleet.decisions(before=before or None, limit=limit, model_id=model)
    return fleetviews.decisions(explained, limit=limit)


@route("GET", "/v1/models/{model_id}/decisions", scope=Scope.MODELS_READ)
def list_model_decisions(
    principal: Principal, model_id: str, before: int = 0, limit: _Page = _DECISIONS
) -> fleetviews.ModelDecisions:
    """Where a model is loaded, and why there and so often."""
    fleet = plane().fleet
    explained = fleet.decisions_of(principal, model_id, before=before or None, limit=limit)
    hosts = fleet.hosts_of(principal, model_id)
    return fleetviews.model_decisions(model_id, hosts, explained, limit=limit)


@route("GET", "/v1/models/{model_id}/blast-radius", scope=Scope.MODELS_READ)
def get_blast_radius(principal: Principal, model_id: str) -> fleetviews.BlastRadius:
    """Which models share hosts with a model: your own by name, others only as numbers."""
    return fleetviews.blast_radius(plane().fleet.blast_radius(principal, model_id))


@route("PUT", "/v1/models/{model_id}/pinned", scope=Scope.MODELS_WRITE, audit="model.pin")
def put_pinned(principal: Principal, model_id: str, body: Pin) -> views.Model:
    """Keep a model loaded, used or not; or no longer."""
    plane().models.pin(principal, model_id, body)
    shown = plane().traffic.show(principal, model_id)
    seen = plane().overview.of([shown.model])[model_id]
    return views.model_in_full(shown, seen, plane().settings)
