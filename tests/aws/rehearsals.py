"""Each function does what it does in production, with the environment that its template gives it.

Its adapters are the real ones; the stores are this machine's, ECS is a stand-in, and the secrets that its
environment names hold where those are. Only calls are noted: whether they were allowed there is for the
simulator to say.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import boto3
import httpx
import msgspec
import pytest
import redis
from moto import mock_aws

from chalicelib import bootstrap
from chalicelib.auth import Principal
from chalicelib.contract.errors import NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, HostState, PrepareJob, PrepareResult, VersionFile
from chalicelib.contract.tokens import new_token, token_hint, token_sha256
from chalicelib.ports import HostReply, UploadPart
from chalicelib.records import Version, VersionState
from chalicelib.uploads import MODELS, AnnouncedFile, BeginUpload
from chalicelib.wiring import ControlPlane, build
from host_container.artifacts import ArtifactMissing, Artifacts, connect
from infra.local.embedded import EmbeddedServers
from infra.local.probes import s3_client
from tests.aws.deployed import Deployed, Function
from tests.aws.recorder import Call, recording
from tests.support.coordinating import take_over
from tests.support.ecs import EcsServer, running_ecs
from tests.support.uploads import PASSPORT, SIGNATURE, announce

GRAPH: Final = b"a graph"
WEIGHTS: Final = b"weights that lie beside it"
_WAIT_MS: Final = 2_000
_HEARTBEAT: Final = Heartbeat("", "boot", "10.0.0.1", 1, HostState.READY, 1, 0, 0, 0)
_LATER: Final = timedelta(days=30)
_ROLES: Final = {"Coordinator": "coordinator"}
"""Of Redis, of functions that are not gateways."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What rehearsals share: the deployment, and what stands for it here. `calls`: by who made them.

    A function is started once.
    """

    deployed: Deployed
    servers: EmbeddedServers
    ecs: EcsServer
    folder: Path
    database: str
    calls: dict[str, list[Call]] = field(default_factory=dict)
    _planes: dict[str, ControlPlane] = field(default_factory=dict)

    def plane(self, name: str) -> ControlPlane:
        """As the function of this name starts, its secrets read as it does; whatever it calls is noted."""
        if name not in self._planes:
            with self.started(name) as environment:
                self._planes[name] = build(environment)
        return self._planes[name]

    @contextmanager
    def started(self, name: str) -> Iterator[Mapping[str, str]]:
        """While it starts; its environment."""
        function = self.deployed.functions()[name]
        with mock_aws(config={"core": {"mock_credentials": False}}):
            self._keep_secrets(function, _ROLES.get(name, "gateway"))
            with self.noted(name):
                yield {**function.environment, **self._here()}

    def noted(self, name: str) -> AbstractContextManager[None]:
        """Of the clients that are made within."""
        return recording(self.calls.setdefault(name, []))

    def _here(self) -> dict[str, str]:
        return {
            "MODELROCKET_MONGO_DATABASE": self.database,
            "MODELROCKET_S3_ENDPOINT_URL": self.servers.connections.s3.endpoint_url or "",
        }

    def _keep_secrets(self, function: Function, role: str) -> None:
        """A secret's name is the last part of its ARN, or of what is known of that."""
        values = {
            "MODELROCKET_MONGO_URL": self.servers.connections.mongo_stack_url,
            "MODELROCKET_REDIS_URL": self.servers.connections.redis_urls[role],
            "MODELROCKET_DISPATCH_KEY": "5a" * 32,
            "MODELROCKET_EDGE_KEY": "e" * 64,
            "MODELROCKET_PUBLIC_URL": "https://d111111abcdef8.cloudfront.net",
        }
        client = boto3.client("secretsmanager", region_name=self.deployed.region)
        for variable, value in function.environment.items():
            if value.startswith("arn:aws:secretsmanager:"):
                client.create_secret(Name=value.rpartition(":")[2], SecretString=values[variable])


