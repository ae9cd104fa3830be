"""Measures what grows, on real servers of this machine: less than two minutes.

Of three rounds the least counts, which others on the machine disturbed least.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import redis
from pymongo import MongoClient

from benchmarks import density, models
from benchmarks.alone import Stores, counters, running_stores, tree
from benchmarks.children import child
from benchmarks.gateway import World, beating, environ_of_gateway, prepared_version, stand_in_host
from benchmarks.gatewayloop import PLAIN
from benchmarks.gatewayloop import Order as GatewayOrder
from benchmarks.growth import environment
from benchmarks.growth.figures import Connections, HotCosts, Measured, PassCosts, Tick
from benchmarks.machine import this_machine
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import expect_ok, inference_lane, until
from benchmarks.simulation import scale
from chalicelib.adapters.mongo.database import document
from chalicelib.catalogue import Catalogue
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.admission import Admissions, Lease
from chalicelib.contract.latency import Took
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import (
    Heartbeat,
    HostLoad,
    HostState,
    ModelRecord,
    Passport,
    Scope,
    Signature,
    TensorSignature,
    TokenKind,
    VersionLoad,
)
from chalicelib.contract.metering import Outcome, UsageKey
from chalicelib.contract.tokens import token_sha256
from chalicelib.projection import TokenProjection
from chalicelib.records import Model, Token, Version, VersionState
from chalicelib.usage import Metering
from chalicelib.wiring import ControlPlane, build
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.servers import REDIS
from tests.support.metering import make_past

BEAT_VERSIONS: Final = 50
"""Versions that a host was asked for between two heartbeats."""
TICKS: Final = ((10, 1_000), (100, 10_000), (1_000, 100_000))
_REQUESTS: Final = 3_000
_CALLERS: Final = 4
_COLD: Final = (20, 1_020)
"""Hosts, of which the second many are asked of a cold model as well."""
_COLD_REQUESTS: Final = 300
_BEATS: Final = 3_000
_REGISTERED: Final = 5_000
_COUNTED: Final = 500
_READ: Final = 10_000
_WORKERS: Final = (1, 21)
_GATEWAY_REQUESTS: Final = 2_000
_ROUNDS: Final = 3
_BYTES: Final = 2 * 10**6
_MICRO: Final = 1e6
_MB: Final = 10**6
_SECONDS_A_MINUTE: Final = 60
_UNLIMITED: Final = AccountLimits.of(1e6, 100_000)
_HOT_SECONDS: Final = 30.0
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.3

Costs = TypeVar("Costs", HotCosts, PassCosts)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Truth:
    """A control plane on stores of its own."""

    servers: EmbeddedServers
    plane: ControlPlane
    raw: Any

    @property
    def mongo(self) -> Any:
        """The database, with every right."""
        connections = self.servers.connections
        return MongoClient(connections.mongo_stack_url)[self.plane.settings.mongo_database]


def measure(folder: Path, command: str, say: Say) -> Measured:
    """Everything, one after the other."""
    at = datetime.now(UTC)
    say("ticks of the planner")
    ticks = tuple(_ticks())
    with running_stores(folder / "hosts") as stores:
        say("workers of a host")
        worker_mb, host = _hosts(stores, folder / "models")
    with embedded_servers(folder / "stores") as servers:
        truth = _Truth(servers, build(_environ(servers, "coordinator")), _raw(servers))
        truth.plane.store.create_indexes()
        say("connections of functions")
        held = {kind: _connections(truth, kind) for kind in _KINDS}
        say("the gateway")
        gateway_us = _gateway_us(truth)
        say("the hot state")
        hot = _least([_hot(truth) for _ in range(_ROUNDS)])
        say("the coordinator's passes")
        _put_truth(truth.mongo, [str(uuid.uuid4()) for _ in range(_READ // 10)])
        passes = _least([_passes(truth) for _ in range(_ROUNDS)])
    return Measured(
        at=at.strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        machine=this_machine(),
        gateway_cpu_us=gateway_us,
        worker_mb=worker_mb,
        hot=hot,
        passes=passes,
        ticks=ticks,
        inference=held[environment.INFERENCE],
        management=held[environment.MANAGEMENT],
        coordinator=held[environment.COORDINATOR],
        host=host,
    )


_KINDS: Final = (environment.INFERENCE, environment.MANAGEMENT, environment.COORDINATOR)


def _environ(servers: EmbeddedServers, role: str) -> dict[str, str]:
    return {
        **servers.connections.control_plane(role),
        "MODELROCKET_DISPATCH_KEY": "5a" * 32,
        "MODELROCKET_PUBLIC_URL": "http://127.0.0.1",
        "MODELROCKET_HOST_NETWORK": "127.0.0.1/32",
    }


def _raw(servers: EmbeddedServers) -> Any:
    return redis.Redis.from_url(servers.connections.redis_urls["stack"])


def _least(rounds: Sequence[Costs]) -> Costs:
    """Of each figure."""
    figures = [msgspec.structs.asdict(one) for one in rounds]
    return msgspec.structs.replace(
        rounds[0], **{name: min(one[name] for one in figures) for name in figures[0]}
    )


# The planner


def _ticks() -> Iterator[Tick]:
    """The slowest pass of each size, in a process of its own."""
    for hosts, many in TICKS:
        costs = scale.apart(hosts, many)
        slowest, most = max(cost.cpu_seconds for cost in costs), max(cost.memory_mb for cost in costs)
        yield Tick(hosts, many, slowest, most)


# Hosts


def _hosts(stores: Stores, made: Path) -> tuple[float, Connections]:
    """What an account's worker takes in MB, and what a host is connected to."""
    example = models.make("tiny", made)
    with stores.host() as host:
        record = stores.prepared(example.path.read_bytes())
    deployed = [stores.deploy(record, tenant=str(uuid.uuid4()))[0] for _ in range(_WORKERS[-1])]
    with stores.host() as host:
        seen = []
        for first, last in zip((0, *_WORKERS), _WORKERS, strict=False):
            for one in deployed[first:last]:
                expect_ok(inference_lane(host.port, example.inputs[:1], one))
            until(lambda last=last: counters(host)["versions_ready"] == last, what=f"{last} models")  # type: ignore[misc]
            seen.append(density.occupancy(tree(host), last).memory_bytes)
        held = environment.connections(str(host.process.pid))
    grown = (seen[-1] - seen[0]) / (_WORKERS[-1] - _WORKERS[0])
    return grown / _MB, _by_store(stores.servers, held)


