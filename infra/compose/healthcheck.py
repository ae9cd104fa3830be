"""`python -m infra.compose.healthcheck gateway|coordinator`: whether it is up, as its exit code."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from infra.compose.gateway import PORT

_SECONDS: Final = 2.0


def gateway_answers(_environ: Mapping[str, str]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def coordinator_coordinates(environ: Mapping[str, str]) -> bool:
    """A lease stands for some seconds after its last pass."""
    try:
        return HotState.connect(environ["MODELROCKET_REDIS_URL"], timeout_seconds=_SECONDS).is_coordinated()
    except DependencyFailed:
        return False


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, str]], bool]]] = {
    "gateway": gateway_answers,
    "coordinator": coordinator_coordinates,
}

if __name__ == "__main__":
    sys.exit(0 if _CHECKS[sys.argv[1]](os.environ) else 1)  # noqa: TID251 - an entry point
