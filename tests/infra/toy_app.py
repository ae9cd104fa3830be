"""A Chalice app to serve in tests: `app` on the thread-safe object, `plain` on Chalice's own."""

from __future__ import annotations

import time
from typing import Any

from chalice.app import BadRequestError, Chalice, Response

from chalicelib.threadsafe import ThreadSafeChalice


def _with_requests(app: Chalice) -> Chalice:
    """Routes that show what arrives of a request."""

    @app.route("/echo/{name}", methods=["POST"])
    def echo(name: str) -> dict[str, Any]:
        time.sleep(0.02)  # others arrive meanwhile
        request: Any = app.current_request
        return {
            "name": name,
            "header": request.headers["x-name"],
            "body": request.raw_body.decode(),
            "context": app.lambda_context.aws_request_id == request.context["requestId"],
        }

    @app.route("/length", methods=["POST"], content_types=["application/json", "text/plain"])
    def length() -> dict[str, Any]:
        request: Any = app.current_request
        return {"length": len(request.raw_body)}

    @app.route("/seen")
    def seen() -> dict[str, Any]:
        request: Any = app.current_request
        return {"query": request.to_dict()["query_params"], "source": request.context["identity"]["sourceIp"]}

    return app


def _with_answers(app: Chalice) -> Chalice:
    """Routes with answers of all kinds."""
    begun: list[None] = []  # one for each slow request

    @app.route("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.route("/slow")
    def slow() -> dict[str, str]:
        begun.append(None)
        time.sleep(1.0)
        return {"status": "done"}

    @app.route("/begun")
    def count() -> dict[str, int]:
        return {"begun": len(begun)}

    @app.route("/wrong")
    def wrong() -> None:
        raise BadRequestError("nothing here is right")

    @app.route("/crash")
    def crash() -> None:
        raise ZeroDivisionError("secret detail")

    @app.route("/binary")
    def binary() -> Response:
        return Response(b"\x00\xff", headers={"Content-Type": "application/octet-stream"})

    return app


app = _with_answers(_with_requests(ThreadSafeChalice("toy")))
plain = _with_answers(_with_requests(Chalice("plain")))
