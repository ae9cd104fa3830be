"""What a host fetches and stores, from a store whose every word the test writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import DeadlineExceeded, DependencyFailed, NotFound, PayloadTooLarge
from host_container.answers import Held
from host_container.fairness import Room
from host_container.http1 import Response
from host_container.payloads import Payloads, Place
from tests.support.door import open_door, read_reply, warm
from tests.support.onnx_models import identity

BODY = bytes(range(256)) * 20_000
"""5 MB."""
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
P = ParamSpec("P")
Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """An async test as a plain one that cannot hang."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with asyncio.timeout(30):
                await test(*args, **kwargs)

        asyncio.run(main())

    return run


def saying(answer: bytes, *, then_hang: bool = False) -> Play:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if then_hang:
            await reader.read()

    return play


class Store:
    """Where it listens, and what asks it."""

    def __init__(self, port: int, room: Room) -> None:
        self.room = room
        self.url = f"http://127.0.0.1:{port}/bucket/payloads/tenant/x?X-Amz-Signature=s"
        place = Place("bucket", f"http://127.0.0.1:{port}")
        self.payloads = Payloads(place, room, clock=time.monotonic)

    async def fetch(self, *, seconds: float = 20) -> bytes:
        fetched = await self.payloads.fetch(self.url, caller="a", deadline=time.monotonic() + seconds)
        fetched.release()
        return bytes(fetched.body)

    async def put(self, *, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        await self.payloads.put(self.url, BODY, content_type="text/plain", deadline=deadline)


@asynccontextmanager
async def store(play: Play) -> AsyncIterator[Store]:
    connections = set[asyncio.Task[None]]()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            await play(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    found = Store(
        server.sockets[0].getsockname()[1],
        Room(caller_bytes_max=2 * len(BODY), bytes_max=2 * len(BODY)),
    )
    try:
        yield found
        assert found.room.is_empty
    finally:
        found.payloads.close()
        server.close()
        for task in connections:
            task.cancel()


@in_loop
async def test_a_payload_comes_whole() -> None:
    async with store(saying(GOOD + BODY)) as there:
        assert await there.fetch() == BODY


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NotFound, id="absent"),
        pytest.param(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", DependencyFailed, id="refused"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", DependencyFailed, id="broken"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            DependencyFailed,
            id="sent elsewhere",
        ),
        pytest.param(GOOD + BODY[:-1], DependencyFailed, id="cut short"),
        pytest.param(b"", DependencyFailed, id="hung up"),
        pytest.param(b"what?\r\n\r\n", DependencyFailed, id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", DependencyFailed, id="no length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (limits.PAYLOAD_BYTES_MAX + 1),
            PayloadTooLarge,
            id="too large",
        ),
    ],
)
@in_loop
async def test_f21_what_is_not_the_payload_is_refused(answer: bytes, error: type[Exception]) -> None:
    async with store(saying(answer)) as there:
        with pytest.raises(error):
            await there.fetch()


@in_loop
async def test_f18_a_store_that_is_away_is_a_dependency_that_failed() -> None:
    async with store(saying(b"")) as there:
        away = there.url.replace("127.0.0.1", "127.0.0.2")
        payloads = Payloads(Place("bucket", away.partition("/bucket")[0]), there.room, clock=time.monotonic)
        with pytest.raises(DependencyFailed):
            await payloads.fetch(away, caller="a", deadline=time.monotonic() + 20)
        payloads.close()


@pytest.mark.parametrize("before", [b"", GOOD, GOOD + BODY[:-1]], ids=["silent", "no body", "the last byte"])
@in_loop
async def test_f19_a_store_that_hangs_costs_no_more_than_the_deadline(before: bytes) -> None:
    async with store(saying(before, then_hang=True)) as there:
        with pytest.raises(DeadlineExceeded):
            await there.fetch(seconds=0.5)
        if not before:
            with pytest.raises(DeadlineExceeded):
                await there.put(seconds=0.5)


