"""What ECS's agent says to a container about itself, over HTTP as it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, Final

TASK_ID: Final = "158d1c8083dd49d6b527399fd6414f5c"
ARN: Final = f"arn:aws:ecs:us-east-1:123456789012:task/ModelRocket/{TASK_ID}"
OWN: Final = {
    "NetworkMode": "awsvpc",
    "IPv4Addresses": ["10.60.17.4"],
    "MACAddress": "0e:9e:32:c7:48:85",
    "IPv4SubnetCIDRBlock": "10.60.16.0/20",
    "PrivateDNSName": "ip-10-60-17-4.ec2.internal",
}


def container(**more: Any) -> dict[str, Any]:
    """As the agent describes it, with what is of no interest here."""
    labels = {"com.amazonaws.ecs.cluster": "ModelRocket", "com.amazonaws.ecs.task-arn": ARN}
    return {"DockerId": "ea32192c8553", "Limits": {"CPU": 2}, "Labels": labels, "Networks": [OWN], **more}


@contextmanager
def answering(answer: Any, status: int = HTTPStatus.OK) -> Iterator[int]:
    """The port of a server that says this to whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endpoint(port: int) -> dict[str, str]:
    """The variable by which a container knows where to ask."""
    return {"ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{port}/v4/ea32192c8553-2495160603"}
