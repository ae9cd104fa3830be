"""Hosts that come and go with the load, on a whole platform of their own: no caller notices.

The policy has short windows, so that half a minute shows what takes an hour.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import ReplicaState
from modelrocket import Client, Deployment
from tests.support.graphs import busy, marked
from tests.support.load import Load, constant_load
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_for

QUICK = {
    "scaling": {
        "stable_seconds": 4,
        "panic_seconds": 2,
        "down_delay_seconds": 4,
        "patience_seconds": 4,
        "up_step_seconds": 1,
        "down_step_seconds": 1,
        "boot_seconds": 2,
        "drain_seconds": 2,
    },
    "placement": {"hold_seconds": 2, "changes_seconds": 1, "peak_fall_seconds": 2, "idle_seconds": 3},
}
ENVIRONMENT = {
    "MODELROCKET_POLICY": json.dumps(QUICK),
    "MODELROCKET_TICK_SECONDS": "1",
    "MODELROCKET_HOST_SLOTS": "0.3",  # so that few callers are too many for a host
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(
        tmp_path_factory.mktemp("scaling") / "home", "0-3", environment=ENVIRONMENT
    ) as running:
        yield running


@pytest.fixture(scope="module")
def hot(stack: RunningStack) -> HotState:
    return HotState.connect(stack.redis_url, timeout_seconds=5)


def hosts(stack: RunningStack) -> set[str]:
    return {name for name in stack.children if name.startswith("host-")}


@dataclass(slots=True)
class Watched:
    """What was seen while hosts came and went.

    Attributes:
        hot: models that are asked for all the time.
        most: of hosts that were to run at once; those that drain do not count.
        ended: hosts that were told to end.
        cold: those of them that were while one of the models was ready nowhere else.
    """

    hot: list[Deployment] = field(default_factory=list)
    most: int = 0
    ended: set[str] = field(default_factory=set)
    cold: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def watching(hot: HotState) -> Iterator[Watched]:
    seen, stop = Watched(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            wish, status = hot.capacity_wish(), hot.capacity_status()
            if status is not None:
                seen.most = max(seen.most, len(status.running) + len(status.starting))
            ending = frozenset(wish.ending if wish else ())
            for host_id in ending - seen.ended:
                seen.ended.add(host_id)
                seen.cold += [(host_id, one.name) for one in seen.hot if not ready_on(hot, one) - ending]

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def ready_on(hot: HotState, deployment: Deployment) -> set[str]:
    return {one.host_id for _, one in hot.replicas(deployment.model_id) if one.state is ReplicaState.READY}


def failures(load: Load) -> list[Any]:
    return [one for one in load.asked if one.status != 200]


def test_f33_from_no_host_at_all_a_request_brings_one(stack: RunningStack) -> None:
    with Client(stack.base_url, stack.api_key) as client:
        deployment = client.upload(marked(1), "sleeper", progress=False)
        client.upload(marked(2), "sleeper", progress=False)  # of one version it is new for a while, and kept
    wait_for(lambda: hosts(stack) == set(), what="no host when nobody asks")

    refused = asked(deployment)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["retryable"]) == (503, "no_capacity", True)
    wait_for(lambda: asked_again(deployment, refused) == 200, what="an answer")
    assert stopped(stack) == {"exit code 0"}


def test_f35_hosts_follow_the_load_up_and_down_and_no_request_fails(
    stack: RunningStack, hot: HotState
) -> None:
    """Callers do not ask again: one refusal is one failure."""
    with Client(stack.base_url, stack.api_key) as client, watching(hot) as seen:
        busiest = client.upload(busy(5_000), "busy", progress=False)
        wait_for(lambda: asked(busiest).status_code == 200, what="a host with the model")
        with constant_load(busiest, callers=1, pause=0.2) as steady:
            seen.hot.append(busiest)
            wait_for(lambda: len(hosts(stack)) == 1, what="one host for one caller")
            with constant_load(busiest, callers=8) as rush:
                wait_for(lambda: len(hosts(stack)) == 3, what="three hosts for many")
                wait_for(lambda: len(ready_on(hot, busiest)) == 3, what="the model on all of them")
                other = client.upload(marked(1), "other", progress=False)  # on whichever hosts
            with constant_load(other, callers=1, pause=0.2) as late:
                late.wait_for_more(5)
                seen.hot.append(other)
                wait_for(lambda: len(hosts(stack)) == 1, what="one host again")
                steady.wait_for_more(5)
                late.wait_for_more(5)

    assert [*failures(steady), *failures(late), *failures(rush)] == []
    assert (seen.most, seen.cold) == (3, [])
    assert stopped(stack) == {"exit code 0"}


def stopped(stack: RunningStack) -> set[str]:
    """How hosts ended, those that died by themselves too."""
    return set(re.findall(r"host-\d+ +(?:stopped|ended) with (.*)", stack.console.read_text()))


def asked_again(deployment: Deployment, refused: httpx.Response) -> int:
    """When its caller was told to."""
    time.sleep(int(refused.headers["retry-after"]))
    return asked(deployment).status_code


def asked(deployment: Deployment) -> httpx.Response:
    body = {
        "token": str(deployment.token),
        "model": deployment.model_id,
        "inputs": {"modelInput": [[3]]},
    }
    return httpx.post(deployment.url, json=body, timeout=40)
