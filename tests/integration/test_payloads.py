"""Payloads and later answers through the gateway's use cases: real stores, real hosts that are killed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from chalicelib.answers import Accepted, Answers
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    ModelRocketError,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.metadata import ModelPath
from chalicelib.contract.tokens import new_token
from chalicelib.payloads import Origin, Payloads
from chalicelib.routing import InferenceAnswer, InferenceCall, OpenInference
from chalicelib.wiring import ControlPlane, new_id
from infra.local.embedded import EmbeddedServers
from tests.support.hosts import HostProcess, heartbeat, prepare, publish, running_host
from tests.support.onnx_models import identity
from tests.support.waiting import wait_for

INPUTS = b'{"x": [1.0, 2.0]}'
V2 = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}]}'


@dataclass(frozen=True)
class Caller:
    """Somebody with a token for one model."""

    plane: ControlPlane
    record: VersionRecord
    token: str

    def stored(self, inputs: bytes = INPUTS, *, sent: bytes | None = None) -> str:
        """The id of a payload, as a client stores it."""
        tenant = self.plane.router.permit(self.token, self.record.model_id, size=len(inputs)).tenant
        begun = self.plane.payloads.begin(tenant, len(inputs))
        put = begun.upload
        httpx.put(
            put.url, content=inputs if sent is None else sent, headers=put.headers if sent is None else {}
        )
        return begun.id

    def ask(self, *, v2: bool = False, body: bytes | None = None, inputs_from: str = "") -> InferenceAnswer:
        return self.plane.router.infer(self.call(v2=v2, body=body, inputs_from=inputs_from))

    def call(self, *, v2: bool = False, body: bytes | None = None, inputs_from: str = "") -> InferenceCall:
        if not v2:
            asked: dict[str, Any] = {"token": self.token, "model": self.record.model_id}
            asked |= {"inputs_from": inputs_from} if inputs_from else {"inputs": json.loads(body or INPUTS)}
            body = json.dumps(asked).encode()
        path = ModelPath(self.record.model_id)
        return InferenceCall(
            body=body or b"",
            authorization=f"Bearer {self.token}",
            request_id=new_id(),
            deadline_seconds=20,
            open_inference=OpenInference(path) if v2 else None,
            inputs_from=inputs_from if v2 else "",
        )

    def later(self, **asked: Any) -> str:
        """The id of an answer that was promised."""
        accepted = self.plane.answers.accept(self.call(**asked))
        assert isinstance(accepted, Accepted), accepted
        return accepted.answer_id

    def fetch(self, answer_id: str) -> InferenceAnswer | None:
        return self.plane.answers.fetch(f"Bearer {self.token}", answer_id)

    def fetched(self, answer_id: str) -> InferenceAnswer:
        return wait_for(lambda: self.fetch(answer_id), what="the answer")


@pytest.fixture(scope="module")
def _served(
    servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HostProcess, VersionRecord]]:
    """A host, and a version that it has prepared."""
    hot = HotState.connect(servers.connections.redis_urls["coordinator"], timeout_seconds=5)
    with running_host(servers, tmp_path_factory.mktemp("payloads")) as host:
        yield host, prepare(hot, servers, identity("float32"))


@pytest.fixture
def alice_asks(plane: ControlPlane, _served: tuple[HostProcess, VersionRecord]) -> Caller:
    host, record = _served
    plane.hot.put_version(record)
    token = publish(plane.hot, record)
    wait_for(lambda: heartbeat(plane.hot, host), what="the host's heartbeat")
    return Caller(plane, record, token)


def told(error: pytest.ExceptionInfo[ModelRocketError]) -> tuple[str, str]:
    return error.value.code, error.value.message


def test_payloads_stand_for_inputs_of_their_own_tenant_only(alice_asks: Caller) -> None:
    asking, plane = alice_asks, alice_asks.plane
    for v2, inputs in ((False, INPUTS), (True, V2)):
        inline = asking.ask(v2=v2, body=inputs).reply
        payload_id = asking.stored(inputs)
        for _ in range(2):
            stored = asking.ask(v2=v2, inputs_from=payload_id).reply
            assert (stored.status, stored.body) == (inline.status, inline.body) == (200, inline.body)
        broken = [
            asking.ask(v2=v2, body=b'{"y": 1}'),
            asking.ask(v2=v2, inputs_from=asking.stored(b'{"y": 1}')),
        ]
        inline_error, stored_error = (_said(json.loads(answer.reply.body)) for answer in broken)
        assert {answer.reply.status for answer in broken} <= {400, 422}
        assert inline_error == stored_error

    absent = set()
    late = Payloads(plane.objects, Origin(b"k", lambda: time.time() - limits.PAYLOAD_SECONDS - 1, os.urandom))
    expired = late.keep(asking.record.tenant, INPUTS)
    for inputs_from in (
        plane.payloads.keep("another-tenant", INPUTS),  # foreign
        expired,
        asking.stored(sent=INPUTS[:-1]),  # half of it came, and the store refused it
        asking.stored(sent=INPUTS + b" "),
        plane.payloads.begin(asking.record.tenant, 10).id,  # nothing came
        plane.payloads.new_id(),
    ):
        answer = asking.ask(inputs_from=inputs_from).reply if inputs_from != expired else None
        if answer is None:
            with pytest.raises(NotFound) as refused:
                asking.ask(inputs_from=inputs_from)
            absent.add(told(refused))
        else:
            error = json.loads(answer.body)["error"]
            absent.add((error["code"], error["message"]))
        with pytest.raises(NotFound) as refused:
            plane.answers.accept(asking.call(inputs_from=inputs_from))
        absent.add(told(refused))
    with pytest.raises(NotFound) as refused:
        asking.ask(inputs_from="../../models/x")
    assert absent == {told(refused)}


def _said(told: Any) -> tuple[str, str]:
    """Code and text of an error, of either protocol."""
    error = told["error"]
    return (error["code"], error["message"]) if isinstance(error, dict) else (told["code"], error)


def test_a_payload_may_not_be_larger_than_hosts_hold(plane: ControlPlane) -> None:
    with pytest.raises(PayloadTooLarge, match=f"{limits.PAYLOAD_BYTES_MAX} are allowed"):
        plane.payloads.begin("tenant", limits.PAYLOAD_BYTES_MAX + 1)
    assert plane.payloads.begin("tenant", limits.PAYLOAD_BYTES_MAX).expires_in == limits.PAYLOAD_URL_SECONDS


def test_what_is_over_is_swept(plane: ControlPlane) -> None:
    payload_id = plane.payloads.keep("tenant", INPUTS)
    plane.payloads.sweep()
    plane.payloads.check("tenant", payload_id)
    in_a_day = Origin(b"k", lambda: time.time() + limits.PAYLOAD_SECONDS + 60, os.urandom)
    assert Payloads(plane.objects, in_a_day).sweep() > 0
    with pytest.raises(NotFound):
        plane.payloads.check("tenant", payload_id)


def test_an_answer_that_is_fetched_later_is_only_for_who_asked(
    alice_asks: Caller, plane: ControlPlane, servers: EmbeddedServers
) -> None:
    asking = alice_asks
    inline = asking.ask().reply
    answer_id = asking.later()
    fetched = asking.fetched(answer_id)
    assert (fetched.reply.status, fetched.reply.body) == (inline.status, inline.body)
    assert (fetched.version, fetched.reply.headers["content-type"]) == (1, "application/json")
    assert asking.fetched(answer_id) == fetched
    assert (
        asking.fetched(asking.later(v2=True, body=V2)).reply.body == asking.ask(v2=True, body=V2).reply.body
    )
    wrong = asking.fetched(asking.later(body=b'{"z": 1}'))
    assert (wrong.reply.status, json.loads(wrong.reply.body)["error"]["code"]) == (422, "invalid_tensor")

    same_tenant = replace(asking, token=publish(plane.hot, asking.record))
    other_record = prepare(plane.hot, servers, identity("float32"))
    stranger = Caller(plane, other_record, publish(plane.hot, other_record))
    refusals = set()
    for who, wanted in ((same_tenant, answer_id), (stranger, answer_id), (asking, plane.payloads.new_id())):
        with pytest.raises(NotFound) as refused:
            who.fetch(wanted)
        refusals.add(told(refused))
    with pytest.raises(NotFound) as refused:
        asking.fetch("../x")
    assert refusals == {told(refused)}
    for token in ("", "mr_x", new_token()):
        with pytest.raises(Unauthenticated):
            replace(asking, token=token).fetch(answer_id)


def test_an_answer_that_is_fetched_later_is_counted_once(alice_asks: Caller, raw_redis: Any) -> None:
    """By its host when it is there, not when it is promised, nor when it is fetched, however often."""
    asking = alice_asks
    answer_id = asking.later(body=b'{"x": [1.0, 2.0, 3.0]}')
    for _ in range(3):
        asking.fetched(answer_id)

    def used() -> dict[str, int]:
        minutes = raw_redis.scan_iter(f"mr:usage:*/{asking.record.tenant}")
        told = [entry for key in minutes for entry in raw_redis.hgetall(key).items()]
        return {
            field.decode().rpartition("/")[2]: int(amount)
            for field, amount in told
            if field.decode().startswith(f"{asking.token}/")
        }

    found = wait_for(used, what="the usage")
    assert found["requests"] == 1
    assert found["bytes_in"] == len(b'{"x": [1.0, 2.0, 3.0]}')
    assert not {name for name in found if name.startswith("errors")}


def test_while_the_store_is_away_it_is_said(alice_asks: Caller, plane: ControlPlane) -> None:
    from chalicelib.adapters.s3 import S3Objects

    away = Payloads(
        S3Objects("modelrocket", endpoint_url="http://127.0.0.1:9"), Origin(b"k", time.time, os.urandom)
    )
    answers = Answers(hot=plane.hot, router=plane.router, payloads=away, new_id=new_id)
    with pytest.raises(DependencyFailed):
        answers.accept(alice_asks.call())
    with pytest.raises(DependencyFailed):
        answers.accept(alice_asks.call(inputs_from=alice_asks.stored()))
