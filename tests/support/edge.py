"""Stands where CloudFront does: one address of the API, at which its paths are what they are everywhere.

The emulator's own CloudFront reaches no API; it says what the distribution was told to do.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_OF_A_HOP: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
)
_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Origin:
    """Who answers: on which port of this machine, by which name, under which path; and what it is shown."""

    port: int
    host: str
    path: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Edge:
    """`origin`: None until it is told."""

    port: int
    origin: Origin | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    edge: Edge


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        to = self.server.edge.origin
        assert to is not None
        asked = http.client.HTTPConnection("127.0.0.1", to.port, timeout=_SECONDS)
        try:
            asked.putrequest(self.command, to.path + self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._headers_for(to, len(body)):
                asked.putheader(name, value)
            asked.endheaders(body)
            self._answer(asked.getresponse())
        finally:
            asked.close()

    def _headers_for(self, origin: Origin, size: int) -> Iterator[tuple[str, str]]:
        told = {name.lower() for name in origin.headers}
        for name, value in self.headers.items():
            if name.lower() not in _OF_A_HOP | {"host", "x-forwarded-for"} | told:
                yield name, value
        yield "Host", origin.host
        before = self.headers.get_all("X-Forwarded-For", [])
        yield "X-Forwarded-For", ", ".join([*before, self.client_address[0]])
        yield "Content-Length", str(size)
        yield from origin.headers.items()

    def _answer(self, response: http.client.HTTPResponse) -> None:
        content = response.read()
        self.send_response_only(response.status)
        for header, value in response.getheaders():
            if header.lower() not in _OF_A_HOP:
                self.send_header(header, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = _pass_on

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def running_edge() -> Iterator[Edge]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.edge = Edge(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.edge
        finally:
            server.shutdown()
            thread.join()
