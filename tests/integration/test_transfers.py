"""What a host does with inputs and answers that go by way of the store: a real host, a real store."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.answers import AnswerView, Deferred
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.tokens import Ticket
from chalicelib.contract.transfers import HEADER, HELD, INLINE_MAX, Transfer
from chalicelib.payloads import Origin, Payloads
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support.hosts import HostProcess, prepare, running_host
from tests.support.onnx_models import identity
from tests.support.waiting import wait_for

NUMBERS = list(range(100))
INPUTS = json.dumps({"x": NUMBERS}).encode()


@dataclass(frozen=True)
class Dispatching:
    """The gateway's part, played: requests to one host for one version, each with its own id."""

    host: HostProcess
    record: VersionRecord
    payloads: Payloads

    def send(
        self,
        *,
        request_id: str = "",
        body: bytes = b"",
        header: str | None = None,
        headers: Mapping[str, str] | None = None,
        **transfer: Any,
    ) -> httpx.Response:
        request_id = request_id or uuid.uuid4().hex
        ticket = Ticket(
            request_id=request_id,
            tenant=self.record.tenant,
            version_id=self.record.version_id,
            boot_id=self.host.boot_id,
            deadline_ms=int((time.time() + 25) * 1000),
        )
        signed = Transfer(request_id, **transfer).sign(self.host.key) if header is None else header
        given = {"X-Rocket-Ticket": ticket.sign(self.host.key), **(headers or {})}
        given |= {HEADER: signed} if transfer or header is not None else {}
        url = f"http://127.0.0.1:{self.host.port}/infer"
        return httpx.post(url, content=body, headers=given, timeout=30)

    def stored(self, inputs: bytes = INPUTS) -> str:
        """A URL that they are at."""
        tenant = self.record.tenant
        return self.payloads.source(tenant, self.payloads.keep(tenant, inputs))


