"""What the platform says of itself."""

from __future__ import annotations

from chalicelib import __version__, siteviews, views
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.messages import Scope
from chalicelib.published import Limits, published
from chalicelib.site import ChooseDemo
from chalicelib.wiring import control_plane as plane

route = Routes()


@route("GET", "/v1/site")
def get_site(asked: Asked) -> siteviews.Site:
    """What everybody may know of this deployment, and a model to try without a key."""
    asked.reply_headers["Cache-Control"] = f"public, max-age={limits.SITE_SECONDS:.0f}"
    return siteviews.shown(plane().site.tell(), plane().settings)


@route("PUT", "/v1/operator/demo", scope=Scope.OPERATE, audit="demo.choose", secret=True)
def choose_demo(principal: Principal, body: ChooseDemo) -> siteviews.Site:
    """Let everybody try a model of yours, in place of any other; or none."""
    return siteviews.shown(plane().site.choose_demo(principal, body), plane().settings)


@route("GET", "/v1/limits")
def get_limits() -> Limits:
    """The limits of this deployment."""
    return published(plane().settings)


@route("GET", "/healthz")
def healthz() -> views.Health:
    """The process answers."""
    return views.Health("ok", __version__)
