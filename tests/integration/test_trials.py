"""Real hosts on a real hot state: what they see of candidates arrives, and what was deleted leaves them."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import CandidateRecord, Counts, ModelRecord, ReplicaState, VersionRecord
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.hosts import HostProcess, Reply, outcome, prepare, publish, running_host, store
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

TRIAL: Final = 5
ONE: Final = {"x": [[5]]}


def prepare_second(
    hot: HotState, servers: EmbeddedServers, first: VersionRecord, content: bytes
) -> VersionRecord:
    """Another version of the model, loaded beside the first."""
    job = msgspec.structs.replace(
        store(servers, content), model_id=first.model_id, tenant=first.tenant, number=2
    )
    hot.enqueue(job)
    result = outcome(hot, job)
    assert result.signature is not None and result.passport is not None, result.reason
    fields = {name: getattr(job, name) for name in job.__struct_fields__}
    record = VersionRecord(**fields, signature=result.signature, passport=result.passport)
    hot.put_version(record)
    return record


def split(
    hot: HotState, active: VersionRecord, candidate: VersionRecord, *, percent: int, mirror_percent: int
) -> None:
    on_trial = CandidateRecord(candidate, percent, mirror_percent, TRIAL, 0.1)
    hot.put_model(ModelRecord(active.model_id, active.tenant, 2, active=active, candidate=on_trial))


def ask(host: HostProcess, token: str, record: VersionRecord, **headers: str) -> Reply:
    body = {"token": token, "model": record.model_id, "inputs": ONE}
    return host.post(
        "/inference", body, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def ask_binary(host: HostProcess, token: str, record: VersionRecord) -> Reply:
    content = np.array([[5]], np.float32).tobytes()
    given = {
        "name": "x",
        "shape": [1, 1],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(content)},
    }
    header = msgspec.json.encode({"inputs": [given]})
    headers = {"Authorization": f"Bearer {token}", "Inference-Header-Content-Length": str(len(header))}
    return host.post(f"/v2/models/{record.model_id}/infer", header + content, headers=headers)


def seen(hot: HotState, record: VersionRecord) -> Counts:
    counts = hot.rollout(record.model_id, TRIAL).get(record.version_id, Counts())
    return msgspec.structs.replace(counts, run_us=0, row_us=0)


def files(folder: Path, record: VersionRecord) -> list[Path]:
    return list((folder / "cache" / "versions").glob(f"*/{record.version_id}/*"))


def test_what_a_shadow_answered_is_compared_and_arrives(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    active = prepare(hot, servers, onnx_models.marked(1))
    candidate = prepare_second(hot, servers, active, onnx_models.marked(2))
    token = publish(hot, active)
    split(hot, active, candidate, percent=0, mirror_percent=100)
    assert ask(host, token, active).body["result"] == {"y": [[1, 5]]}
    wait_for(lambda: seen(hot, candidate).mirrored == 1, what="the first comparison to arrive")
    assert ask_binary(host, token, active).status == 200
    wait_for(lambda: seen(hot, candidate).mirrored == 2, what="the binary one to arrive")
    assert seen(hot, candidate) == Counts(requests=2, mirrored=2, differing=2)
    assert seen(hot, active).requests == 2
    assert hot.rollout(active.model_id, TRIAL)[candidate.version_id].run_us > 0


def test_a_candidate_in_quarantine_is_answered_for_by_the_active_version(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    active = prepare(hot, servers, onnx_models.identity("int64", [1]))
    candidate = prepare_second(hot, servers, active, onnx_models.turning())
    token = publish(hot, active)
    split(hot, active, candidate, percent=99, mirror_percent=0)
    body = {"token": token, "model": active.model_id, "inputs": {"x": [10**15]}}

    def crash() -> Reply:
        return host.post("/inference", body, headers={"X-Deadline-Ms": "500"})

    wait_for(lambda: crash().status == 200, what="the active version to answer")
    assert [event["quarantined"] for event in host.events("blamed")] == [False, True]
    answers = [crash() for _ in range(5)]
    assert [(reply.status, reply.headers["x-model-version"]) for reply in answers] == [(200, "1")] * 5


def test_what_was_counted_last_is_told_by_a_host_that_drains(
    host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    active = prepare(hot, servers, onnx_models.marked(1))
    candidate = prepare_second(hot, servers, active, onnx_models.marked(2))
    token = publish(hot, active)
    split(hot, active, candidate, percent=0, mirror_percent=0)
    host.process.send_signal(signal.SIGTERM)
    wait_for(lambda: host.events("draining"), what="the host to drain")
    asked = 0
    while host.process.poll() is None:
        asked += _answered(host, token, active)
    assert asked
    assert seen(hot, active) == Counts(requests=asked)


def _answered(host: HostProcess, token: str, record: VersionRecord) -> bool:
    try:
        return ask(host, token, record).status == 200
    except OSError:
        return False


def test_a_deleted_version_is_not_found_and_its_files_go(
    host: HostProcess, hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    deleted, kept = (prepare(hot, servers, onnx_models.marked(mark)) for mark in (1, 2))
    token = publish(hot, deleted)
    assert ask(host, token, deleted).status == 200
    assert files(tmp_path, deleted)
    hot.drop_versions([deleted.version_id])
    wait_for(lambda: host.infer(deleted, ONE).status == 404, what="tickets to be refused")
    assert ask(host, token, deleted).status == 404
    wait_for(lambda: not files(tmp_path, deleted), what="its files to go")
    wait_for(lambda: not hot.replicas(deleted.model_id), what="its replica to go")
    assert files(tmp_path, kept)
    assert host.infer(kept, ONE).status == 200
    assert hot.replicas(kept.model_id)[0][1].state is ReplicaState.READY


def test_a_host_that_was_away_catches_up_with_what_was_deleted(
    hot: HotState, servers: EmbeddedServers, tmp_path: Path
) -> None:
    with running_host(servers, tmp_path) as before:
        deleted, kept = (prepare(hot, servers, onnx_models.marked(mark)) for mark in (1, 2))
        before.process.kill()
    hot.drop_versions([str(uuid.uuid4()), deleted.version_id])
    with running_host(servers, tmp_path) as again:
        wait_for(lambda: not files(tmp_path, deleted), what="the files of an earlier process to go")
        assert again.infer(deleted, ONE).status == 404
        assert again.infer(kept, ONE).body["result"] == {"y": [[2, 5]]}