# Connections


def _connections(truth: _Truth, kind: str) -> Connections:
    role = "coordinator" if kind == environment.COORDINATOR else "gateway"
    truth.raw.flushall()
    with stand_in_host() as port:
        world = World(port)
        hot = _hot_state(truth)
        (body,) = world.register(hot, models=1, tokens=1)
        order = environment.Order(_environ(truth.servers, role), kind, body)
        with (
            beating(hot, world.hosts),
            child("benchmarks.growth.environment", asdict(order)) as function,
        ):
            function.ask("")
            return _by_store(truth.servers, function.ask(""))


def _by_store(servers: EmbeddedServers, held: Mapping[str, int]) -> Connections:
    access = servers.connections
    redis_port, mongo_port = urlsplit(access.redis_urls["stack"]).port, urlsplit(access.mongo_url).port
    return Connections(redis=held.get(str(redis_port), 0), mongo=held.get(str(mongo_port), 0))


def _hot_state(truth: _Truth) -> HotState:
    url = truth.servers.connections.redis_urls["coordinator"]
    return HotState.connect(url, timeout_seconds=_HOT_SECONDS)


# The gateway


def _gateway_us(truth: _Truth) -> float:
    truth.raw.flushall()
    with stand_in_host() as port:
        world, hot = World(port), _hot_state(truth)
        lanes = {"few": world.register(hot, models=1, tokens=1)}
        environ = environ_of_gateway(truth.servers.connections.redis_urls["gateway"])
        order = GatewayOrder(environ, lanes, _GATEWAY_REQUESTS)
        with (
            beating(hot, world.hosts),
            child("benchmarks.gatewayloop", asdict(order)) as loop,
        ):
            heard = [loop.ask("few") for _ in range(_ROUNDS)]
    assert not any(one[name]["failures"] for one in heard for name in ("gateway", PLAIN))
    seconds = min(float(one["gateway"]["cpu_seconds"]) for one in heard)
    return seconds / _GATEWAY_REQUESTS * _MICRO


# The hot state


def _hot(truth: _Truth) -> HotCosts:
    request_us, script_us, request_bytes = _warm(truth)
    model_bytes, host_bytes, counted_bytes = _memory(truth)
    return HotCosts(
        request_us=request_us,
        script_us=script_us,
        request_bytes=request_bytes,
        cold_host_us=_cold_host_us(truth),
        beat_us=_beat_us(truth),
        model_bytes=model_bytes,
        host_bytes=host_bytes,
        counted_bytes=counted_bytes,
    )