@contextmanager
def staged(deployed: Deployed, servers: EmbeddedServers, folder: Path) -> Iterator[Stage]:
    """On an empty Redis, a database and a bucket of its own."""
    redis.Redis.from_url(servers.connections.redis_urls["stack"]).flushall()
    coordinator = deployed.functions()["Coordinator"].environment
    s3 = servers.connections.s3
    owner = s3_client(s3)
    with suppress(owner.exceptions.BucketAlreadyOwnedByYou):
        owner.create_bucket(Bucket=coordinator["MODELROCKET_S3_BUCKET"])
    with running_ecs() as ecs, pytest.MonkeyPatch.context() as patch:
        ecs.service.name = coordinator["MODELROCKET_ECS_SERVICE"]
        ecs.service.cluster = coordinator["MODELROCKET_ECS_CLUSTER"]
        ecs.service.region = deployed.region
        for name, value in (
            ("AWS_ACCESS_KEY_ID", s3.access_key),
            ("AWS_SECRET_ACCESS_KEY", s3.secret_key),
            ("AWS_DEFAULT_REGION", deployed.region),
            ("AWS_ENDPOINT_URL_ECS", ecs.url),
        ):
            patch.setenv(name, value)
        yield Stage(deployed, servers, ecs, folder, f"test_{uuid.uuid4().hex}")


# The functions


def set_up(stage: Stage) -> None:
    """The indexes, and the operator's first key."""
    key = new_token()
    first_key = {"sha256": token_sha256(key), "hint": token_hint(key)}
    with stage.started("Setup") as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert bootstrap.handler({"first_key": first_key}, None) == {"first_key_added": True}


def manage(stage: Stage) -> None:
    """Uploads in one piece and in parts, kept, prepared, found to be no good, and given up."""
    plane = stage.plane("Management")
    alice = _account(plane, "alice")
    _uploaded(plane, alice, announce(GRAPH))
    _settled(plane, alice, _prepared(stage))
    _uploaded(plane, alice, _with_weights("apart"))
    job = _prepared(stage, reason="It is no model.")
    plane.objects.begin_parts(f"{os.path.dirname(job.object_key)}/left-by-a-call-that-died")
    _settled(plane, alice, job)
    with pytest.raises(NotFound):
        plane.uploads.status(alice, "no-such-model", 1)


def infer(stage: Stage) -> None:
    """Inputs and answers that do not go through the API, now or later."""
    payloads = stage.plane("Inference").payloads
    begun = payloads.begin("alice", len(GRAPH))
    with pytest.raises(NotFound):
        payloads.check("alice", begun.id)
    httpx.put(begun.upload.url, content=GRAPH, headers=begun.upload.headers).raise_for_status()
    payloads.check("alice", begun.id)
    httpx.get(payloads.source("alice", begun.id)).raise_for_status()
    answer = payloads.keep("alice", b"{}")
    assert payloads.answer("alice", answer) is None
    httpx.put(payloads.place("alice", answer), content=b"{}").raise_for_status()
    assert payloads.answer("alice", answer) == b"{}"
    payloads.result_from("alice", answer, HostReply(200, b"", {}), size=2)


def coordinate(stage: Stage) -> None:
    """A pass with something of everything to do, and hosts that come and go."""
    gateway = stage.plane("Management")
    alice = _account(gateway, "alice")
    abandoned = gateway.uploads.begin(alice, _with_weights("abandoned"))
    for part in abandoned.parts:
        _put(part)
    deleted = _uploaded(gateway, alice, announce(GRAPH, name="deleted"))
    _settled(gateway, alice, _prepared(stage))
    gateway.deletion.delete_model(alice, deleted.model_id)
    stage.plane("Inference").payloads.keep("alice", b"{}")
    failing = _uploaded(gateway, alice, _with_weights("failing"))
    _prepared(stage, reason="It is no model.")
    plane = stage.plane("Coordinator")
    _let_pass(plane)
    assert plane.reconciler.tick() is not None
    for version in (abandoned.version, failing):
        left = gateway.store.any_version(version.id)
        assert left and left.state is VersionState.FAILED
    assert gateway.store.any_version(deleted.id) is None
    _scale(stage, plane)


