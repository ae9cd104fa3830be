"""An HTTP server that answers what a test tells it to, for what looks for one where its user said it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

API_KEY = "mr_account_key"


@contextmanager
def answering(
    answers: Mapping[str, Callable[[], Any]], *, date: Callable[[], str] | None = None
) -> Iterator[str]:
    """Its address. `answers` by path, asked again each time; all but /healthz want the API key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {API_KEY}" or self.path == "/healthz"
            if not known:
                self._answer(401, _refusal("unauthenticated", "The API key is not known."))
            elif self.path not in answers:
                self._answer(404, _refusal("not_found", "There is no such thing."))
            else:
                self._answer(200, answers[self.path]())

        def _answer(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response_only(status)
            if date is not None:
                self.send_header("Date", date())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "retryable": False}}