def _warm(truth: _Truth) -> tuple[float, float, float]:
    """Of one request: microseconds of the server, of its scripts alone, and bytes that it sent."""
    truth.raw.flushall()
    hot, world = _hot_state(truth), World(1)
    asked = [json.loads(body) for body in world.register(hot, models=100, tokens=100)]
    admissions = _admissions(truth)

    def ask(number: int) -> None:
        one = asked[number % len(asked)]
        _patiently(lambda: _request(admissions, one["token"], one["model"], f"lease-{number}"))

    with beating(hot, world.hosts), ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(ask, range(_CALLERS * 10)))
        truth.raw.config_resetstat()
        server = _server(truth)
        cpu = server.cpu_seconds()
        list(pool.map(ask, range(_REQUESTS)))
        used = server.cpu_seconds() - cpu
    scripts = truth.raw.info("commandstats")["cmdstat_evalsha"]["usec"]
    sent = truth.raw.info("stats")["total_net_output_bytes"]
    admissions.close()
    return used / _REQUESTS * _MICRO, scripts / _REQUESTS, sent / _REQUESTS


def _request(admissions: Admissions, token: str, model_id: str, lease_id: str) -> None:
    admission = admissions.admit(token_sha256(token), model_id, lease_id=lease_id, cost=1)
    permission, host = admission.view.token, admission.view.hosts[0]
    assert permission is not None
    lease = Lease(lease_id, permission.tenant, model_id)
    admissions.lease(host.host_id, lease, now=admission.view.now)
    key = UsageKey(permission.tenant, permission.token_id, model_id, 1)
    outcome = Outcome(key=key, status=200, rows=1, compute_us=50_000, bytes_in=200, bytes_out=200)
    version_id = admission.view.replicas[0][0]
    admissions.release(lease, host_id=host.host_id, version_id=version_id, seconds=0.05, outcome=outcome)


def _patiently(ask: Callable[[], object]) -> None:
    """On a machine with others at work the server may once not answer in the time that a request has."""
    for _ in range(_TRIES):
        try:
            ask()
        except DependencyFailed:
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    ask()


def _admissions(truth: _Truth) -> Admissions:
    url = truth.servers.connections.redis_urls["gateway"]
    return Admissions(url, account=_UNLIMITED, clock=time.monotonic)


def _server(truth: _Truth) -> ProcessTree:
    return ProcessTree([truth.servers.children[REDIS].pid or 0])


def _cold_host_us(truth: _Truth) -> float:
    """What one more host adds to the script of a request that finds no replica."""
    truth.raw.flushall()
    hot, admissions = _hot_state(truth), _admissions(truth)
    record = prepared_version(str(uuid.uuid4()))
    hot.put_models([ModelRecord(record.model_id, record.tenant, 1, active=record)])
    taken, there = [], 0
    for count in _COLD:
        for _ in range(count - there):
            hot.beat(_host())
        there = count
        truth.raw.config_resetstat()
        for _ in range(_COLD_REQUESTS):
            _patiently(lambda: admissions.look(record.model_id))
        taken.append(float(truth.raw.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]))
    admissions.close()
    return (taken[1] - taken[0]) / (_COLD[1] - _COLD[0])


def _beat_us(truth: _Truth) -> float:
    truth.raw.flushall()
    hot, host = _hot_state(truth), _host()
    load = HostLoad(2.0, {str(uuid.uuid4()): VersionLoad(10, 0.5, 0.25) for _ in range(BEAT_VERSIONS)})
    server = _server(truth)
    cpu = server.cpu_seconds()
    for number in range(_BEATS):
        hot.beat(host, load, number=number)
    return (server.cpu_seconds() - cpu) / _BEATS * _MICRO


def _host() -> Heartbeat:
    boot_id = uuid.uuid4().hex
    return Heartbeat(
        f"host-{boot_id[:12]}", boot_id, "10.60.1.2", 8080, HostState.READY, 8 << 30, 1 << 30, 0, 100
    )


def _memory(truth: _Truth) -> tuple[float, float, float]:
    """Bytes of a model, of a host, and of what one key used in a minute."""
    truth.raw.flushall()
    hot = _hot_state(truth)
    hot.beat(_host())
    empty = _used(truth)
    World(1).register(hot, models=_REGISTERED, tokens=_REGISTERED)
    with_models = _used(truth)
    for _ in range(_REGISTERED):
        hot.beat(_host())
    with_hosts = _used(truth)
    _count(hot, _COUNTED)
    counted = _used(truth)
    return (
        (with_models - empty) / _REGISTERED,
        (with_hosts - with_models) / _REGISTERED,
        (counted - with_hosts) / _COUNTED,
    )


