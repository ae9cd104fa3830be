"""`python -m host_container.healthcheck`: whether the host of this container is up, as its exit code."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from typing import Final

from host_container.placement import NotPlaced, placed
from host_container.settings import PREFIX

_SECONDS: Final = 2.0


def healthy(environ: Mapping[str, str]) -> bool:
    """Asks where the host listens."""
    try:
        known = placed(environ)
        address, port = known[PREFIX + "HOST_ADDRESS"], int(known[PREFIX + "HOST_PORT"])
        connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException, KeyError, ValueError, NotPlaced):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(os.environ) else 1)  # noqa: TID251 - an entry point
