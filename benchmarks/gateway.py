"""`gateway`: what routing costs beyond Chalice, with little and with much registered.

The hot state is real; the hosts are one socket that answers at once, so that only the gateway is measured.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.alone import running_stores
from benchmarks.cells import LOOPBACK
from benchmarks.children import Child, child
from benchmarks.gatewayloop import PLAIN, Order
from benchmarks.process_tree import ProcessTree
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import (
    Certificate,
    Heartbeat,
    HostState,
    ModelRecord,
    Passport,
    Replica,
    ReplicaState,
    Scope,
    Signature,
    TensorSignature,
    TokenKind,
    TokenRecord,
    VersionRecord,
)
from chalicelib.contract.tokens import new_token, token_sha256
from infra.local.servers import REDIS

FEW, MANY = "1 token, 1 model, 2 hosts", "100,000 tokens, 10,000 models, 200 hosts"
TOKENS: Final = 100_000
MODELS: Final = 10_000
HOSTS: Final = 200
_REPLICAS: Final = 2
_ASKED: Final = 2_000
"""Of the many, how many are asked for: more than what is decoded fits in the gateway's caches."""
_PAGE: Final = 2_000
_BEAT_SECONDS: Final = 1.0
_MICRO: Final = 1e6
_READ_BYTES: Final = 65_536

_ANSWER: Final = b'{"result": {"modelOutput": [[0.1, 0.2, 0.7]]}}'
_REPLY: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"x-request-id: bench\r\nx-model-version: 1\r\nx-batch-rows: 1\r\n"
    b"server-timing: queue;dur=0.010, load;dur=0.000, batch;dur=0.000, run;dur=0.100\r\n\r\n%s"
    % (len(_ANSWER), _ANSWER)
)


@dataclass(frozen=True, slots=True)
class Turn:
    """Microseconds of CPU per request, and how many replies of the hot state it waited for."""

    gateway_us: float
    plain_us: float
    hot_us: float
    wall_us: float
    awaited: float
    failures: int

    @property
    def beyond_us(self) -> float:
        return self.gateway_us - self.plain_us


def measure(folder: Path, *, rounds: int, count: int, say: Callable[[str], None]) -> dict[str, list[Turn]]:
    """Rounds by what is registered. The two take turns, so that both see the same machine."""
    with running_stores(folder) as stores, stand_in_host() as port:
        hot, redis = stores.hot, ProcessTree([stores.servers.children[REDIS].pid or 0])
        few, many = World(port), World(port, hosts=HOSTS)
        say(f"registering {TOKENS:,} tokens and {MODELS:,} models")
        lanes = {
            FEW: few.register(hot, models=1, tokens=1),
            MANY: many.register(hot, models=MODELS, tokens=TOKENS),
        }
        with beating(hot, [*few.hosts, *many.hosts]):
            order = Order(environ_of_gateway(stores.servers.connections.redis_urls["gateway"]), lanes, count)
            with child("benchmarks.gatewayloop", asdict(order)) as loop:
                turns: dict[str, list[Turn]] = {name: [] for name in lanes}
                for number in range(rounds):
                    say(f"round {number + 1} of {rounds}")
                    for name in lanes:
                        turns[name].append(_turn(loop, name, redis, count))
                return turns


def _turn(loop: Child, lane: str, redis: ProcessTree, count: int) -> Turn:
    before = redis.cpu_seconds()
    heard = loop.ask(lane)
    hot_seconds = redis.cpu_seconds() - before
    ours, plain = heard["gateway"], heard[PLAIN]
    return Turn(
        gateway_us=ours["cpu_seconds"] / count * _MICRO,
        plain_us=plain["cpu_seconds"] / count * _MICRO,
        hot_us=hot_seconds / count * _MICRO,
        wall_us=ours["seconds"] / count * _MICRO,
        awaited=heard["awaited"],
        failures=int(ours["failures"] + plain["failures"]),
    )


