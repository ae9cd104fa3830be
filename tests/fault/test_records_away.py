"""The truth away, slow, or losing replies: killed, or cut between it and the gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from chalicelib.contract import limits
from infra.local.servers import MONGO
from modelrocket import Deployment
from tests.support.faultyproxy import Line
from tests.support.site import Site
from tests.support.waiting import wait_for

HEARD_SECONDS = 4.0
"""The driver's own patience is thirty."""
BUDGET_SECONDS = 9.0
"""Twice what a request may wait for the truth, and less than two answers of a slow one."""

RETRIED_SECONDS = limits.IDEMPOTENCY_RUNNING_SECONDS / 2
"""What was given up is not in the way of who tries again."""


@pytest.fixture
def management(site: Site) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {site.api_key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30) as http:
        yield http


def make_key(http: httpx.Client, name: str, *, attempt: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": attempt or uuid.uuid4().hex}
    return http.post("/v1/keys", json={"name": name, "scopes": ["infer"]}, headers=headers)


def named(http: httpx.Client, name: str) -> list[str]:
    """Ids of the keys that go by it."""
    return [one["id"] for one in http.get("/v1/keys").json()["keys"] if one["name"] == name]


def infer(door: str, deployment: Deployment) -> int:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    return httpx.post(f"{door}/inference", json=body, timeout=30).status_code


def unavailable(reply: httpx.Response) -> bool:
    error: dict[str, Any] = reply.json().get("error", {})
    return (reply.status_code, error.get("code"), error.get("retryable")) == (503, "dependency", True)


def test_f11_a_killed_database_stops_no_inference_and_loses_nothing_that_was_acknowledged(
    site: Site, deployment: Deployment, management: httpx.Client
) -> None:
    acknowledged: list[str] = []

    def write(number: int) -> None:
        """Until it dies."""
        for _ in range(10):
            try:
                reply = make_key(management, f"f11-{number}")
            except httpx.HTTPError:
                return
            if reply.status_code != 201:
                assert unavailable(reply)
                return
            acknowledged.append(reply.json()["key"]["id"])

    with ThreadPoolExecutor(4) as writers:
        writing = writers.map(write, range(4))
        wait_for(lambda: len(acknowledged) >= 8, what="some writes")
        site.kill(MONGO)
        list(writing)
    try:
        for door in site.doors * 3:
            assert infer(door, deployment) == 200
        key = f"/v1/keys/{acknowledged[0]}"
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/keys"), ("DELETE", key)):
            assert unavailable(management.request(method, path, timeout=HEARD_SECONDS))
    finally:
        site.start(MONGO)
    wait_for(lambda: management.get("/v1/keys").status_code == 200, what="the records to be back")
    kept = {one["id"] for one in management.get("/v1/keys").json()["keys"]}
    assert set(acknowledged) <= kept


def test_f12_a_slow_database_is_503_within_the_budget_and_trying_again_makes_one_key(
    site: Site, management: httpx.Client
) -> None:
    name, attempt = "f12", uuid.uuid4().hex
    management.get("/v1/keys")
    link = site.links["gateway-mongo"]
    link.delay, link.line = 2 * BUDGET_SECONDS, Line.DELAY
    management.timeout = httpx.Timeout(BUDGET_SECONDS)
    assert unavailable(make_key(management, name, attempt=attempt))
    site.heal()
    wait_for(lambda: management.get("/v1/keys").status_code == 200, what="the records to be back")
    early = make_key(management, name, attempt=attempt)
    assert early.status_code == 201 or early.json()["error"]["retryable"]
    let_attempts_age(site)
    wait_for(lambda: made(management, name, attempt), what="the key")
    first, second = (make_key(management, name, attempt=attempt) for _ in range(2))
    assert first.json() == second.json()
    assert named(management, name) == [first.json()["key"]["id"]]


def let_attempts_age(site: Site) -> None:
    """The time goes by after which a request that has not ended is taken for dead."""
    long_ago = site.plane.store.clock() - timedelta(seconds=limits.IDEMPOTENCY_RUNNING_SECONDS + 1)
    site.plane.store._attempts.update_many({"answered": None}, {"$set": {"began_at": long_ago}})


def test_f13_whichever_reply_is_lost_trying_again_gives_the_same_one_key(
    site: Site, management: httpx.Client
) -> None:
    """The first reply of the database is lost, then the second, until a request has no more of them."""
    link = site.links["gateway-mongo"]
    for number in range(1, 30):
        attempt, name = uuid.uuid4().hex, f"f13-{number}"
        management.get("/v1/keys")  # who asks is known: what is asked of the truth is about the write
        link.tears_at = number
        first = make_key(management, name, attempt=attempt)
        lost = link.tears_at is None
        link.tears_at = None
        assert first.status_code == 201 or unavailable(first)
        what = f"the key after reply {number} was lost"
        wait_for(partial(made, management, name, attempt), what=what, seconds=RETRIED_SECONDS)
        again = make_key(management, name, attempt=attempt).json()
        assert first.status_code != 201 or first.json() == again
        assert named(management, name) == [again["key"]["id"]]
        management.delete(f"/v1/keys/{again['key']['id']}")
        if not lost:
            break
    assert number > 3, "there are several questions to the truth in it"


def made(http: httpx.Client, name: str, attempt: str) -> bool:
    return make_key(http, name, attempt=attempt).status_code == 201


@pytest.mark.parametrize("number", [1, 3])
def test_f13_the_client_library_tries_again_by_itself(site: Site, number: int) -> None:
    with site.client() as client:
        client.keys.list()
        site.links["gateway-mongo"].tears_at = number
        made = client.keys.create(f"f13-client-{number}", scopes=["infer"])
        assert [one.id for one in client.keys.list() if one.name == made.key.name] == [made.key.id]
