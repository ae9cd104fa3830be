"""The real paced caller against a small server that is slow, refuses, or goes away."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks import pacing
from benchmarks.children import child
from tests.support.waiting import wait_for

REQUESTS = [f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for number in range(3)]


@dataclass(slots=True)
class Server:
    """Holds its answers back until it is released."""

    port: int = 0
    status: int = 200
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            server.asked.append(self.path)
            server.released.wait(60)
            self.send_response(server.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.released.set()
            listening.shutdown()


def order(server: Server, *, per_second: float) -> dict[str, Any]:
    requests = [base64.b64encode(request).decode() for request in REQUESTS]
    return asdict(pacing.Order("127.0.0.1", [pacing.Stream("one", server.port, per_second, requests)]))


def test_it_asks_on_although_nothing_is_answered() -> None:
    """Thirty requests are under way at once: the server answers none before it has all of them."""
    with running(Server()) as server, child("benchmarks.pacing", order(server, per_second=100)) as caller:
        caller.tell(0.3)
        release_once_asked(server, 30)
        heard = caller.hear()["one"]
    assert (len(heard["seconds"]), heard["problems"]) == (30, {})
    assert sorted(set(server.asked)) == ["/0", "/1", "/2"]


def test_the_next_stretch_goes_on_where_the_last_one_stopped() -> None:
    with running(Server()) as server, child("benchmarks.pacing", order(server, per_second=10)) as caller:
        server.released.set()
        for _ in range(3):
            caller.ask(0.1)
    assert server.asked == ["/0", "/1", "/2"]


def test_refusals_are_told_and_not_timed() -> None:
    with (
        running(Server(status=503)) as server,
        child("benchmarks.pacing", order(server, per_second=100)) as caller,
    ):
        server.released.set()
        assert caller.ask(0.1) == {"one": {"seconds": [], "problems": {"status 503": 10}}}


def test_a_server_that_is_not_there_is_told() -> None:
    with running(Server()) as server:
        pass
    with child("benchmarks.pacing", order(server, per_second=50)) as caller:
        heard = caller.ask(0.1)["one"]
    assert heard["seconds"] == []
    assert sum(heard["problems"].values()) == 5


def release_once_asked(server: Server, count: int) -> None:
    wait_for(lambda: len(server.asked) >= count, what=f"{count} requests at once")
    server.released.set()
