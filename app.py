"""The application: the HTTP API's routes, which are in `chalicelib.routes`, and the scheduled coordinator."""

from __future__ import annotations

from typing import Any

from chalice.app import CloudWatchEvent, Rate, Response

from chalicelib import openapi
from chalicelib.api import Routes
from chalicelib.http import Boundary
from chalicelib.routes import accounting, accounts, fleet, inference, keys, models, platform
from chalicelib.threadsafe import ThreadSafeChalice
from chalicelib.wiring import control_plane as plane
from chalicelib.wiring import new_request_id

app = ThreadSafeChalice(app_name="modelrocket")
boundary = Boundary(app, new_id=new_request_id, guards=lambda: plane().guards)
route = Routes()


@route("GET", "/v1/openapi.json", answers=dict[str, Any])
def get_description() -> Response:
    """This description."""
    return Response(body=openapi.text(boundary.routes), headers={"Content-Type": "application/json"})


for subject in (inference, models, keys, accounting, accounts, fleet, platform):
    boundary.mount(subject.route)
boundary.mount(route)


@app.schedule(Rate(1, unit=Rate.MINUTES))
def coordinate(_event: CloudWatchEvent) -> dict[str, int]:
    """The coordinator: EventBridge's smallest step is a minute, so it loops inside."""
    passes = plane().reconciler.run()
    plane().gauges.tell(plane().reconciler.tally)
    return {"passes": passes}
