"""The door: HTTP as callers really send it, limits, and what a caller hears when something is wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.contract import limits
from chalicelib.contract.messages import HostState
from host_container.connections import Front
from host_container.fairness import Room
from host_container.front import Door as FrontDoor
from host_container.http1 import RequestReader
from tests.support import onnx_models
from tests.support.door import Door, open_door, read_reply, warm
from tests.support.hosts import Reply
from tests.support.waiting import eventually

Scene = Callable[[Door], Awaitable[None]]
ONE = {"x": [[1]]}


def play(folder: Path, scene: Scene, *models: bytes) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), open_door(folder, *models) as door:
            await scene(door)

    asyncio.run(main())


async def raw(door: Door, *pieces: bytes) -> Reply:
    """What comes back when these bytes are sent one after the other."""
    reader, writer = await door.connect()
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    try:
        return await read_reply(reader)
    finally:
        writer.close()


def test_an_answer_says_who_answered_and_where_the_time_went(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        reply = await door.infer(record, {"x": [[1], [2]]}, ticket=door.ticket(record, request_id="r-1"))
        assert reply.status == 200
        assert reply.body == {
            "result": {"y": [[7, 1], [7, 2]]},
            "model": record.model_id,
            "version": 1,
        }
        assert (reply.headers["x-request-id"], reply.headers["x-model-version"]) == ("r-1", "1")
        timings = [part.split(";dur=")[0] for part in reply.headers["server-timing"].split(", ")]
        assert timings == ["queue", "load", "batch", "run"]
        (event,) = door.events("request")
        assert (event["request_id"], event["version"], event["status"]) == ("r-1", record.version_id, 200)

    play(tmp_path, scene, onnx_models.marked(7))


@pytest.mark.parametrize("piece_size", [1, 7, 100])
def test_a_request_may_arrive_in_pieces(tmp_path: Path, piece_size: int) -> None:
    async def scene(door: Door) -> None:
        sent = door.request(door.records[0], ONE)
        pieces = [sent[start : start + piece_size] for start in range(0, len(sent), piece_size)]
        assert (await raw(door, *pieces)).body["result"] == {"y": [[7, 1]]}

    play(tmp_path, scene, onnx_models.marked(7))


def test_pipelined_requests_are_answered_in_order_on_one_connection(tmp_path: Path) -> None:
    count = 3 * limits.PIPELINE_MAX

    async def scene(door: Door) -> None:
        reader, writer = await door.connect()
        slow, quick = door.records
        order = [slow if number % 5 == 0 else quick for number in range(count)]
        writer.writelines(
            door.request(record, {"x": [[number]]} if record is quick else {"x": [number]})
            for number, record in enumerate(order)
        )
        for number, record in enumerate(order):
            reply = await read_reply(reader)
            assert reply.body["result"] == {"y": [[7, number]] if record is quick else [number]}
        writer.close()

    play(tmp_path, scene, onnx_models.slow(5_000), onnx_models.marked(7))


def test_a_chunked_body_is_read_too(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        head = f"POST /infer HTTP/1.1\r\nX-Rocket-Ticket: {door.ticket(door.records[0])}\r\n"
        chunks = b"5\r\n" + b'{"x":' + b"\r\n6\r\n" + b"[[1]]}" + b"\r\n0\r\n\r\n"
        reply = await raw(door, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert reply.status == 200

    play(tmp_path, scene, onnx_models.marked(7))


def test_a_caller_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        reader, writer = await door.connect()
        head, body = door.request(door.records[0], ONE).split(b"\r\n\r\n")
        writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_reply(reader)).status == 200
        writer.close()

    play(tmp_path, scene, onnx_models.marked(7))


BAD = [
    pytest.param(b"\x16\x03\x01 hello TLS\r\n\r\n", 400, "invalid_request", id="no HTTP"),
    pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431, "invalid_request", id="endless header"),
    pytest.param(
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4_000 + b"\r\n", 431, "invalid_request", id="many headers"
    ),
    pytest.param(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 431, "invalid_request", id="long path"),
    pytest.param(
        b"POST /infer HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        413,
        "payload_too_large",
        id="f71 too large",
    ),
    pytest.param(
        b"POST /infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"400000\r\n"
        + b" " * 0x400000
        + b"\r\n400000\r\n"
        + b" " * 0x400000,
        413,
        "payload_too_large",
        id="f71 too large in chunks",
    ),
    pytest.param(
        b"POST /infer HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request",
        id="two lengths",
    ),
    pytest.param(b"GET /nothing HTTP/1.1\r\n\r\n", 404, "not_found", id="no such path"),
    pytest.param(b"GET /infer HTTP/1.1\r\n\r\n", 405, "invalid_request", id="wrong method"),
    pytest.param(
        b"POST /infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 401, "unauthenticated", id="no ticket"
    ),
]


@pytest.mark.parametrize(("sent", "status", "code"), BAD)
def test_bad_requests_get_an_error_in_our_form(tmp_path: Path, sent: bytes, status: int, code: str) -> None:
    async def scene(door: Door) -> None:
        reply = await raw(door, sent)
        error = reply.body["error"]
        assert (reply.status, error["code"]) == (status, code)
        assert error["request_id"] == reply.headers["X-Request-Id"]
        assert (await raw(door, b"GET /healthz HTTP/1.1\r\n\r\n")).status == 200

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET /healthz HTT", id="headers"),
        pytest.param(b"POST /infer HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", id="body"),
    ],
)
def test_f72_who_sends_too_slowly_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    async def scene(door: Door) -> None:
        clock = _Clock()
        port = door.host.settings.port
        await door.host.front.close()
        front = Front(_with_clock(door, clock), Room(caller_bytes_max=10**9, bytes_max=10**9))
        await front.open("127.0.0.1", port)
        reader, writer = await door.connect()
        writer.write(sent)
        await asyncio.sleep(0.1)
        clock.ahead = limits.BODY_SECONDS_MAX + 1
        assert (await read_reply(reader)).status == 408
        assert await reader.read() == b""
        writer.close()
        await front.close()

    play(tmp_path, scene)


def test_large_bodies_beyond_the_room_wait_and_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved, reserve = list[RequestReader](), RequestReader.reserve

    def noted(reader: RequestReader) -> None:
        reserved.append(reader)
        reserve(reader)

    monkeypatch.setattr(RequestReader, "reserve", noted)

    async def scene(door: Door) -> None:
        async with _narrow(door) as room:
            head, body = door.request(door.records[0], ONE).split(b"\r\n\r\n")
            body += b" " * (200_000 - len(body))
            whole = head.replace(b"Content-Length: ", b"X: ") + b"\r\nContent-Length: 200000\r\n\r\n" + body
            connections = [await door.connect() for _ in range(9)]
            for _, writer in connections:
                writer.write(whole[:100_000])
            await eventually(lambda: not room.is_empty, what="the first bodies")
            for _, writer in (connections.pop(7), connections.pop(0)):  # one that waits and one that has room
                writer.transport.abort()
            for _, writer in connections:
                writer.write(whole[100_000:])
            assert 0 < len(reserved) < len(connections), "no memory before there is room"
            for reader, writer in connections:
                assert (await read_reply(reader)).status == 200
                writer.close()
            await eventually(lambda: room.is_empty, what="all of the room")
            assert len(connections) <= len(reserved) == len(set(reserved)), "each once"

    play(tmp_path, scene, onnx_models.marked(7))


def test_a_body_that_finds_no_room_is_told_so(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        clock = _Clock()
        async with _narrow(door, clock) as room:
            connections = [await door.connect() for _ in range(3)]
            for _, writer in connections:
                writer.write(b"POST /infer HTTP/1.1\r\nContent-Length: 200000\r\n\r\n{")
            await asyncio.sleep(0.1)
            clock.ahead = limits.DEADLINE_SECONDS_DEFAULT + 1
            statuses = sorted([(await read_reply(reader)).status for reader, _ in connections])
            assert statuses == [408, 408, 503]
            await eventually(lambda: room.is_empty, what="all of the room")
            for _, writer in connections:
                writer.close()

    play(tmp_path, scene)


def test_who_gave_up_waiting_for_room_is_given_none(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        clock, (record,) = _Clock(), door.records
        await warm(door, record)
        async with _narrow(door, clock) as room:
            head, body = door.request(record, {"x": [1.0]}, ticket=door.ticket(record, seconds=2)).split(
                b"\r\n\r\n"
            )
            whole = head.replace(b"Content-Length: ", b"X: ") + b"\r\nContent-Length: 200000\r\n\r\n"
            whole += body + b" " * (200_000 - len(body))
            holders = [await door.connect() for _ in range(2)]
            for _, writer in holders:
                writer.write(whole)
            await eventually(lambda: door.host.router.in_flight == 2, what="two that run")
            reader, writer = await door.connect()
            writer.write(whole[:100_000])
            await asyncio.sleep(0.1)
            clock.ahead = limits.DEADLINE_SECONDS_DEFAULT + 1
            assert (await read_reply(reader)).status == 503
            assert await reader.read() == b""
            assert not room.is_empty
            for held, _ in holders:
                assert (await read_reply(held)).status == 504
            await eventually(lambda: room.is_empty, what="all of the room")
            for _, one in (*holders, (reader, writer)):
                one.close()

    play(tmp_path, scene, onnx_models.endless())


@asynccontextmanager
async def _narrow(door: Door, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Room]:
    """The same door, with room for two bodies of 200,000 bytes."""
    port = door.host.settings.port
    await door.host.front.close()
    room = Room(caller_bytes_max=450_000, bytes_max=10**9)
    front = Front(_with_clock(door, clock), room)
    await front.open("127.0.0.1", port)
    try:
        yield room
    finally:
        await front.close()


class _Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def _with_clock(door: Door, clock: Callable[[], float]) -> FrontDoor:
    return replace(door.host.front.door, clock=clock)


def test_what_was_answered_is_counted_for_prometheus(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        assert (await door.infer(record, ONE)).status == 200
        assert (await door.infer(record, {"x": "wrong"})).status == 422
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        assert "content-type: text/plain; version=0.0.4" in page
        assert 'requests_total{status="200",code=""} 1\n' in page
        assert 'requests_total{status="422",code="invalid_tensor"} 1\n' in page
        assert "modelrocket_host_loads_total 1\n" in page
        assert "modelrocket_host_versions_ready 1\n" in page
        assert "modelrocket_host_run_seconds_count 1\n" in page
        assert record.version_id not in page and record.model_id not in page

    play(tmp_path, scene, onnx_models.marked(7))


def test_health_is_about_the_process_and_readiness_about_work(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        presence = door.host.presence
        seen = {}
        for state in HostState:
            presence.state = state
            seen[state] = [
                (await raw(door, f"GET {path} HTTP/1.1\r\n\r\n".encode())).status
                for path in ("/healthz", "/readyz")
            ]
        assert seen == {
            HostState.LAUNCHING: [200, 503],
            HostState.READY: [200, 200],
            HostState.DRAINING: [200, 503],
        }
        body = (await raw(door, b"GET /healthz HTTP/1.1\r\n\r\n")).body
        assert body == {"status": "ok", "host_id": "host", "boot_id": presence.boot_id}

    play(tmp_path, scene)


def test_f70_a_client_that_goes_away_takes_its_waiting_work_with_it(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        busy, waiting = door.records
        await warm(door, busy)
        await warm(door, waiting)
        occupied = [asyncio.create_task(door.infer(busy, {"x": [1]})) for _ in range(16)]
        while door.host.router.in_flight < 16:
            await asyncio.sleep(0.001)
        _, writer = await door.connect()
        writer.write(door.request(waiting, ONE))
        while door.host.router.in_flight < 17:
            await asyncio.sleep(0.001)
        writer.transport.abort()
        await asyncio.gather(*occupied)
        while door.host.router.in_flight:
            await asyncio.sleep(0.001)
        statuses = [event["status"] for event in door.events("request")]
        assert sorted(statuses) == [200] * 16 + [499]

    play(tmp_path, scene, onnx_models.slow(20_000), onnx_models.marked(7))


def test_many_clients_that_vanish_at_once_leave_the_door_open(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        for _ in range(3):
            writers = [(await door.connect())[1] for _ in range(100)]
            for writer in writers:
                writer.write(door.request(record, {"x": [1]}))
            await asyncio.sleep(0.01)
            for writer in writers:
                writer.transport.abort()
        reply = await door.infer(record, {"x": [1]})
        assert reply.status == 200
        assert door.host.router.in_flight == 0

    play(tmp_path, scene, onnx_models.slow(1_000))


def test_nothing_of_ours_is_shown_when_something_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        def broken(header: bytes) -> None:
            raise KeyError("secret detail")

        monkeypatch.setattr(door.host.router, "admit", broken)
        reply = await door.infer(door.records[0], ONE)
        assert (reply.status, reply.code) == (500, "internal")
        assert "secret" not in json.dumps(reply.body)
        assert "secret detail" in door.events("crash")[0]["traceback"]

    play(tmp_path, scene, onnx_models.marked(7))
