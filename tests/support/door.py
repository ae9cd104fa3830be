"""A host composed in this process, without its stores: models on its disk, callers on its port."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.messages import Certificate, Passport, VersionRecord
from chalicelib.contract.tokens import Ticket
from host_container.__main__ import Host, compose
from host_container.events import EventLog
from host_container.session import load
from host_container.settings import Isolation, Settings
from tests.support.hosts import Reply, free_port

KEY: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Door:
    """The composed host, the versions on its disk, and where it wrote its events."""

    host: Host
    records: Sequence[VersionRecord]
    log: Path

    def ticket(self, record: VersionRecord, *, seconds: float = 25, **changes: Any) -> str:
        fields: dict[str, Any] = {
            "request_id": uuid.uuid4().hex,
            "tenant": record.tenant,
            "version_id": record.version_id,
            "boot_id": self.host.presence.boot_id,
            "deadline_ms": int((time.time() + seconds) * 1000),
        }
        return Ticket(**(fields | changes)).sign(KEY)

    async def infer(self, record: VersionRecord, inputs: Any, *, ticket: str = "") -> Reply:
        reader, writer = await self.connect()
        writer.write(self.request(record, inputs, ticket=ticket))
        try:
            return await read_reply(reader)
        finally:
            writer.close()

    def request(self, record: VersionRecord, inputs: Any, *, ticket: str = "") -> bytes:
        body = json.dumps(inputs).encode()
        return (
            f"POST /infer HTTP/1.1\r\nHost: h\r\nX-Rocket-Ticket: {ticket or self.ticket(record)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.host.settings.port)

    def events(self, name: str) -> list[dict[str, Any]]:
        self.host.events.flush()
        events = map(json.loads, self.log.read_text().splitlines())
        return [event for event in events if event["event"] == name]


@asynccontextmanager
async def open_door(
    folder: Path,
    *models: bytes,
    memory_bytes_max: int = 2**30,
    worker_memory_bytes_max: int = 2**32,
    passport: Passport | None = None,
    tenants: Sequence[str] = (),
) -> AsyncIterator[Door]:
    """Listening, with these models on disk. The hot state and S3 are away, and stay away.

    `tenants` own the models in turn; by default one owns them all.
    """
    settings = Settings(
        host_id="host",
        address="127.0.0.1",
        port=free_port(),
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        s3_bucket="none",
        s3_endpoint_url=f"http://127.0.0.1:{free_port()}",
        dispatch_key=KEY,
        cache_dir=folder / "cache",
        memory_bytes_max=memory_bytes_max,
        disk_bytes_max=2**30,
        worker_memory_bytes_max=worker_memory_bytes_max,
        isolation=Isolation.TENANT,
        sandbox_required=True,
    )
    owners = cycle(tenants or ["tenant"])
    records = [_on_disk(folder / "cache", content, passport, next(owners)) for content in models]
    log = folder / "events"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.setenv(name, "none")
        host = compose(settings, EventLog(descriptor, clock=time.time), asyncio.get_running_loop())
    for record in records:
        host.router.replicas.remember(record)
    await host.open()
    try:
        yield Door(host, records, log)
    finally:
        await host.close()
        os.close(descriptor)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """One response; waits for all of it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(head[0].split()[1]), headers, json.loads(body))


async def warm(door: Door, record: VersionRecord) -> None:
    """Load it; nobody can be told."""
    with contextlib.suppress(DependencyFailed):
        await door.host.router.replicas.warm(record)


def _on_disk(cache: Path, content: bytes, passport: Passport | None, tenant: str) -> VersionRecord:
    sha256, version_id = hashlib.sha256(content).hexdigest(), str(uuid.uuid4())
    path = cache / "versions" / tenant / version_id / f"{sha256}.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return VersionRecord(
        version_id=version_id,
        model_id=str(uuid.uuid4()),
        tenant=tenant,
        number=1,
        sha256=sha256,
        bytes=len(content),
        object_key=version_id,
        signature=load(path).signature,
        passport=passport or Passport(load_ms=0.001, run_ms=0.1, memory_bytes=len(content)),
        certificate=Certificate(True, "by the test's own word"),
    )
