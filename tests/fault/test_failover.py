"""The hot state fails over to a replica that has not heard of the last second: two real servers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import redis

from chalicelib.contract.hotstate import HotState
from infra.local.credentials import load_or_create
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.servers import REDIS
from modelrocket import Deployment
from tests.support.faultyproxy import Line
from tests.support.graphs import marked
from tests.support.links import Link, linked, port_of
from tests.support.site import Site
from tests.support.waiting import wait_for


@dataclass(slots=True)
class Replica:
    """Of the site's hot state; `link` is what it hears by."""

    site: Site
    servers: EmbeddedServers
    redis: Any
    link: Link

    @property
    def port(self) -> int:
        return port_of(self.servers.connections.redis_urls["stack"])

    def in_step(self) -> bool:
        told, heard = self.site.redis.info("replication"), self.redis.info("replication")
        up = heard.get("master_link_status") == "up"
        return bool(up and heard["slave_repl_offset"] >= told["master_repl_offset"])

    def take_over(self) -> None:
        """The primary dies, and everybody is led here."""
        self.site.kill(REDIS)
        self.redis.replicaof("NO", "ONE")
        self.lead(self.port)

    def lead(self, port: int) -> None:
        for name, link in self.site.links.items():
            if name.endswith("-redis"):
                link.lead_to(port)


@pytest.fixture
def replica(site: Site) -> Iterator[Replica]:
    primary = port_of(site.environ["MODELROCKET_REDIS_URL"])
    home = site.folder / "replica"
    home.mkdir()
    shutil.copy(site.folder / "servers" / "credentials.json", home)
    with embedded_servers(home, REDIS) as servers, linked(primary) as link:
        raw = redis.Redis.from_url(servers.connections.redis_urls["stack"])
        raw.config_set("masteruser", "stack")
        raw.config_set("masterauth", load_or_create(home).redis_stack)
        raw.replicaof("127.0.0.1", str(link.port))
        replica = Replica(site, servers, raw, link)
        wait_for(replica.in_step, what="the replica to be in step")
        with back_to(site, replica, primary):
            yield replica


@contextmanager
def back_to(site: Site, replica: Replica, primary: int) -> Iterator[None]:
    try:
        yield
    finally:
        site.start(REDIS)
        replica.lead(primary)
        wait_for(lambda: len(site.registered()) == len(site.hosts), what="the hosts to be back")


def ask(door: str, deployment: Deployment, token: str) -> httpx.Response:
    body = {"token": token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    return httpx.post(f"{door}/inference", json=body, timeout=30)


def infer(door: str, deployment: Deployment, token: str) -> int:
    return ask(door, deployment, token).status_code


def test_f03_what_a_failover_lost_holds_again(site: Site, replica: Replica) -> None:
    with site.client() as client:
        deployment = client.upload(marked(3), "failover", progress=False)
        made = client.keys.create("f03", model=deployment.model_id)
        for door in site.doors:
            assert infer(door, deployment, made.secret) == 200
        leases = f"mr:leases:{site.hosts[0].host_id}"
        site.redis.zadd(leases, {"released-in-the-last-second": site.redis.time()[0]})
        wait_for(replica.in_step, what="the replica to be in step")

        replica.link.line = Line.BLACKHOLE
        site.redis.zrem(leases, "released-in-the-last-second")
        client.keys.revoke(made.key.id)
        client.upload(marked(4), "failover", progress=False)
        site.kill(REDIS)
        assert replica.redis.zcard(leases) == 1
        replica.take_over()

        for door in site.doors:
            what = f"the revocation to hold at {door}"
            wait_for(partial(refused, door, deployment, made.secret), what=what, seconds=15)
        for _ in range(2 * len(site.doors)):
            for door in site.doors:
                assert infer(door, deployment, made.secret) == 401
        for door in site.doors:
            wait_for(partial(served, door, deployment, version=2), what=f"{door} to serve what was lost")
    hot = HotState.connect(replica.servers.connections.redis_urls["coordinator"], timeout_seconds=5)
    wait_for(lambda: site.is_projected(hot), what="every token and model to be as the truth has it")
    wait_for(lambda: replica.redis.zcard(leases) == 0, what="the lease that nobody holds to go", seconds=30)


def refused(door: str, deployment: Deployment, token: str) -> bool:
    return infer(door, deployment, token) == 401


def served(door: str, deployment: Deployment, *, version: int) -> bool:
    reply = ask(door, deployment, deployment.token or "")
    return (reply.status_code, reply.headers.get("x-model-version")) == (200, str(version))
