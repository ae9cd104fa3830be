"""The gateway's Chalice object called in process, as Lambda calls it, and what that costs in CPU time.

Run as `python -m benchmarks.gatewayloop`. The first line of standard input is an `Order`; each further line
is the name of one of its lanes, answered with one line of figures. A trivial route of another Chalice
object, called in the same turn, says what Chalice itself costs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from chalice.app import Response

from chalicelib.threadsafe import ThreadSafeChalice

PLAIN: Final = "plain"
_WARM_UP: Final = 300
_OK: Final = 200
_NANO: Final = 1e9


@dataclass(frozen=True, slots=True)
class Order:
    """`environ` of the control plane; by lane, bodies of `POST /inference`, asked in turn, `count` a time."""

    environ: dict[str, str]
    lanes: dict[str, list[str]]
    count: int


def event(path: str, body: str) -> dict[str, Any]:
    """As API Gateway's proxy integration hands it over."""
    headers = {"Content-Type": "application/json", "Host": "api.example", "User-Agent": "bench"}
    return {
        "resource": path,
        "path": path,
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": "POST",
            "path": path,
            "requestId": "bench",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": False,
    }


def plain_app() -> ThreadSafeChalice:
    """What any route pays: an event in, a body read, an answer with a few headers out."""
    app = ThreadSafeChalice(app_name="plain")

    @app.route("/inference", methods=["POST"], content_types=["*/*"])
    def inference() -> Response:
        body = app.current_request.raw_body
        assert body
        return Response(body='{"result": {}}', headers={"Content-Type": "application/json"})

    return app


class RoundTrips:
    """Counts replies of the hot state that this process waits for, by either kind of connection."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self) -> None:
        from redis.connection import AbstractConnection

        from chalicelib.contract.hotstate.wire import Wires

        self._wrap(Wires, "call")
        self._wrap(AbstractConnection, "read_response")

    def _wrap(self, kind: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(kind, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return function(*args, **kwargs)

        setattr(kind, name, counting)


def turn(app: Any, bodies: list[str], count: int, first: int) -> dict[str, float]:
    """CPU and wall time of so many requests, the first of them with the body at this position."""
    cpu, wall, failures = time.thread_time_ns(), time.perf_counter(), 0
    for number in range(first, first + count):
        answer = app(event("/inference", bodies[number % len(bodies)]), None)
        failures += answer["statusCode"] != _OK
    cpu_seconds = (time.thread_time_ns() - cpu) / _NANO
    return {"cpu_seconds": cpu_seconds, "seconds": time.perf_counter() - wall, "failures": failures}


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    os.environ.update(order.environ)
    from app import app

    trips = RoundTrips()
    trips.watch()
    plain, at = plain_app(), 0
    for bodies in order.lanes.values():
        turn(plain, bodies, _WARM_UP, 0)
        assert not turn(app, bodies, _WARM_UP, 0)["failures"]
    for line in sys.stdin:
        bodies = order.lanes[json.loads(line)]
        before = trips.count
        ours = turn(app, bodies, order.count, at)
        awaited = (trips.count - before) / order.count
        theirs = turn(plain, bodies, order.count, at)
        at += order.count
        print(json.dumps({"gateway": ours, PLAIN: theirs, "awaited": awaited}), flush=True)


if __name__ == "__main__":
    main()
