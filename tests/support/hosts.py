"""A real host process, and callers that speak to it as the gateway does."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import (
    Heartbeat,
    ModelRecord,
    PrepareJob,
    PrepareResult,
    Scope,
    TokenKind,
    TokenRecord,
    VersionRecord,
)
from chalicelib.contract.tokens import Ticket, new_token, token_sha256
from infra.local.embedded import EmbeddedServers
from infra.local.probes import s3_client
from tests.support.waiting import wait_for

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "5a" * 32


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


@dataclass(slots=True)
class HostProcess:
    """One `python -m host_container`. `log` is what it wrote to standard output and error."""

    host_id: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    key: bytes = field(default=bytes.fromhex(KEY))

    def get(self, path: str) -> Reply:
        return self._ask("GET", path, None, {})

    def infer(self, record: VersionRecord, inputs: Any, *, ticket: str | None = None) -> Reply:
        body = inputs if isinstance(inputs, bytes) else json.dumps(inputs).encode()
        return self._ask("POST", "/infer", body, {"X-Rocket-Ticket": ticket or self.ticket(record)})

    def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask("POST", path, content, headers or {})

    def ticket(
        self,
        record: VersionRecord,
        *,
        seconds: float = 25,
        boot_id: str | None = None,
        tenant: str | None = None,
    ) -> str:
        return Ticket(
            request_id=uuid.uuid4().hex,
            tenant=tenant or record.tenant,
            version_id=record.version_id,
            boot_id=boot_id or self.boot_id,
            deadline_ms=int((time.time() + seconds) * 1000),
        ).sign(self.key)

    @property
    def boot_id(self) -> str:
        return str(self.get("/healthz").body["boot_id"])

    def wait_ready(self) -> None:
        wait_for(self.is_ready, what=f"{self.host_id} to be ready")

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/readyz").status == 200
        return False

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), json.loads(response.read()))


def host_environment(servers: EmbeddedServers, folder: Path, *, host_id: str, port: int) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
        **servers.connections.host(),
        "MODELROCKET_HOST_ID": host_id,
        "MODELROCKET_HOST_ADDRESS": "127.0.0.1",
        "MODELROCKET_HOST_PORT": str(port),
        "MODELROCKET_CACHE_DIR": str(folder / "cache"),
        "MODELROCKET_DISPATCH_KEY": KEY,
    }


@contextmanager
def running_host(
    servers: EmbeddedServers, folder: Path, *, environ: Mapping[str, str] | None = None, ready: bool = True
) -> Iterator[HostProcess]:
    """A host for as long as the block lasts; killed at its end if it still runs."""
    host_id, port = f"host-{uuid.uuid4().hex[:8]}", free_port()
    environment = host_environment(servers, folder, host_id=host_id, port=port) | dict(environ or {})
    with host_process(environment, folder, host_id=host_id, port=port) as host:
        if ready:
            host.wait_ready()
        yield host


@contextmanager
def host_process(
    environment: Mapping[str, str], folder: Path, *, host_id: str, port: int
) -> Iterator[HostProcess]:
    """With nothing but this environment; its id and port are known to the caller alone."""
    log = folder / f"{host_id}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "host_container"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield HostProcess(host_id, port, process, log)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def store(servers: EmbeddedServers, content: bytes, *, sha256: str | None = None) -> PrepareJob:
    """An object in the store and the job of preparing it."""
    version_id = str(uuid.uuid4())
    access = servers.connections.s3
    job = PrepareJob(
        version_id=version_id,
        model_id=str(uuid.uuid4()),
        tenant=str(uuid.uuid4()),
        number=1,
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        object_key=f"models/{version_id}",
    )
    s3_client(access).put_object(Bucket=access.bucket, Key=job.object_key, Body=content)
    return job


def outcome(hot: HotState, job: PrepareJob) -> PrepareResult:
    """What a host found out about the job; the result is taken away as the coordinator does."""

    def look() -> PrepareResult | None:
        for entry_id, result in hot.results(count=100):
            if result is not None and result.version_id == job.version_id:
                hot.drop_result(entry_id, version_id=job.version_id)
                return result
        return None

    return wait_for(look, what="the version to be prepared")


def prepare(hot: HotState, servers: EmbeddedServers, content: bytes) -> VersionRecord:
    """A version that a host has prepared, as the control plane then publishes it."""
    job = store(servers, content)
    hot.enqueue(job)
    result = outcome(hot, job)
    assert result.signature is not None and result.passport is not None, result.reason
    record = VersionRecord(
        version_id=job.version_id,
        model_id=job.model_id,
        tenant=job.tenant,
        number=job.number,
        sha256=job.sha256,
        bytes=job.bytes,
        object_key=job.object_key,
        signature=result.signature,
        passport=result.passport,
        certificate=result.certificate,
    )
    hot.put_version(record)
    return record


def heartbeat(hot: HotState, host: HostProcess) -> Heartbeat | None:
    """What the hot state knows of this host."""
    return next((seen for seen in hot.hosts()[1] if seen.host_id == host.host_id), None)


def publish(hot: HotState, record: VersionRecord) -> str:
    """A token for the model, and everything else a host's own door needs to know."""
    token = new_token()
    permission = TokenRecord(
        record.tenant, TokenKind.MODEL_TOKEN, 1, token, (Scope.INFER,), model_id=record.model_id
    )
    hot.put_token(token_sha256(token), permission)
    hot.put_model(ModelRecord(record.model_id, record.tenant, 1, active=record))
    until = "2026-01-01T00:00:00+00:00"
    hot.end_projection(hot.begin_projection(), tokens_until=until, models_until=until)
    return token
