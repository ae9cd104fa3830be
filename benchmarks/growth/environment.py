"""One environment of a function, as Lambda would run it: does what it is told and counts its connections.

Run as `python -m benchmarks.growth.environment`. The first line of standard input is an `Order`; every
further line is answered with the connections that the process holds, by port.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.gatewayloop import event
from chalicelib.contract.tokens import new_token

INFERENCE, MANAGEMENT, COORDINATOR = "inference", "management", "coordinator"
_AS_ON_LAMBDA: Final = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}
"""By which MongoDB's driver knows that its process is frozen between requests."""
_ESTABLISHED: Final = "01"
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9  # columns of /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Order:
    """`kind`: of function. `body` of a request to a model, which is there."""

    environ: dict[str, str]
    kind: str
    body: str = ""


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    os.environ.update(order.environ | _AS_ON_LAMBDA)
    work = _work(order)
    for _ in sys.stdin:
        work()
        print(json.dumps(connections()), flush=True)


def _work(order: Order) -> Callable[[], object]:
    from app import app
    from chalicelib.wiring import control_plane

    stranger = {"Authorization": f"Bearer {new_token()}"}
    match order.kind:
        case "inference":
            bodies = (order.body, order.body.replace(json.loads(order.body)["token"], new_token()))
            return lambda: [app(event("/inference", body), None) for body in bodies]
        case "management":
            return lambda: [app(_listing(stranger), None), control_plane().hot.hosts()]
        case _:
            return control_plane().reconciler.tick


def _listing(headers: Mapping[str, str]) -> dict[str, Any]:
    asked = event("/v1/models", "")
    asked["httpMethod"] = asked["requestContext"]["httpMethod"] = "GET"
    asked["headers"] |= headers
    asked["multiValueHeaders"] |= {name: [value] for name, value in headers.items()}
    return asked


def connections(pid: str = "self") -> Counter[str]:
    """Established ones of the process, by the port of the other end. Its children's are not among them."""
    own = {link for one in Path(f"/proc/{pid}/fd").iterdir() if (link := _target(one)).startswith("socket:")}
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    found = (line.split() for line in lines)
    return Counter(
        str(int(columns[_REMOTE].partition(":")[2], 16))
        for columns in found
        if columns[_STATE] == _ESTABLISHED and f"socket:[{columns[_INODE]}]" in own
    )


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


if __name__ == "__main__":
    main()
