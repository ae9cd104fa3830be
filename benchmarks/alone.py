"""Hosts without gateway and control plane: versions put where hosts look for them, callers at their own door.

One version is prepared by a host, as any is. Others of the same graph are told to
the hot state with its passport, each with an id, a token, and where wanted an
account of its own: thousands are there in seconds, and a host fetches, checks and
loads each of them like any other.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.cells import LOOPBACK, UNLIMITED
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import Deployed, until
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import ModelRecord, Scope, TokenKind, TokenRecord, VersionRecord
from chalicelib.contract.tokens import new_token, token_sha256
from host_container.settings import DISK_TO_MEMORY, MEMORY_BYTES_DEFAULT, worker_bytes_max
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.probes import s3_client
from infra.local.servers import REDIS, S3
from tests.support.hosts import HostProcess, prepare, running_host

_HOT_SECONDS: Final = 5.0
_PUTS_AT_ONCE: Final = 8
_METRICS_SECONDS: Final = 10.0
_QUIET_SECONDS: Final = 1.0
_QUIET_SHARE: Final = 0.05
"""Of one processor: heartbeats go on."""
_PREFIX: Final = "modelrocket_host_"


@dataclass(frozen=True, slots=True)
class Stores:
    """A running hot state and S3, and hosts on top of them when asked for."""

    servers: EmbeddedServers
    hot: HotState
    folder: Path

    @contextmanager
    def host(self, environ: Mapping[str, str] | None = None) -> Iterator[HostProcess]:
        """One more, ready, until the block ends; its disk is its own."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        with running_host(self.servers, folder, environ={**UNLIMITED, **(environ or {})}) as host:
            yield host

    def prepared(self, content: bytes) -> VersionRecord:
        """By whichever host takes the job; one must be running."""
        return prepare(self.hot, self.servers, content)

    def deploy(self, record: VersionRecord, *, count: int = 1, tenant: str) -> list[Deployed]:
        """So many more versions with the same bytes, each a model of its own with a token."""
        return self._tell([_another(record, tenant) for _ in range(count)])

    def deploy_each(self, contents: Sequence[bytes], *, like: VersionRecord, tenant: str) -> list[Deployed]:
        """One version of each file. They share a graph, so `like` tells signature and passport of all."""
        records = [_of_content(_another(like, tenant), content) for content in contents]
        access = self.servers.connections.s3
        client = s3_client(access)

        def put(record: VersionRecord, content: bytes) -> None:
            client.put_object(Bucket=access.bucket, Key=record.object_key, Body=content)

        with ThreadPoolExecutor(_PUTS_AT_ONCE) as pool:
            list(pool.map(put, records, contents))
        return self._tell(records)

    def _tell(self, records: Sequence[VersionRecord]) -> list[Deployed]:
        deployed = [Deployed(new_token(), record) for record in records]
        self.hot.put_tokens((token_sha256(one.token), _permission(one.record)) for one in deployed)
        self.hot.put_models(ModelRecord(one.model_id, one.tenant, 1, active=one) for one in records)
        until = "2026-01-01T00:00:00+00:00"
        self.hot.end_projection(self.hot.begin_projection(), tokens_until=until, models_until=until)
        return deployed


@contextmanager
def running_stores(home: Path) -> Iterator[Stores]:
    """Fresh ones in this folder, whatever was there before."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with embedded_servers(home, REDIS, S3) as servers:
        url = servers.connections.redis_urls["coordinator"]
        yield Stores(servers, HotState.connect(url, timeout_seconds=_HOT_SECONDS), home)


def tree(host: HostProcess) -> ProcessTree:
    """Front, fork server and workers."""
    return ProcessTree([host.process.pid])


def wait_until_quiet(processes: ProcessTree) -> None:
    """What the last requests left to be done in the background is done. Raises CannotServe."""

    def quiet() -> bool:
        before = processes.cpu_seconds()
        time.sleep(_QUIET_SECONDS)
        return processes.cpu_seconds() - before <= _QUIET_SHARE * _QUIET_SECONDS

    until(quiet, what="a host to have nothing left to do")


def memory_for(record: VersionRecord, count: float) -> dict[str, str]:
    """A host's settings that leave its memory for so many versions like this one.

    A worker's own limit is on addresses, and stays what it is on a usual host.
    """
    size = max(record.bytes_in_all, record.passport.memory_bytes)
    return {
        "MODELROCKET_MEMORY_BYTES_MAX": str(round(count * size)),
        "MODELROCKET_WORKER_MEMORY_BYTES_MAX": str(worker_bytes_max(MEMORY_BYTES_DEFAULT)),
        "MODELROCKET_DISK_BYTES_MAX": str(DISK_TO_MEMORY * MEMORY_BYTES_DEFAULT),
    }


def counters(host: HostProcess) -> dict[str, float]:
    """What the host's metrics say now; names as on the page, without their prefix, labels included."""
    url = f"http://{LOOPBACK}:{host.port}/metrics"
    with urllib.request.urlopen(url, timeout=_METRICS_SECONDS) as page:
        lines = page.read().decode().splitlines()
    values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix(_PREFIX): float(value) for name, _, value in values}


def _another(record: VersionRecord, tenant: str) -> VersionRecord:
    ids = {"version_id": str(uuid.uuid4()), "model_id": str(uuid.uuid4())}
    return msgspec.structs.replace(record, tenant=tenant, **ids)


def _of_content(record: VersionRecord, content: bytes) -> VersionRecord:
    return msgspec.structs.replace(
        record,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        object_key=f"models/{record.version_id}",
    )


def _permission(record: VersionRecord) -> TokenRecord:
    return TokenRecord(
        record.tenant, TokenKind.MODEL_TOKEN, 1, "bench", (Scope.INFER,), model_id=record.model_id
    )