@pytest.fixture(scope="module")
def _host(servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with running_host(servers, tmp_path_factory.mktemp("transfers")) as running:
        yield running


@pytest.fixture(scope="module")
def _record(servers: EmbeddedServers, _host: HostProcess) -> VersionRecord:
    url = servers.connections.redis_urls["coordinator"]
    return prepare(HotState.connect(url, timeout_seconds=5), servers, identity("float32"))


@pytest.fixture
def dispatching(
    plane: ControlPlane, hot: HotState, _record: VersionRecord, _host: HostProcess
) -> Dispatching:
    record = _record
    hot.put_version(record)
    payloads = Payloads(plane.objects, Origin(bytes.fromhex("5a" * 32), time.time, os.urandom))
    return Dispatching(_host, record, payloads)


def test_inputs_in_the_store_are_answered_like_those_in_the_body(dispatching: Dispatching) -> None:
    inline = dispatching.send(body=INPUTS)
    stored = dispatching.send(inputs_url=dispatching.stored())
    assert (inline.status_code, inline.content) == (200, stored.content)
    assert stored.json()["result"]["y"] == NUMBERS
    wrong = [dispatching.send(body=b"[1"), dispatching.send(inputs_url=dispatching.stored(b"[1"))]
    assert wrong[0].status_code == wrong[1].status_code == 400
    assert wrong[0].json()["error"]["message"] == wrong[1].json()["error"]["message"]


def test_what_is_not_there_is_not_found(dispatching: Dispatching) -> None:
    tenant = dispatching.record.tenant
    absent = dispatching.payloads.source(tenant, dispatching.payloads.new_id())
    answer = dispatching.send(inputs_url=absent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_host_goes_to_its_own_store_only(dispatching: Dispatching) -> None:
    """Not even the gateway's word sends it elsewhere: no connection is made, no redirect followed."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)
        port = elsewhere.getsockname()[1]
        store = httpx.URL(dispatching.stored())
        for url in (
            f"http://127.0.0.1:{port}/modelrocket/payloads/x",
            f"http://{store.host}:{store.port}@127.0.0.1:{port}/modelrocket/payloads/x",
            f"file:///modelrocket/payloads/{port}",
            str(store.copy_with(raw_path=b"/modelrocket/models/x")),
        ):
            answer = dispatching.send(inputs_url=url)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "dependency"), url
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_only_a_signed_header_of_this_very_request_is_obeyed(dispatching: Dispatching) -> None:
    url = dispatching.stored()
    other = Transfer("another-request", inputs_url=url).sign(dispatching.host.key)
    forged = Transfer("request-1", inputs_url=url).sign(b"k" * 32)
    text, _, mac = Transfer("request-1", inputs_url=url).sign(dispatching.host.key).rpartition("|")
    changed = f"{text.replace('payloads', 'payload5')}|{mac}"
    for header in (other, forged, changed, "", "x"):
        answer = dispatching.send(request_id="request-1", header=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated"), header


def test_an_answer_too_large_for_the_gateway_is_held_and_then_stored(
    dispatching: Dispatching, plane: ControlPlane
) -> None:
    inline = dispatching.send(body=INPUTS)
    held = dispatching.send(request_id="large-1", body=INPUTS, headers={INLINE_MAX: "100"})
    assert (held.status_code, held.content) == (200, b"")
    assert int(held.headers[HELD]) == len(inline.content)
    tenant, answer_id = dispatching.record.tenant, dispatching.payloads.new_id()
    place = dispatching.payloads.place(tenant, answer_id)
    assert dispatching.send(request_id="large-1", answer_url=place).status_code == 200
    assert dispatching.payloads.answer(tenant, answer_id) == inline.content
    again = dispatching.send(request_id="large-1", answer_url=place)
    assert again.status_code == 404


def test_a_hosts_own_door_says_where_payloads_are_taken(dispatching: Dispatching) -> None:
    host, model_id = dispatching.host, dispatching.record.model_id
    plain = host.post("/inference", {"model": model_id, "inputs_from": "0" * 40})
    v2 = host.post(f"/v2/models/{model_id}/infer", b"", headers={"X-Rocket-Inputs-From": "0" * 40})
    assert (plain.status, v2.status) == (400, 400)
    assert "gateway" in plain.body["error"]["message"]
    assert v2.body["error"] == plain.body["error"]["message"]


def accepted(dispatching: Dispatching, hot: HotState, url: str) -> str:
    """The id of an answer that the host has promised."""
    answer_id, request_id = dispatching.payloads.new_id(), uuid.uuid4().hex
    tenant = dispatching.record.tenant
    hot.begin_answer(
        answer_id,
        Deferred(tenant, "0" * 64, dispatching.record.model_id, request_id, "payload", {}),
        claim="me",
    )
    reply = dispatching.send(
        request_id=request_id,
        inputs_url=url,
        answer_id=answer_id,
        answer_url=dispatching.payloads.place(tenant, answer_id),
        seconds=60.0,
    )
    assert reply.status_code == 202
    assert reply.json()["boot_id"] == dispatching.host.boot_id
    return answer_id


def ended(hot: HotState, answer_id: str) -> AnswerView:
    def look() -> AnswerView | None:
        view = hot.answer(answer_id)
        return view if view and view.head else None

    return wait_for(look, what="the answer")


def test_a_promised_answer_is_the_one_it_would_have_been(dispatching: Dispatching, hot: HotState) -> None:
    inline = dispatching.send(body=INPUTS)
    view = ended(hot, accepted(dispatching, hot, dispatching.stored()))
    assert view.head
    assert (view.head.status, view.body) == (200, inline.content)
    assert view.head.headers["x-model-version"] == inline.headers["x-model-version"]
    wrong = ended(hot, accepted(dispatching, hot, dispatching.stored(b'{"z": [1]}')))
    assert wrong.head
    assert (wrong.head.status, json.loads(wrong.body)["error"]["code"]) == (422, "invalid_tensor")


def test_a_large_promised_answer_is_in_the_store(dispatching: Dispatching, hot: HotState) -> None:
    numbers = [0.5] * (limits.ANSWER_BYTES_HOT_MAX // 3)
    answer_id = accepted(dispatching, hot, dispatching.stored(json.dumps({"x": numbers}).encode()))
    view = ended(hot, answer_id)
    assert view.head
    assert (view.head.status, view.head.stored, view.body) == (200, True, b"")
    stored = dispatching.payloads.answer(dispatching.record.tenant, answer_id)
    assert stored is not None
    assert len(stored) == view.head.bytes
    assert json.loads(stored)["result"]["y"] == numbers