def _used(truth: _Truth) -> int:
    return int(truth.raw.info("memory")["used_memory"])


def _count(hot: HotState, accounts: int) -> None:
    """A minute of accounts that each used one version with one key, ten times."""
    for number in range(accounts):
        key = UsageKey(str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4()), 1)
        hot.tell_usage(f"source-{number}", 1, sums={}, outcomes=list(_outcomes(key)))


def _outcomes(key: UsageKey) -> Iterator[Outcome]:
    for number in range(10):
        took = Took(total=50_000 + 10_000 * number, queue=1_000 * number, batch=1_000, run=50_000)
        yield Outcome(key=key, status=200, rows=1, compute_us=50_000, bytes_in=200, bytes_out=200, took=took)


# The coordinator's passes


def _passes(truth: _Truth) -> PassCosts:
    truth.raw.flushall()
    store, hot = truth.plane.store, _hot_state(truth)
    kept = 0

    def keep() -> None:
        nonlocal kept
        kept += 1

    began, cpu = time.perf_counter(), time.process_time()
    catalogue = Catalogue(store=store, hot=hot, finish=lambda _: None, keep=keep)
    catalogue.refresh(None)
    read, read_cpu = time.perf_counter() - began, time.process_time() - cpu
    assert len(catalogue.views()) == _READ and kept
    began = time.perf_counter()
    TokenProjection(store=store, hot=hot, keep=keep).project(None)
    tokens = time.perf_counter() - began
    return PassCosts(
        model_read_us=read / _READ * _MICRO,
        model_read_cpu_us=read_cpu / _READ * _MICRO,
        token_read_us=tokens / _READ * _MICRO,
        rolled_up_us=_rolled_up_us(truth, hot),
    )


def _rolled_up_us(truth: _Truth, hot: HotState) -> float:
    _count(hot, _COUNTED)
    make_past(truth.raw, int(time.time()) // _SECONDS_A_MINUTE - 1)
    metering = Metering(store=truth.plane.store, hot=hot, now=lambda: datetime.now(UTC))
    began = time.perf_counter()
    assert metering.roll_up() == _COUNTED
    return (time.perf_counter() - began) / _COUNTED * _MICRO


def _put_truth(database: Any, tenants: Sequence[str]) -> None:
    """As many models, each with an active version and a token."""
    versions = [_version(tenants[number % len(tenants)]) for number in range(_READ)]
    _insert(database["versions"], versions)
    _insert(database["models"], [_model(version, number) for number, version in enumerate(versions)])
    _insert(database["tokens"], [_token(version) for version in versions])


def _insert(collection: Any, records: Iterable[Any]) -> None:
    now = datetime.now(UTC)
    documents = [{**document(record), "changed_at": now} for record in records]
    for first in range(0, len(documents), 1_000):
        collection.insert_many(documents[first : first + 1_000], ordered=False)


def _version(tenant: str) -> Version:
    inputs = (TensorSignature("modelInput", "float32", (None, 64)),)
    outputs = (TensorSignature("modelOutput", "float32", (None, 10)),)
    return Version(
        id=str(uuid.uuid4()),
        model_id=str(uuid.uuid4()),
        tenant=tenant,
        number=1,
        state=VersionState.READY,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        bytes=_BYTES,
        sha256=uuid.uuid4().hex * 2,
        framework="sklearn",
        staging_key=f"staging/{uuid.uuid4()}",
        object_key=f"models/{tenant}/{uuid.uuid4()}/model.onnx",
        signature=Signature(inputs, outputs),
        passport=Passport(load_ms=5.0, run_ms=50.0, memory_bytes=_BYTES),
    )


def _model(version: Version, number: int) -> Model:
    return Model(
        id=version.model_id,
        tenant=version.tenant,
        name=f"model-{number}",
        created_at=version.created_at,
        active_version=1,
        active_version_id=version.id,
        numbers_used=1,
    )


def _token(version: Version) -> Token:
    return Token(
        id=str(uuid.uuid4()),
        sha256=uuid.uuid4().hex * 2,
        tenant=version.tenant,
        kind=TokenKind.MODEL_TOKEN,
        name="default",
        hint="mrt_12345678",
        created_at=version.created_at,
        scopes=(Scope.INFER,),
        model_id=version.model_id,
    )
