"""One key at two gateway processes and two hosts' own doors: what is refused, and how often one may ask."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from chalicelib.contract import limits
from modelrocket import Deployment
from tests.support.onnx_models import slow
from tests.support.site import Site
from tests.support.waiting import wait_for

MANY_TURNS = 300_000
MANY = 30
RATE = 20.0


@pytest.fixture(scope="module")
def gateways(whole_site: Site) -> Iterator[tuple[str, str]]:
    with whole_site.another_gateway() as other:
        yield whole_site.url, other


@pytest.fixture(scope="module")
def busy(whole_site: Site) -> Deployment:
    """A model that takes a tenth of a second for each request."""
    with whole_site.client() as client:
        return client.upload(slow(MANY_TURNS), "busy", progress=False)


MARKED = {"modelInput": [[1]]}
SLOW = {"x": [1]}


def infer(
    http: httpx.Client, deployment: Deployment, token: str, inputs: dict[str, Any] = MARKED
) -> httpx.Response:
    body = {"model": deployment.model_id, "inputs": inputs}
    return http.post("/inference", json=body, headers={"Authorization": f"Bearer {token}"})


@dataclass(slots=True)
class Flood:
    """What parallel callers heard; `began` and `ended` on the monotonic clock."""

    heard: Counter[int] = field(default_factory=Counter)
    waits: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    @property
    def allowed(self) -> float:
        """Requests that one key may send in that time: its rate, and what it may send at once."""
        burst = max(1.0, RATE * limits.ACCOUNT_BURST_SECONDS)
        return burst + RATE * (self.ended - self.began)


def flood(doors: Sequence[str], deployment: Deployment, token: str, *, seconds: float) -> Flood:
    """Eight connections to each door, each asking again as soon as it was answered."""
    seen, lock = Flood(), threading.Lock()

    def ask(door: str) -> None:
        with httpx.Client(base_url=door, timeout=30) as http:
            while time.monotonic() < seen.began + seconds:
                reply = infer(http, deployment, token)
                with lock:
                    seen.heard[reply.status_code] += 1
                    if reply.status_code == 429:
                        seen.waits.append(int(reply.headers["retry-after"]))

    with ThreadPoolExecutor(8 * len(doors)) as callers:
        list(callers.map(ask, [door for door in doors for _ in range(8)]))
    seen.ended = time.monotonic()
    return seen


def test_f74_a_keys_rate_holds_for_all_its_connections_and_all_gateways_together(
    site: Site, deployment: Deployment, gateways: tuple[str, str]
) -> None:
    with site.client() as client:
        made = client.keys.create("f74", scopes=["infer"], requests_per_second=RATE)
    seen = flood(gateways, deployment, made.secret, seconds=2)
    assert set(seen.heard) == {200, 429}
    assert math.floor(RATE * limits.ACCOUNT_BURST_SECONDS) <= seen.heard[200] <= seen.allowed
    assert seen.waits and set(seen.waits) == {1}, "a whole second is the least that can be told"


def test_f73_a_key_revoked_at_one_gateway_is_refused_on_open_connections_of_the_other(
    site: Site, deployment: Deployment, gateways: tuple[str, str]
) -> None:
    with site.client() as client, httpx.Client(base_url=gateways[1], timeout=30) as other:
        made = client.keys.create("f73", scopes=["infer"])
        assert infer(other, deployment, made.secret).status_code == 200
        client.keys.revoke(made.key.id)
        assert infer(other, deployment, made.secret).status_code == 401
        headers = {"Authorization": f"Bearer {made.secret}"}
        assert other.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("door", [0, 1], ids=["gateway", "own door"])
def test_f73_a_request_that_waits_in_a_queue_is_refused_when_its_key_is_revoked_meanwhile(
    site: Site, busy: Deployment, door: int
) -> None:
    with (
        site.client() as client,
        httpx.Client(base_url=site.doors[door], timeout=60) as http,
        ThreadPoolExecutor(MANY) as callers,
    ):
        made = client.keys.create("queued", scopes=["infer"])
        waiting = [callers.submit(infer, http, busy, made.secret, SLOW) for _ in range(MANY)]
        wait_for(lambda: any(one.done() for one in waiting), what="the first one to be answered")
        client.keys.revoke(made.key.id)
        statuses = Counter(one.result().status_code for one in waiting)
        assert set(statuses) == {200, 401}, "those before it are answered, those that waited long are not"
