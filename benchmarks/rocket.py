"""ModelRocket under test: a stack of its own, its gateway and the door of its hosts."""

from __future__ import annotations

import http.client
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import wire
from benchmarks.cells import LOOPBACK, UNLIMITED, Lane, Serving
from benchmarks.models import Example
from benchmarks.process_tree import ProcessTree
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, VersionRecord
from chalicelib.contract.tokens import Ticket
from infra.local.credentials import load_or_create
from modelrocket import Client
from tests.support.stack import RunningStack, running_stack

_TICKET_SECONDS: Final = 120
_HOT_SECONDS: Final = 2.0
_PROBE_SECONDS: Final = 30.0
_UNTIL_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1
_OK, _NOT_FOUND = 200, 404


class CannotServe(Exception):
    """A server under test does not answer as it should; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A model that answers."""

    token: str
    record: VersionRecord

    @property
    def model_id(self) -> str:
        return self.record.model_id


@dataclass(slots=True)
class Rocket:
    """A running stack and what is deployed on it."""

    stack: RunningStack
    hot: HotState
    client: Client
    deployed: dict[str, Deployed]

    def deploy(self, name: str, model: object) -> Deployed:
        """Upload it once; the second time it is there already."""
        if name not in self.deployed:
            deployment = self.client.upload(model, name, progress=False)
            token = deployment.token or self.client.create_token(deployment.model_id)
            model = self.hot.model(deployment.model_id)
            if model is None or model.active is None:
                raise CannotServe(f"{name} is deployed, but the gateway has no route to it")
            self.deployed[name] = Deployed(token, model.active)
        return self.deployed[name]

    def pids(self, kind: str) -> tuple[int, ...]:
        """Of the stack's children whose name begins so."""
        return tuple(self.stack.pid(name) for name in self.stack.children if name.startswith(kind))

    def hosts(self) -> tuple[Heartbeat, ...]:
        running = {name for name in self.stack.children if name.startswith("host")}
        return tuple(beat for beat in self.hot.hosts()[1] if beat.host_id in running)

    def ticket(self, deployed: Deployed, host: Heartbeat) -> str:
        """As the gateway would write it."""
        record = deployed.record
        return Ticket(
            request_id="bench",
            tenant=record.tenant,
            version_id=record.version_id,
            boot_id=host.boot_id,
            deadline_ms=int((time.time() + _TICKET_SECONDS) * 1000),
        ).sign(bytes.fromhex(load_or_create(self.stack.home).dispatch_key))


@contextmanager
def running_rocket(home: Path, *, hosts: int) -> Iterator[Rocket]:
    """A fresh stack in this folder, whatever was there before."""
    shutil.rmtree(home, ignore_errors=True)
    with running_stack(home, hosts, environment=UNLIMITED) as stack:
        hot = HotState.connect(stack.redis_url, timeout_seconds=_HOT_SECONDS)
        with Client(stack.base_url, stack.api_key) as client:
            yield Rocket(stack, hot, client, {})


@dataclass(frozen=True, slots=True)
class Gateway:
    """POST /inference where the public asks; gateway and hosts are counted, the hot state beside them."""

    rocket: Rocket
    name: str = "modelrocket gateway"

    @contextmanager
    def serving(self, example: Example) -> Iterator[Serving]:
        deployed = self.rocket.deploy(example.name, example.path)
        port = self.rocket.stack.port
        lane = inference_lane(port, example.inputs, deployed)
        expect_ok(lane)
        tree = ProcessTree((*self.rocket.pids("gateway"), *self.rocket.pids("host")))
        yield Serving((lane,), tree, beside={"valkey": ProcessTree(self.rocket.pids("valkey"))})


@dataclass(frozen=True, slots=True)
class HostDoor:
    """A host asked without the gateway: by token where it takes tokens, else by the gateway's ticket."""

    rocket: Rocket
    name: str = "modelrocket host"

    @contextmanager
    def serving(self, example: Example) -> Iterator[Serving]:
        deployed = self.rocket.deploy(example.name, example.path)
        host = self.rocket.hosts()[0]
        wanted = [
            inference_lane(host.port, example.inputs, deployed),
            v2_lane(host.port, example.inputs, deployed),
            v2_binary_lane(host.port, example.inputs, deployed),
        ]
        missing = {lane.protocol: f"status {status}" for lane in wanted if (status := probe(lane)) != _OK}
        lanes = [lane for lane in wanted if lane.protocol not in missing]
        if "json" in missing:
            missing["json"] += "; asked with a ticket instead"
            lanes.insert(0, self._infer_lane(host, example, deployed))
            expect_ok(lanes[0])
        tree = ProcessTree(self.rocket.pids(host.host_id))
        beside = {"valkey": ProcessTree(self.rocket.pids("valkey"))}
        yield Serving(lanes, tree, beside=beside, unavailable=missing)

    def _infer_lane(self, host: Heartbeat, example: Example, deployed: Deployed) -> Lane:
        """The internal door behind the gateway."""
        bodies = [wire.inputs_body(inputs) for inputs in example.inputs]

        def requests() -> Sequence[bytes]:
            headers = {"X-Rocket-Ticket": self.rocket.ticket(deployed, host)}
            return [wire.post("/infer", body, headers=headers) for body in bodies]

        return Lane("json, ticket", host.port, requests, wire.read_inference)


def inference_lane(port: int, inputs: Sequence[wire.Tensors], deployed: Deployed) -> Lane:
    bodies = [wire.inference_body(one, model_id=deployed.model_id, token=deployed.token) for one in inputs]
    requests = tuple(wire.post("/inference", body) for body in bodies)
    return Lane("json", port, lambda: requests, wire.read_inference)


def v2_lane(port: int, inputs: Sequence[wire.Tensors], deployed: Deployed) -> Lane:
    return _v2(port, "v2-json", [wire.v2_json_body(one) for one in inputs], deployed)


def v2_binary_lane(port: int, inputs: Sequence[wire.Tensors], deployed: Deployed) -> Lane:
    return _v2(port, "v2-binary", [wire.v2_binary_body(one) for one in inputs], deployed)


def _v2(port: int, protocol: str, bodies: Sequence[wire.Body], deployed: Deployed) -> Lane:
    headers: Mapping[str, str] = {"Authorization": f"Bearer {deployed.token}"}
    path = f"/v2/models/{deployed.model_id}/infer"
    requests = tuple(wire.post(path, body, headers=headers) for body in bodies)
    return Lane(protocol, port, lambda: requests, wire.read_v2)


def probe(lane: Lane) -> int:
    """The status of one request, followed by the end of the connection."""
    return _status_and_body(lane)[0]


def expect_ok(lane: Lane) -> None:
    """Raises CannotServe with the server's own words."""
    status, body = _status_and_body(lane)
    if status != _OK:
        raise CannotServe(f"port {lane.port} answers {lane.protocol} with {status}: {body[:300]!r}")


def _status_and_body(lane: Lane) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, lane.port, timeout=_PROBE_SECONDS)
    try:
        connection.connect()
        connection.sock.sendall(lane.requests()[0])
        response = http.client.HTTPResponse(connection.sock, method="POST")
        response.begin()
        return response.status, response.read()
    finally:
        connection.close()


def until(condition: Callable[[], bool], *, what: str) -> None:
    """Raises CannotServe when it takes a minute."""
    give_up_at = time.monotonic() + _UNTIL_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise CannotServe(f"waited {_UNTIL_SECONDS:.0f} s in vain for {what}")
        time.sleep(_PAUSE_SECONDS)
