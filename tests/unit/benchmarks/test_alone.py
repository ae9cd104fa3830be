"""Versions put straight into the stores are served by a real host like any other."""

from __future__ import annotations

import uuid
from pathlib import Path

import orjson

from benchmarks import churn, wire
from benchmarks.alone import Stores, counters
from benchmarks.churn import Subject
from benchmarks.rocket import Deployed
from chalicelib.contract.hotstate import HotState
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.hosts import HostProcess

ROW = wire.named_arrays({"x": [[7.0]]})


def asked(host: HostProcess, deployed: Deployed) -> object:
    body = wire.inference_body(ROW, model_id=deployed.model_id, token=deployed.token)
    reply = host.post("/inference", orjson.loads(body.content))
    return reply.body["result"]["y"] if reply.status == 200 else reply.status


def test_copies_and_others_of_the_same_graph_answer_for_themselves(
    servers: EmbeddedServers, hot: HotState, tmp_path: Path
) -> None:
    stores = Stores(servers, hot, tmp_path)
    with stores.host() as host:
        record = stores.prepared(onnx_models.marked(1))
        tenant = str(uuid.uuid4())
        copies = stores.deploy(record, count=2, tenant=tenant)
        others = stores.deploy_each([onnx_models.marked(mark) for mark in (2, 3)], like=record, tenant=tenant)
        answers = [asked(host, one) for one in (*copies, *others)]
        assert answers == [[[mark, 7.0]] for mark in (1.0, 1.0, 2.0, 3.0)]
        assert asked(host, Deployed(copies[0].token, copies[1].record)) == 403
        assert counters(host)["versions_ready"] == 5


def test_a_host_that_holds_two_of_six_loads_and_evicts_as_often_as_it_is_told(
    servers: EmbeddedServers, hot: HotState, tmp_path: Path
) -> None:
    content = onnx_models.marked(1, padding_bytes=100_000)
    subject = Subject("small", content, ROW, versions=6, held=2)
    seen = churn.measure(Stores(servers, hot, tmp_path), subject, cycles=40, say=lambda text: None)
    assert seen.end.evictions >= 40
    assert seen.end.loads == seen.end.evictions + 2
    assert seen.start.evictions < seen.end.evictions
    assert 1_000_000 < seen.start.anonymous_bytes < seen.start.resident_bytes
