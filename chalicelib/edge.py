"""Where a request comes from when CloudFront stands before API Gateway.

    caller ── CloudFront ── API Gateway ── here
              appends the   appends CloudFront's,
              caller's      and says it is the source

Both append to X-Forwarded-For, so whatever a caller has put there is further left. The header alone says
nothing, since API Gateway has an address of its own that anybody may ask: CloudFront shows a key with it.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

HEADER: Final = "x-modelrocket-edge-key"
"""In which CloudFront shows the key. It overwrites what a caller has put there."""
FORWARDED: Final = "x-forwarded-for"


def is_key(shown: str, key: str | None) -> bool:
    """Never where there is no key."""
    return key is not None and hmac.compare_digest(shown.encode(errors="replace"), key.encode())


def address(source: str, forwarded: str) -> str:
    """The caller's, of a request that came through CloudFront; the source itself where none can be told.

    `source`: who API Gateway answers. `forwarded`: X-Forwarded-For as it came. CloudFront writes addresses
    alone, so what has a port, a name or brackets is not from there.
    """
    *others, last = [entry.strip() for entry in forwarded.split(",")]
    if last == source and others:
        last = others[-1]
    try:
        ipaddress.ip_address(last)
    except ValueError:
        return source
    return last
