"""Every line of a whole platform bad, or cut and healed in no order, under load."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import httpx
import pytest

from modelrocket import Deployment
from tests.support.faultyproxy import Line
from tests.support.graphs import marked
from tests.support.site import Site
from tests.support.waiting import wait_for

DEADLINE_SECONDS: Final = 8.0
RETRANSMISSION_SECONDS: Final = 1.0
HEALED_SECONDS: Final = 30.0
_CLOGGED: Final = ("gateway-redis", "gateway-mongo", "hosts-redis", "host-1", "host-2")


@pytest.fixture(scope="module")
def other(whole_site: Site) -> Deployment:
    with whole_site.client() as client:
        return client.upload(marked(7), "others", progress=False)


def infer(http: httpx.Client, door: str, deployment: Deployment, *, x: float = 1.0) -> httpx.Response:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[x]]}}
    headers = {"X-Deadline-Ms": f"{DEADLINE_SECONDS * 1000:.0f}"}
    return http.post(f"{door}/inference", json=body, headers=headers)


def served(door: str, deployment: Deployment) -> bool:
    with httpx.Client(timeout=DEADLINE_SECONDS + 5) as http:
        return infer(http, door, deployment).status_code == 200


def test_f42_packets_that_are_lost_cost_time_and_no_request(site: Site, deployment: Deployment) -> None:
    """Three of ten chunks to and from every host come a second late, as after a retransmission."""
    wait_for(lambda: served(site.url, deployment), what="the gateway to serve")
    for name in ("host-1", "host-2"):
        site.links[name].delay, site.links[name].loss = RETRANSMISSION_SECONDS, 0.3

    def caller(number: int) -> list[int]:
        with httpx.Client(timeout=DEADLINE_SECONDS + 5) as http:
            return [infer(http, site.url, deployment).status_code for _ in range(6)]

    before = {name: site.links[name].replies for name in ("host-1", "host-2")}
    with ThreadPoolExecutor(6) as callers:
        statuses = [status for some in callers.map(caller, range(6)) for status in some]
    assert statuses == [200] * 36
    after = {name: site.links[name].replies for name in ("host-1", "host-2")}
    assert all(after[name] > before[name] for name in after), "none was left alone altogether"


@dataclass(slots=True)
class Asked:
    """What callers heard. `wrong`: answers that are not to the question."""

    statuses: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def asking(site: Site, deployments: dict[float, Deployment]) -> Iterator[Asked]:
    """At all doors until the block ends. Deployments by the mark that their model answers with."""
    asked, over = Asked(), threading.Event()

    def ask(number: int) -> None:
        generator = random.Random(number)
        with httpx.Client(timeout=DEADLINE_SECONDS + 5) as http:
            while not over.is_set():
                mark, x = generator.choice(list(deployments)), float(generator.randrange(1000))
                try:
                    reply = infer(http, generator.choice(site.doors), deployments[mark], x=x)
                except httpx.HTTPError:
                    continue
                asked.statuses.append(reply.status_code)
                if reply.status_code == 200 and reply.json()["result"]["modelOutput"] != [[mark, x]]:
                    asked.wrong.append(reply.text)
                over.wait(0.02)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_f44_lines_cut_and_healed_in_no_order_leave_nothing_behind(
    site: Site, deployment: Deployment, other: Deployment
) -> None:
    seed = random.randrange(10**6)
    generator = random.Random(seed)
    deployments = {5.0: deployment, 7.0: other}
    with asking(site, deployments) as asked:
        for name in generator.sample(_CLOGGED, len(_CLOGGED)):
            site.links[name].line = generator.choice((Line.BLACKHOLE, Line.CUT, Line.DROP_REPLY))
            time.sleep(generator.uniform(0.2, 0.8))
        for name in generator.sample(_CLOGGED, len(_CLOGGED)):
            change_something(site)
            site.links[name].line = Line.PASS
            time.sleep(generator.uniform(0.2, 0.8))
        healed_at = time.monotonic()

        def within(condition: Callable[[], bool], what: str) -> None:
            left = healed_at + HEALED_SECONDS - time.monotonic()
            wait_for(condition, what=f"{what} (seed {seed})", seconds=left)

        running = {host.host_id: host.boot_id for host in site.hosts}
        within(lambda: site.registered() == running, "the hosts that run to be those that are registered")
        for door in site.doors:
            for one in deployments.values():
                within(partial(served, door, one), f"{door} to serve")
        count = len(asked.statuses)
        within(lambda: len(asked.statuses) > count + 50, "callers to be answered")
        within(lambda: set(asked.statuses[-30:]) == {200}, "callers to be answered well")
        within(lambda: site.is_projected(site.hot), "the hot state to be the projection of the truth")
    within(lambda: not leases(site), "no lease to be left")
    assert set(asked.statuses) <= {200, 503, 504}, f"seed {seed}"
    assert asked.wrong == [], f"seed {seed}"


def change_something(site: Site) -> None:
    """A key is made and revoked, as far as that works now."""
    headers = {"Authorization": f"Bearer {site.api_key}"}
    with (
        contextlib.suppress(httpx.HTTPError),
        httpx.Client(base_url=site.url, headers=headers, timeout=1) as http,
    ):
        made = http.post("/v1/keys", json={"name": "clogged", "scopes": ["infer"]})
        if made.status_code == 201:
            http.delete(f"/v1/keys/{made.json()['key']['id']}")


def leases(site: Site) -> int:
    return sum(site.redis.zcard(f"mr:leases:{host.host_id}") for host in site.hosts)