def look_up(stage: Stage) -> None:
    """A host: a model that is there, and one that is not."""
    bucket = stage.deployed.functions()["Coordinator"].environment["MODELROCKET_S3_BUCKET"]
    s3 = stage.servers.connections.s3
    there, gone = _job("there"), _job("gone")
    s3_client(s3).put_object(Bucket=bucket, Key=there.object_key, Body=GRAPH)
    with stage.noted(HOST):
        store = connect(s3.endpoint_url)
    artifacts = Artifacts(store, bucket=bucket, folder=stage.folder, bytes_max=2**20, clock=time.monotonic)
    artifacts.open()
    with artifacts.held(there) as path:
        assert path.read_bytes() == GRAPH
    with pytest.raises(ArtifactMissing), artifacts.held(gone):
        pass


HOST: Final = "Host"
FUNCTIONS: Final[Mapping[str, Callable[[Stage], None]]] = {
    "Setup": set_up,
    "Management": manage,
    "Inference": infer,
    "Coordinator": coordinate,
}


def _account(plane: ControlPlane, name: str) -> Principal:
    key = new_token()
    plane.keys.ensure_api_key(name, key)
    return plane.auth.authenticate(f"Bearer {key}")


def _with_weights(name: str) -> BeginUpload:
    """Two files, of which the second comes in parts."""
    weights = AnnouncedFile(bytes=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest())
    return msgspec.structs.replace(announce(GRAPH, name=name), weights=weights)


def _uploaded(plane: ControlPlane, who: Principal, request: BeginUpload) -> Version:
    begun = plane.uploads.begin(who, request)
    for part in begun.parts:
        _put(part)
    return plane.uploads.complete(who, begun.model.id, begun.version.number)


def _put(part: UploadPart) -> None:
    content = GRAPH if part.file is VersionFile.MODEL else WEIGHTS
    httpx.put(part.url, content=content, headers=part.headers).raise_for_status()


def _prepared(stage: Stage, *, reason: str | None = None) -> PrepareJob:
    """As if a host had prepared what waits: well, or failing for this reason."""
    hot = HotState.connect(stage.servers.connections.redis_urls["host"], timeout_seconds=5)
    claimed = hot.take_job("host-1", wait_ms=_WAIT_MS)
    assert claimed is not None
    result = PrepareResult(claimed.job.version_id, "host-1", reason=reason)
    if reason is None:
        result = msgspec.structs.replace(result, signature=SIGNATURE, passport=PASSPORT)
    hot.finish_job(claimed.entry_id, result)
    return claimed.job


def _settled(plane: ControlPlane, who: Principal, job: PrepareJob) -> None:
    plane.uploads.status(who, job.model_id, job.number)


def _let_pass(plane: ControlPlane) -> None:
    """So much time that everything is due that is ever due. Its clocks are set, nobody else's."""
    for case in (plane.uploads, plane.deletion):
        case._now = lambda: datetime.now(UTC) + _LATER
    origin = plane.payloads._origin
    plane.payloads._origin = replace(origin, unix=lambda: time.time() + _LATER.total_seconds())


def _scale(stage: Stage, plane: ControlPlane) -> None:
    """Three hosts where there were others; then one goes, and one is ended in whose place another comes."""
    fleet = plane.reconciler._capacity
    assert fleet is not None
    epoch = take_over(plane.hot, epoch=9)
    fleet.set(3, ending=(), epoch=epoch)
    stage.ecs.service.settle()
    first, second, third = stage.ecs.service.tasks
    for host_id in (first, second, third):
        plane.hot.beat(msgspec.structs.replace(_HEARTBEAT, host_id=host_id))
    fleet.set(2, ending=[third], epoch=epoch)
    stage.ecs.service.settle()
    assert stage.ecs.service.tasks == [first, second]
    fleet.set(2, ending=[second], epoch=epoch)
    assert second in stage.ecs.service.stopped


def _job(name: str) -> PrepareJob:
    sha256 = hashlib.sha256(GRAPH).hexdigest()
    return PrepareJob(name, "model", "alice", 1, sha256, len(GRAPH), f"{MODELS}alice/model/{name}/graph.onnx")
