"""What the platform says of itself."""

from __future__ import annotations

from chalicelib import __version__, views
from chalicelib.api import Routes
from chalicelib.published import Limits, published
from chalicelib.wiring import control_plane as plane

route = Routes()


@route("GET", "/v1/limits")
def get_limits() -> Limits:
    """The limits of this deployment."""
    return published(plane().settings)


@route("GET", "/healthz")
def healthz() -> views.Health:
    """The process answers."""
    return views.Health("ok", __version__)
