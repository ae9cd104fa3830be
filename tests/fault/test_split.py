"""Gateways and the coordinator see the hot state, hosts do not: cut between the two."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import httpx

from chalicelib.contract import limits
from chalicelib.contract.messages import ReplicaState
from modelrocket import Deployment
from tests.support.faultyproxy import Line
from tests.support.site import Site
from tests.support.waiting import wait_for


def infer(door: str, deployment: Deployment) -> httpx.Response:
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    return httpx.post(f"{door}/inference", json=body, timeout=30)


def served(door: str, deployment: Deployment) -> bool:
    return infer(door, deployment).status_code == 200


def loads(site: Site) -> list[int]:
    return [len(host.events("loaded")) for host in site.hosts]


def ready_on(site: Site, deployment: Deployment) -> dict[str, str]:
    """Boot ids by host."""
    replicas = site.hot.replicas(deployment.model_id)
    return {one.host_id: one.boot_id for _, one in replicas if one.state is ReplicaState.READY}


def let_heartbeats_age(site: Site) -> None:
    """The time goes by after which a silent host is dead."""
    for host_id, beat in site.redis.hgetall("mr:hosts").items():
        seen, _, said = beat.partition(b"|")
        aged = b"%.6f|%s" % (float(seen) - limits.HOST_DEAD_SECONDS, said)
        site.redis.hset("mr:hosts", host_id, aged)


def test_f08_hosts_that_do_not_see_the_hot_state_go_on_and_come_back_as_they_were(
    site: Site, deployment: Deployment
) -> None:
    gateway, *own_doors = site.doors
    for door in site.doors:
        wait_for(partial(served, door, deployment), what=f"{door} to serve")
    both = {host.host_id: host.boot_id for host in site.hosts}
    wait_for(lambda: ready_on(site, deployment) == both, what="both hosts to have the model")
    before = loads(site)

    site.links["hosts-redis"].line = Line.BLACKHOLE
    until = time.monotonic() + limits.TOKEN_CACHE_SECONDS + 1
    while time.monotonic() < until:  # permissions are older than what is believed while Redis is there
        for door in site.doors:
            assert served(door, deployment)
    let_heartbeats_age(site)
    wait_for(lambda: not served(gateway, deployment), what="the gateway to give the hosts up")
    reply = infer(gateway, deployment)
    error: dict[str, Any] = reply.json()["error"]
    assert (reply.status_code, error["code"], error["retryable"]) == (503, "no_capacity", True)
    for door in own_doors:
        assert served(door, deployment), "what a host has it goes on serving"

    site.heal()
    wait_for(lambda: site.registered() == both, what="the same processes to be registered")
    wait_for(lambda: ready_on(site, deployment) == both, what="their replicas to be told again")
    for door in site.doors:
        assert served(door, deployment)
    assert loads(site) == before, "nothing was loaded a second time"
