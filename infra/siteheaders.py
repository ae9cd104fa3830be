"""What every answer of the site's files says to browsers, wherever they are served from.

The pages load nothing but their own files and ask nobody but their own host, so that is all they may do: what
got into a page by somebody's text could run nowhere and send nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "manifest-src": "'self'",
}
_DENIED: Final = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "usb",
)

CONTENT_SECURITY_POLICY: Final = "; ".join(f"{name} {value}" for name, value in _POLICY.items())
SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _DENIED),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
OVER_HTTPS: Final[Mapping[str, str]] = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}
"""Beside those; over plain http browsers have to ignore it."""

HASHED: Final = "/assets/"
"""Files under it have names that no other content ever gets."""


def cache_control(path: str) -> str:
    """How long browsers may use what is at this path without asking again."""
    if path.startswith(HASHED):
        return "public, max-age=31536000, immutable"
    return "no-cache" if path.endswith(("/", ".html")) else "public, max-age=3600"