class World:
    """Hosts that all are the same socket, and models that each have replicas on some of them."""

    def __init__(self, port: int, *, hosts: int = _REPLICAS) -> None:
        self.hosts = [_host(port) for _ in range(hosts)]

    def register(self, hot: HotState, *, models: int, tokens: int) -> list[str]:
        """Bodies of requests for some of it, spread over all of it."""
        tenant = str(uuid.uuid4())
        records = [prepared_version(tenant) for _ in range(models)]
        for page in _pages(records):
            hot.put_models(ModelRecord(one.model_id, tenant, 1, active=one) for one in page)
            hot.put_replicas(self._replicas(page))
        plain = [new_token() for _ in range(tokens)]
        owned = list(zip(plain, itertools.cycle(records)))
        for part in _pages(owned):
            hot.put_tokens((token_sha256(token), _permission(one)) for token, one in part)
        step = max(1, tokens // _ASKED)
        return [_body(token, one) for token, one in owned[::step]]

    def _replicas(self, records: Sequence[VersionRecord]) -> Iterator[tuple[str, str, Replica]]:
        for number, one in enumerate(records):
            for copy in range(_REPLICAS):
                host = self.hosts[(number + copy) % len(self.hosts)]
                yield one.model_id, one.version_id, Replica(host.host_id, host.boot_id, ReplicaState.READY)


def _pages(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))


def _host(port: int) -> Heartbeat:
    host_id = f"host-{uuid.uuid4().hex[:12]}"
    return Heartbeat(host_id, uuid.uuid4().hex, LOOPBACK, port, HostState.READY, 8 << 30, 1 << 30, 0, 100)


def prepared_version(tenant: str) -> VersionRecord:
    inputs = (TensorSignature("modelInput", "float32", (None, 4)),)
    outputs = (TensorSignature("modelOutput", "float32", (None, 3)),)
    return VersionRecord(
        version_id=str(uuid.uuid4()),
        model_id=str(uuid.uuid4()),
        tenant=tenant,
        number=1,
        sha256="5a" * 32,
        bytes=10_000,
        object_key=f"models/{tenant}/{uuid.uuid4()}",
        signature=Signature(inputs, outputs),
        passport=Passport(load_ms=5.0, run_ms=0.1, memory_bytes=1_000_000),
        certificate=Certificate(
            True, "Rows alone, together, permuted, duplicated and padded answered alike."
        ),
    )


def _permission(record: VersionRecord) -> TokenRecord:
    token_id = str(uuid.uuid4())
    return TokenRecord(
        record.tenant, TokenKind.MODEL_TOKEN, 1, token_id, (Scope.INFER,), model_id=record.model_id
    )


def _body(token: str, record: VersionRecord) -> str:
    inputs = {"modelInput": [[5.1, 3.5, 1.4, 0.2]]}
    return json.dumps({"token": token, "model": record.model_id, "inputs": inputs})


def environ_of_gateway(redis_url: str) -> dict[str, str]:
    """Of a control plane that only routes: its other stores are never asked."""
    return {
        "MODELROCKET_REDIS_URL": redis_url,
        "MODELROCKET_MONGO_URL": f"mongodb://{LOOPBACK}:1/?connect=false",
        "MODELROCKET_S3_BUCKET": "none",
        "MODELROCKET_S3_ENDPOINT_URL": f"http://{LOOPBACK}:1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MODELROCKET_DISPATCH_KEY": "5a" * 32,
        "MODELROCKET_PUBLIC_URL": f"http://{LOOPBACK}",
        "MODELROCKET_HOST_NETWORK": f"{LOOPBACK}/32",
        "MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": "1000000",
    }


@contextmanager
def beating(hot: HotState, hosts: Sequence[Heartbeat]) -> Iterator[None]:
    """They are alive until the block ends."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT_SECONDS):
            for host in hosts:
                hot.beat(msgspec.structs.replace(host, at=0.0))

    for host in hosts:
        hot.beat(host)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def stand_in_host() -> Iterator[int]:
    """A port that answers every request at once, whatever it asks."""
    over = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, over))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname(), timeout=1).close()
            thread.join()


def _accept(listener: socket.socket, over: threading.Event) -> None:
    callers: list[threading.Thread] = []
    while not over.is_set():
        caller, _ = listener.accept()
        thread = threading.Thread(target=_answer, args=(caller,), daemon=True)
        callers.append(thread)
        thread.start()


def _answer(caller: socket.socket) -> None:
    """Requests are small: one arrives whole."""
    with caller, contextlib.suppress(OSError):
        while caller.recv(_READ_BYTES):
            caller.sendall(_REPLY)
            time.sleep(0)
