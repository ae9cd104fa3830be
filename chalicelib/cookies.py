"""The session's cookie, and whether a request with it comes from our own page. Pure.

Over https its name begins with `__Host-`: a browser keeps such a cookie only if it is secure, for the whole
site and set by this very host. Plain http, which is for one's own machine, cannot have that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chalicelib.contract import limits
from chalicelib.contract.errors import PermissionDenied

OWN_REQUEST: Final = "x-rocket-request"
"""A header that no foreign page can send without being allowed to first."""
NAME: Final = "modelrocket"
SECURE_NAME: Final = f"__Host-{NAME}"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS: Final = {"http": 80, "https": 443}
_BLANKS: Final = " \t"
"""No other space: a browser sees no `__Host-` behind one, and lets any page of a sibling host set that."""


def session_secret(headers: Mapping[str, str], public_url: str) -> str | None:
    """What the cookie holds; None where there is none, or two of which one was planted."""
    name = _name(public_url)
    pairs = (pair.strip(_BLANKS).partition("=") for pair in headers.get("cookie", "").split(";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 else None


def keep_session(secret: str, public_url: str) -> str:
    """The value of Set-Cookie."""
    return _cookie(secret, public_url, seconds=limits.SESSION_SECONDS_MAX)


def drop_session(public_url: str) -> str:
    """The value of Set-Cookie that makes a browser forget it."""
    return _cookie("", public_url, seconds=0)


def check_own_page(headers: Mapping[str, str], public_url: str) -> None:
    """For a request that changes something by the right of a cookie. Raises PermissionDenied."""
    check_not_foreign(headers, public_url)
    if not headers.get(OWN_REQUEST):
        raise PermissionDenied("A request with a session's cookie needs the header X-Rocket-Request: 1.")
    if not headers.get("origin") and not headers.get("sec-fetch-site"):
        raise PermissionDenied("A request with a session's cookie needs the header Origin.")


def check_not_foreign(headers: Mapping[str, str], public_url: str) -> None:
    """For a request that needs no credential, but that no other page may make. Raises PermissionDenied."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if (site and site != "same-origin") or (origin and not _is_own(origin, public_url)):
        raise PermissionDenied("This request comes from a page of another site.")


def _name(public_url: str) -> str:
    return SECURE_NAME if public_url.startswith("https://") else NAME


def _cookie(secret: str, public_url: str, *, seconds: int) -> str:
    secure = "; Secure" if public_url.startswith("https://") else ""
    kept = f"{_name(public_url)}={secret}; Path=/; Max-Age={seconds}"
    return f"{kept}; HttpOnly; SameSite=Strict{secure}"


def _is_own(origin: str, public_url: str) -> bool:
    """One's own machine has more than one name."""
    try:
        theirs, ours = _door(origin), _door(public_url)
    except ValueError:
        return False
    same_port = (theirs.scheme, theirs.port) == (ours.scheme, ours.port)
    return theirs == ours or (same_port and {theirs.hostname, ours.hostname} <= _LOOPBACK)


@dataclass(frozen=True, slots=True)
class _Door:
    """What makes an origin, and no path behind it."""

    scheme: str
    hostname: str | None
    port: int | None


def _door(url: str) -> _Door:
    """Raises ValueError."""
    parts = urlsplit(url)
    return _Door(parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))