@in_loop
async def test_a_body_waits_for_room_and_gives_it_back_when_nobody_waits_any_more() -> None:
    async with store(saying(GOOD + BODY)) as there:
        deadline = time.monotonic() + 20
        held = [await there.payloads.fetch(there.url, caller="a", deadline=deadline) for _ in range(2)]
        third = asyncio.create_task(there.fetch())
        given_up = asyncio.create_task(there.fetch())
        await asyncio.sleep(0.1)
        assert not third.done()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        held.pop().release()
        assert await third == BODY
        held.pop().release()


@in_loop
async def test_an_answer_is_stored_whole_or_it_is_said() -> None:
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.extend((head, await reader.readexactly(len(BODY))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with store(take) as there:
        await there.put()
        assert got[0].startswith(b"PUT /bucket/payloads/tenant/x?X-Amz-Signature=s HTTP/1.1\r\n")
        assert b"text/plain" in got[0]
        assert b"chunked" not in got[0]
        assert got[1] == BODY
    async with store(saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as there:
        with pytest.raises(DependencyFailed):
            await there.put()


@pytest.mark.parametrize(
    ("endpoint", "url", "good"),
    [
        ("http://s3:9000", "http://s3:9000/b/payloads/t/x?q", True),
        ("http://s3:9000/", "http://s3:9000/b/payloads/t/x?q", True),
        ("http://s3:9000", "https://s3:9000/b/payloads/t/x?q", False),
        ("http://s3:9000", "http://s3:9001/b/payloads/t/x?q", False),
        ("http://s3:9000", "http://s3:9000@evil/b/payloads/t/x", False),
        ("http://s3:9000", "http://s3:9000/b/models/t/x", False),
        ("http://s3:9000", "http://s3:9000/c/payloads/t/x", False),
        ("http://s3:9000", "http://s3:9000/b/payloads/../models/x", False),
        (None, "https://b.s3.eu-central-1.amazonaws.com/payloads/t/x?q", True),
        (None, "https://b.s3.amazonaws.com/payloads/t/x?q", True),
        (None, "http://b.s3.amazonaws.com/payloads/t/x?q", False),
        (None, "https://c.s3.amazonaws.com/payloads/t/x?q", False),
        (None, "https://b.s3.evil.com/payloads/t/x?q", False),
        (None, "https://b.s3.amazonaws.com.evil.com/payloads/t/x?q", False),
        (None, "https://b.s3.amazonaws.com/models/t/x?q", False),
        (None, "https://169.254.169.254/payloads/t/x", False),
    ],
)
def test_only_a_hosts_own_store_is_spoken_to(endpoint: str | None, url: str, good: bool) -> None:
    assert Place("b", endpoint).admits(url) is good


@in_loop
async def test_a_host_that_holds_too_much_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELD_BYTES_MAX", 10)
    async with open_door(tmp_path, identity("float32")) as door:
        [record] = door.records
        await warm(door, record)
        whole = door.request(record, {"x": [1.0]})
        for inline_max, status in ((1_000, 200), (5, 503)):
            reader, writer = await door.connect()
            header = f"X-Rocket-Answer-Bytes-Max: {inline_max}\r\nContent-Length".encode()
            writer.write(whole.replace(b"Content-Length", header, 1))
            reply = await read_reply(reader)
            writer.close()
            assert reply.status == status
        assert (reply.code, reply.headers["Retry-After"]) == ("overloaded", "1")


@in_loop
async def test_a_held_answer_is_given_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_HELD_SECONDS", 0.05)
    held, answer = Held(), Response(200, BODY, {"x-model-version": "1"})
    told = held.hold("one", answer)
    assert (told.body, told.headers["X-Rocket-Answer-Held"]) == (b"", str(len(BODY)))
    assert held.take("one") is answer
    held.hold("two", answer)
    await asyncio.sleep(0.2)
    for request_id in ("one", "two", "three"):
        with pytest.raises(NotFound):
            held.take(request_id)
