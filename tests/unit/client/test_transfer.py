"""Parts travel several at once, are tried again one by one, and under fresh grants where theirs lapsed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from modelrocket.api import Api, Budget
from modelrocket.errors import UploadFailed
from modelrocket.payload import CHUNK_BYTES, Payload, Weights
from modelrocket.transfer import put_parts
from tests.unit.client.server import ENDPOINT, Time

PART = CHUNK_BYTES + 1_000
GRAPH = b"graph"
WEIGHTS = b"".join(bytes([number]) * PART for number in range(8)) + b"the rest"
Handler = Callable[[httpx.Request], httpx.Response | None]


@pytest.fixture
def payload() -> Payload:
    folder = TemporaryDirectory()
    path = Path(folder.name) / "weights.bin"
    path.write_bytes(WEIGHTS)
    weights = Weights(path, len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest(), folder)
    return Payload(GRAPH, weights)


class Store:
    """Keeps parts by the path of their address; `trouble` may answer first."""

    def __init__(self, trouble: Handler = lambda _: None) -> None:
        self.kept: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.trouble = trouble

    def answer(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        with self.lock:
            response = self.trouble(request)
            if response is None:
                self.kept[request.url.path] = content
        return response or httpx.Response(200)

    def missing(self) -> dict[str, Any]:
        parts = [part("model", 0, len(GRAPH))]
        parts += [
            part("weights", offset, min(PART, len(WEIGHTS) - offset))
            for offset in range(0, len(WEIGHTS), PART)
        ]
        return {"expires_in": 900, "parts": [one for one in parts if place(one) not in self.kept]}

    @property
    def weights(self) -> bytes:
        offsets = sorted(int(path.rpartition("/")[2]) for path in self.kept if "weights" in path)
        return b"".join(self.kept[f"/weights/{offset}"] for offset in offsets)


def part(file: str, offset: int, size: int) -> dict[str, Any]:
    url = f"http://store.test/{file}/{offset}"
    return {"method": "PUT", "url": url, "headers": {}, "file": file, "offset": offset, "bytes": size}


def place(one: dict[str, Any]) -> str:
    return httpx.URL(one["url"]).path


def send(store: Store, payload: Payload, time: Time) -> list[int]:
    """What progress was told."""
    told: list[int] = []
    api = Api(ENDPOINT, transport=httpx.MockTransport(store.answer), clock=time.clock)
    budget = Budget(300, time.clock)
    put_parts(api, payload, store.missing(), again=store.missing, budget=budget, sent=told.append)
    return told


def test_both_files_arrive_whole(payload: Payload) -> None:
    store = Store()
    told = send(store, payload, Time())
    assert (store.kept["/model/0"], store.weights) == (GRAPH, WEIGHTS)
    assert max(told) == payload.size


def test_several_parts_travel_at_once(payload: Payload) -> None:
    together = threading.Barrier(4, timeout=30)
    store = Store()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(("/0", f"/{PART}", f"/{2 * PART}")):  # the graph and three parts
            together.wait()
        return store.answer(request)

    api = Api(ENDPOINT, transport=httpx.MockTransport(answer), clock=Time().clock)
    budget = Budget(300, Time().clock)
    put_parts(api, payload, store.missing(), again=store.missing, budget=budget, sent=lambda _: None)
    assert store.weights == WEIGHTS


def test_only_what_is_missing_is_sent(payload: Payload) -> None:
    store = Store()
    for one in store.missing()["parts"][:-2]:
        store.kept[place(one)] = b"there already"
    sent: list[str] = []
    store.trouble = lambda request: sent.append(request.url.path)
    told = send(store, payload, Time())
    assert sorted(sent) == [f"/weights/{offset}" for offset in (7 * PART, 8 * PART)]
    assert min(told) > 7 * PART
    assert max(told) == payload.size


def test_a_part_that_failed_is_sent_again_and_no_other(payload: Payload) -> None:
    tried: list[str] = []

    def stumble(request: httpx.Request) -> httpx.Response | None:
        tried.append(request.url.path)
        return httpx.Response(503) if tried.count("/weights/0") == 1 and tried[-1] == "/weights/0" else None

    store = Store(stumble)
    send(store, payload, Time())
    assert store.weights == WEIGHTS
    assert sorted(tried) == sorted([*store.kept, "/weights/0"])


def test_grants_that_have_lapsed_are_asked_for_again(payload: Payload) -> None:
    time = Time()

    def slow(_request: httpx.Request) -> None:
        time.now += 400

    store = Store(slow)
    asked = 0

    def again() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return store.missing()

    api = Api(ENDPOINT, transport=httpx.MockTransport(store.answer), clock=time.clock)
    budget = Budget(100_000, time.clock)
    put_parts(api, payload, store.missing(), again=again, budget=budget, sent=lambda _: None)
    assert store.weights == WEIGHTS
    assert asked >= 1


def test_what_will_not_pass_ends_all_parts(payload: Payload) -> None:
    store = Store(lambda _: httpx.Response(403))
    with pytest.raises(UploadFailed, match="403"):
        send(store, payload, Time())
    assert store.kept == {}


def test_what_does_not_pass_in_time_says_how_to_go_on(payload: Payload) -> None:
    store = Store(lambda request: httpx.Response(503) if request.url.path == f"/weights/{PART}" else None)
    with pytest.raises(UploadFailed, match="goes on where it was"):
        send(store, payload, Time())
