"""One ECS service that keeps its word: an HTTP server that speaks ECS's protocol to the real client.

It runs as many tasks as are desired when it is told to `settle`, and ends, of those that are not protected,
the ones that nobody expects: the oldest. moto knows neither protection nor a service's tasks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

_PAGE: Final = 3
_AT_ONCE: Final = 10


@dataclass(slots=True)
class EcsService:
    """Attributes:
    name, cluster, region: whose tasks they are, and where.
    desired: its count. `tasks`: ids of those that run, the oldest first; `protected`: which may not go.
    calls: names of the operations that changed something, in order. `stopped`: ids of tasks that ended.
    starts: whether it has room for more tasks. `throttled`: it refuses everything.
    unprotectable: tasks that cannot be protected now, as while they are deployed anew.
    """

    name: str = "hosts"
    cluster: str = "rocket"
    region: str = "eu-west-1"
    desired: int = 0
    tasks: list[str] = field(default_factory=list)
    protected: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refused: int = 0
    starts: bool = True
    throttled: bool = False
    unprotectable: set[str] = field(default_factory=set)
    _started: int = 0

    @property
    def tasks_arn(self) -> str:
        """Of each task, but for its id."""
        return f"arn:aws:ecs:{self.region}:123456789012:task/{self.cluster}/"

    def settle(self) -> None:
        """What its scheduler does by and by."""
        while self.starts and len(self.tasks) < self.desired:
            self._started += 1
            self.tasks.append(f"{self._started:032x}")
        for task in [one for one in self.tasks if one not in self.protected]:
            if len(self.tasks) > self.desired:
                self._end(task)

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["cluster"] == self.cluster
        match operation:
            case "DescribeServices":
                assert asked["services"] == [self.name]
                return {"services": [{"desiredCount": self.desired}], "failures": []}
            case "ListTasks":
                assert (asked["serviceName"], asked["desiredStatus"]) == (self.name, "RUNNING")
                first = int(asked.get("nextToken", 0))
                more = {"nextToken": str(first + _PAGE)} if first + _PAGE < len(self.tasks) else {}
                return {
                    "taskArns": [self.tasks_arn + one for one in self.tasks[first : first + _PAGE]],
                    **more,
                }
        self.calls.append(operation)
        match operation:
            case "UpdateService":
                self.desired = asked["desiredCount"]
                return {"service": {"desiredCount": self.desired}}
            case "UpdateTaskProtection":
                return self._protect(asked)
            case "StopTask":
                self._end(asked["task"].removeprefix(self.tasks_arn))
                return {"task": {}}
        raise AssertionError(f"{operation} is more than the coordinator may do")

    def _protect(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert 0 < len(asked["tasks"]) <= _AT_ONCE
        failures = []
        for arn in asked["tasks"]:
            task = arn.removeprefix(self.tasks_arn)
            if task not in self.tasks:
                failures.append({"arn": arn, "reason": "MISSING"})
            elif task in self.unprotectable:
                failures.append({"arn": arn, "reason": "DEPLOYMENT_BLOCKED"})
            elif asked["protectionEnabled"]:
                self.protected.add(task)
            else:
                self.protected.discard(task)
        return {"protectedTasks": [], "failures": failures}

    def _end(self, task: str) -> None:
        self.tasks.remove(task)
        self.stopped.append(task)


@dataclass(slots=True)
class EcsServer:
    """Attributes:
    service: whose it answers for.
    """

    url: str
    service: EcsService


@contextmanager
def running_ecs() -> Iterator[EcsServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation, service = self.headers["X-Amz-Target"].rpartition(".")[2], running.service
            if service.throttled:
                service.refused += 1
                self._reply(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
            else:
                self._reply(200, service.answer(operation, json.loads(body)))

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = EcsServer(f"http://127.0.0.1:{server.server_port}", EcsService())
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()
