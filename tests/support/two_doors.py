"""Two hosts without a gateway: the one that prepared a model has it in memory, the other one does not."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Scope, TokenKind, TokenRecord, VersionRecord
from chalicelib.contract.tokens import new_token, token_sha256
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.hosts import HostProcess, Reply, prepare, publish, running_host

PER_SECOND: Final = 100
CONCURRENCY: Final = 4
SETTINGS: Final = {
    "MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": str(PER_SECOND),
    "MODELROCKET_ACCOUNT_CONCURRENCY": str(CONCURRENCY),
}


@dataclass(frozen=True, slots=True)
class Model:
    record: VersionRecord
    token: str

    def body(self, inputs: Any) -> dict[str, Any]:
        return {"token": self.token, "model": self.record.model_id, "inputs": inputs}

    def ask(self, host: HostProcess, inputs: Any, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return host.post("/inference", self.body(inputs), headers=named)


@dataclass(frozen=True, slots=True)
class World:
    """Two hosts: the one that prepared the versions has them in memory, the other one does not."""

    hot: HotState
    raw: Any
    having: HostProcess
    lacking: HostProcess
    marked: Model
    turning: Model

    @property
    def hosts(self) -> tuple[HostProcess, HostProcess]:
        return self.having, self.lacking

    def leases(self, host: HostProcess) -> int:
        return int(self.raw.zcard(f"mr:leases:{host.host_id}"))

    def key(self, model: Model, **changes: Any) -> Model:
        """The same model with another token."""
        token, tenant = new_token(), model.record.tenant
        record = TokenRecord(tenant, TokenKind.MODEL_TOKEN, 1, token, (Scope.INFER,))
        self.hot.put_token(token_sha256(token), msgspec.structs.replace(record, **changes))
        return Model(model.record, token)

    def rested(self, model: Model) -> None:
        """Its account's limits are as if nobody had asked lately."""
        self.raw.delete(f"mr:rate:account:{model.record.tenant}")


def two_doors(opened: ExitStack, servers: EmbeddedServers, raw: Any, folder: Path) -> World:
    hot = HotState.connect(servers.connections.redis_urls["coordinator"], timeout_seconds=5)
    for name in ("a", "b"):
        (folder / name).mkdir()
    having = opened.enter_context(running_host(servers, folder / "a", environ=SETTINGS))
    records = [prepare(hot, servers, content) for content in (onnx_models.marked(7), onnx_models.turning())]
    lacking = opened.enter_context(running_host(servers, folder / "b", environ=SETTINGS))
    models = [Model(record, publish(hot, record)) for record in records]
    return World(hot, raw, having, lacking, *models)


def timings(reply: Reply) -> list[str]:
    return [part.split(";dur=")[0] for part in reply.headers["server-timing"].split(", ")]
