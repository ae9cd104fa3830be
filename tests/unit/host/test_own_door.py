"""The host's own door: callers with a token, without a gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import Asker, CredentialView, Wish
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import HostState, ModelRecord, Scope, TokenKind, TokenRecord, VersionRecord
from chalicelib.contract.tokens import new_token, token_sha256
from host_container.access import Access
from tests.support import onnx_models
from tests.support.door import Door, open_door, read_reply
from tests.support.hosts import Reply

TOKEN = new_token()
INPUTS = {"x": [[1]]}


class Credentials:
    """Knows one token, for the models there are."""

    def __init__(self, records: dict[str, VersionRecord]) -> None:
        self._records = records

    def credentials(self, wanted: Sequence[Wish], *, asker: Asker) -> list[CredentialView]:
        return [self._credential(wish) for wish in wanted]

    def _credential(self, wish: Wish) -> CredentialView:
        sha256, model_id = wish.sha256, wish.model_id
        token, record = None, self._records.get(model_id)
        if sha256 == token_sha256(TOKEN):
            token = TokenRecord("tenant", TokenKind.API_KEY, 1, "t1", (Scope.INFER,))
        model = ModelRecord(model_id, record.tenant, 1, active=record) if record else None
        return CredentialView(token, model, projected=True, now=1_000.0, granted=wish.permits)


def access(credentials: Credentials, *, clock: Callable[[], float]) -> Access:
    return Access(credentials, door="door", account=AccountLimits.of(1_000, 256), clock=clock)


class Caller:
    """Speaks to a door that knows its token."""

    def __init__(self, door: Door) -> None:
        self.door = door
        (self.record,) = door.records
        front = door.host.front.door
        self.cut_off = front.access
        front.access = access(Credentials({self.record.model_id: self.record}), clock=front.clock)

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        reader, writer = await self.door.connect()
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        try:
            return await read_reply(reader)
        finally:
            writer.close()

    async def infer(self, body: Any = None, **headers: str) -> Reply:
        return await self.send("POST", "/inference", self.body() if body is None else body, **headers)

    async def infer_v2(self, body: bytes, **headers: str) -> Reply:
        headers = {"Authorization": f"Bearer {TOKEN}"} | headers
        return await self.send("POST", f"/v2/models/{self.record.model_id}/infer", body, **headers)

    def body(self, **changes: Any) -> bytes:
        fields = {"token": TOKEN, "model": self.record.model_id, "inputs": INPUTS} | changes
        return json.dumps(fields).encode()


Scene = Callable[[Caller], Awaitable[None]]


def play(folder: Path, scene: Scene) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), open_door(folder, onnx_models.marked(7)) as door:
            door.host.presence.state = HostState.READY
            await scene(Caller(door))

    asyncio.run(main())


def test_a_cold_model_is_loaded_and_a_warm_one_answered_without_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(caller: Caller) -> None:
        for _ in range(2):
            reply = await caller.infer(X_Request_Id="mine-1")
            assert (reply.status, reply.body) == (
                200,
                {"result": {"y": [[7, 1]]}, "model": caller.record.model_id, "version": 1},
            )
            assert (reply.headers["x-request-id"], reply.headers["x-model-version"]) == ("mine-1", "1")
            timings = [part.split(";dur=")[0] for part in reply.headers["server-timing"].split(", ")]
            assert timings == ["auth", "queue", "load", "batch", "run"]
        made: list[str] = []

        def noted(work: Any, **options: Any) -> Any:
            made.append(work.__name__)
            return create_task(work, **options)

        loop = asyncio.get_running_loop()
        create_task = loop.create_task
        monkeypatch.setattr(loop, "create_task", noted)
        assert (await caller.infer()).status == 200
        assert not {"_send", "_guarded", "_wake"} & set(made)
        assert len(caller.door.events("loaded")) == 1

    play(tmp_path, scene)


def test_what_is_wrong_is_said_as_the_gateway_says_it(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        missing = "00000000-0000-4000-8000-000000000000"
        replies = {
            "no token": await caller.infer(caller.body(token=None)),
            "mistyped": await caller.infer(caller.body(token=TOKEN[:-1] + "x")),
            "not ascii": await caller.infer(caller.body(token="mr_ü")),
            "unknown token": await caller.infer(caller.body(token=new_token())),
            "unknown model": await caller.infer(caller.body(model=missing)),
            "no model id": await caller.infer(caller.body(model="x/y")),
            "no JSON": await caller.infer(b"{"),
            "deep": await caller.infer(b"[" * 200_000),
            "deadline": await caller.infer(X_Deadline_Ms="soon"),
            "no time": await caller.infer(X_Deadline_Ms="0"),
            "method": await caller.send("GET", "/inference"),
            "tensor": await caller.infer(caller.body(inputs={"x": [1]})),
        }
        assert {name: (reply.status, reply.code) for name, reply in replies.items()} == {
            "no token": (401, "unauthenticated"),
            "mistyped": (401, "unauthenticated"),
            "not ascii": (401, "unauthenticated"),
            "unknown token": (401, "unauthenticated"),
            "unknown model": (404, "not_found"),
            "no model id": (404, "not_found"),
            "no JSON": (400, "invalid_request"),
            "deep": (400, "invalid_request"),
            "deadline": (400, "invalid_request"),
            "no time": (504, "deadline_exceeded"),
            "method": (405, "invalid_request"),
            "tensor": (422, "invalid_tensor"),
        }
        for reply in replies.values():
            assert reply.body["error"]["request_id"] == reply.headers["X-Request-Id"]
        assert (await caller.infer()).status == 200

    play(tmp_path, scene)


def test_with_the_hot_state_away_a_token_is_unavailable_not_unknown(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        caller.door.host.front.door.access = caller.cut_off
        reply = await caller.infer()
        assert (reply.status, reply.code) == (503, "dependency")
        assert reply.headers["Retry-After"]

    play(tmp_path, scene)


def compressed(body: bytes) -> bytes:
    return gzip.compress(body)


def test_f71_compressed_bodies_have_the_same_limit(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        body = caller.body()
        bomb = compressed(bytes(1000 * limits.BODY_BYTES_MAX // 200))
        replies = [
            await caller.infer(compressed(body), Content_Encoding="gzip"),
            await caller.infer(zlib.compress(body), Content_Encoding="deflate"),
            await caller.infer(body, Content_Encoding="identity"),
            await caller.infer(bomb, Content_Encoding="gzip"),
            await caller.infer(compressed(body)[:-3], Content_Encoding="gzip"),
            await caller.infer(compressed(body) + b"x", Content_Encoding="gzip"),
            await caller.infer(body, Content_Encoding="gzip"),
            await caller.infer(body, Content_Encoding="br"),
        ]
        assert [reply.status for reply in replies] == [200, 200, 200, 413, 400, 400, 400, 415]

    play(tmp_path, scene)


def test_v2_errors_are_text_for_its_clients_with_our_fields_beside_it(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        reply = await caller.infer_v2(b"{}", X_Request_Id="r-1")
        assert reply.status == 400
        assert isinstance(reply.body.pop("error"), str)
        assert reply.body == {"code": "invalid_request", "retryable": False, "request_id": "r-1"}
        for path in ("/v2/nothing", "/v2/models", "/v2/models//infer", "/v2/models/a/b/c", "/v2x"):
            missing = await caller.send("GET", path)
            assert (path, missing.status, missing.body["code"]) == (path, 404, "not_found")

    play(tmp_path, scene)


@pytest.mark.parametrize("length", ["0", "3", "1000000", "99999999999", "-1", "x", ""])
def test_f71_a_header_length_that_lies_is_refused(tmp_path: Path, length: str) -> None:
    async def scene(caller: Caller) -> None:
        one = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
        body = json.dumps({"inputs": [one]}).encode()
        reply = await caller.infer_v2(body, Inference_Header_Content_Length=length)
        assert reply.status == 400
        assert (await caller.infer_v2(body)).body["outputs"][0]["data"] == [7, 1]
        assert caller.door.events("worker_ended") == []

    play(tmp_path, scene)


class Revocable(Credentials):
    """Its token is good the first time it is asked about, and then five seconds have gone by."""

    def __init__(self, records: dict[str, VersionRecord], *, revoked: bool) -> None:
        super().__init__(records)
        self.revoked = revoked
        self.passed = 0.0
        self.asked = 0

    def credentials(self, wanted: Sequence[Wish], *, asker: Asker) -> list[CredentialView]:
        if not wanted:  # only what is under way is told
            return []
        self.asked += 1
        self.passed += limits.TOKEN_CACHE_SECONDS
        views = super().credentials(wanted, asker=asker)
        return [_revoked(view) for view in views] if self.asked > 1 and self.revoked else views


def _revoked(view: CredentialView) -> CredentialView:
    assert view.token
    return replace(view, token=msgspec.structs.replace(view.token, revoked=True))


@pytest.mark.parametrize(("revoked", "status"), [(True, 401), (False, 200)])
def test_f73_a_request_that_waited_is_answered_if_its_token_is_still_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revoked: bool, status: int
) -> None:
    monkeypatch.setattr(limits, "CHECKED_AGAIN_SECONDS", 0.0)  # loading takes longer

    async def scene(caller: Caller) -> None:
        front = caller.door.host.front.door
        credentials = Revocable({caller.record.model_id: caller.record}, revoked=revoked)
        front.access = access(credentials, clock=lambda: front.clock() + credentials.passed)
        reply = await caller.infer()
        assert (reply.status, credentials.asked) == (status, 2)

    play(tmp_path, scene)
