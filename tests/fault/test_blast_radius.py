"""One poisonous model on four hosts, called without end, and what callers of all others hear of it.

Which model is the poison is only known once the coordinator has placed them all: every one would be, for the
inputs that make it so. It has two hosts of four. Models that have none of these are to notice nothing, and of
the requests to models that have one of them no more than one in a thousand may fail. A request fails where
its status is not 200, its answer is not this model's to this input, or no answer comes; its caller asks once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import httpx
import onnx
import pytest
from onnx import helper

from chalicelib.contract import limits
from chalicelib.contract.messages import ReplicaState
from chalicelib.contract.tokens import new_token
from modelrocket import Client, Deployment
from tests.support.onnx_models import model, value, weight
from tests.support.site import Site, running_site
from tests.support.waiting import wait_for

HOSTS: Final = 4
SHARD: Final = 2
MODELS: Final = 8
MODELS_MAX: Final = 16
TENANTS: Final = 3
REQUESTS: Final = 1_000
SHARING_FAILED_MAX: Final = 0.001
HASTY: Final = {"MODELROCKET_POLICY": '{"placement": {"changes_min": 100}}'}
"""All second copies at once, not two in ten seconds."""

CRASHING: Final = 999
ENDLESS: Final = 10**15
USUAL_MAX: Final = 500
QUARANTINED: Final = (422, "invalid_model")
POISON_CALLERS: Final = 2
POISON_SECONDS: Final = 4.0
"""How long one request of an endless loop may run."""
POISON_PAUSE_SECONDS: Final = 0.02
USUAL_SECONDS: Final = 25.0
PAUSE_SECONDS: Final = 0.05
REQUEST_SECONDS_MAX: Final = 40.0


def poisonous(mark: int) -> onnx.ModelProto:
    """`[x] → [mark, x]` after x turns of a loop.

    It divides the lowest of all numbers by x - 1000: where that is -1, the processor ends the process.
    """
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["v"], ["w"])],
        "turn",
        [value("i", [], "int64"), value("go", [], "bool"), value("v", [1], "int64")],
        [value("goes", [], "bool"), value("w", [1], "int64")],
    )
    nodes = [
        helper.make_node("Sub", ["x", "thousand"], ["divisor"]),
        helper.make_node("Div", ["lowest", "divisor"], ["quotient"]),
        helper.make_node("Div", ["quotient", "lowest"], ["nothing"]),
        helper.make_node("Add", ["mark", "nothing"], ["marked"]),
        helper.make_node("Loop", ["x", "always", "marked"], ["turned"], body=body),
        helper.make_node("Concat", ["turned", "x"], ["y"], axis=0),
    ]
    weights = [
        weight("thousand", [1000], "int64"),
        weight("lowest", [-(2**63)], "int64"),
        weight("mark", [mark], "int64"),
        weight("always", True, "bool"),
    ]
    return model(nodes, [value("x", [1], "int64")], [value("y", [2], "int64")], weights)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A model of the tenant whose API key this is."""

    mark: int
    api_key: str
    deployment: Deployment

    @property
    def id(self) -> str:
        return self.deployment.model_id


class Fleet:
    """Four hosts, and the models on them. `spent`: ids of those that were the poison."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.models: list[Deployed] = []
        self.spent: set[str] = set()
        self._api_keys = [new_token() for _ in range(TENANTS)]
        for number, api_key in enumerate(self._api_keys):
            site.plane.keys.ensure_api_key(f"tenant-{number}", api_key)

    def deploy(self, number: int) -> None:
        """So many more. Returns when every model is assigned to two hosts, and loaded there."""
        marks = range(len(self.models) + 1, len(self.models) + 1 + number)
        with ThreadPoolExecutor(number) as uploads:
            self.models += uploads.map(self._upload, marks)
        wait_for(self._placed, what="the models to be where they belong")

    def poison(self) -> Deployed:
        """One whose hosts are all that no other model has, and none that some other has. Deploys until there
        is one."""
        while not (found := self._poisons()):
            assert len(self.models) < MODELS_MAX, f"none can be the poison: {self.reach()}"
            self.deploy(1)
        self.spent.add(found[0].id)
        return found[0]

    def _poisons(self) -> list[Deployed]:
        reach = self.reach()
        return [
            one
            for one in self.models
            if one.id not in self.spent
            and not any(reach[other.id] <= reach[one.id] for other in self.models if other is not one)
            and any(reach[one.id].isdisjoint(hosts) for hosts in reach.values())
        ]

    def reach(self) -> dict[str, frozenset[str]]:
        """By model id, the hosts that may be asked for it: where it is loaded, assigned or by chance."""
        return {
            one.id: frozenset(
                replica.host_id
                for _, replica in self.site.hot.replicas(one.id)
                if replica.state is ReplicaState.READY
            )
            for one in self.models
        }

    def shards(self) -> dict[str, frozenset[str]]:
        """By model id, the hosts that it is assigned to, as Redis has it."""
        held = self.site.hot.assignments(host.host_id for host in self.site.hosts)
        models_of = self.site.hot.models_of(sorted(frozenset().union(*held.values())))
        found: dict[str, set[str]] = {one.id: set() for one in self.models}
        for host_id, versions in held.items():
            for version_id in versions:
                found[models_of[version_id]].add(host_id)
        return {model_id: frozenset(hosts) for model_id, hosts in found.items()}

    def _upload(self, mark: int) -> Deployed:
        api_key = self._api_keys[mark % TENANTS]
        with Client(self.site.url, api_key) as client:
            made = client.upload(poisonous(mark), f"model-{mark}", example_values=False, progress=False)
        return Deployed(mark, api_key, made)

    def _placed(self) -> bool:
        shards, reach = self.shards(), self.reach()
        usual = shards.keys() - self.spent
        return all(len(shards[one]) == SHARD and shards[one] <= reach[one] for one in usual)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_site(tmp_path_factory.mktemp("site"), hosts=HOSTS, coordinating=HASTY) as site:
        fleet = Fleet(site)
        fleet.deploy(MODELS)
        yield fleet


def ask(http: httpx.Client, one: Deployed, x: int) -> httpx.Response:
    body = {"token": one.deployment.token, "model": one.id, "inputs": {"x": [x]}}
    return http.post("/inference", json=body)


@dataclass(slots=True)
class Heard:
    """What the callers of one model heard."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)


class Callers:
    """Threads that ask at the gateway until the block ends, each on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, call: Callable[[httpx.Client, int], object], *, deadline: float, pause: float) -> None:
        """`call` gets the number of the request, from 0."""

        def calling() -> None:
            headers = {"X-Deadline-Ms": f"{deadline * 1000:.0f}"}
            with httpx.Client(base_url=self._url, timeout=REQUEST_SECONDS_MAX, headers=headers) as http:
                for number in count():
                    call(http, number)
                    if self._over.wait(pause):
                        return

        self._threads.append(threading.Thread(target=calling))
        self._threads[-1].start()

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def asking(url: str, models: list[Deployed]) -> Iterator[dict[str, Heard]]:
    """Every model at a steady rate until the block ends. What is heard, by model id."""
    heard = {one.id: Heard() for one in models}

    def usual(one: Deployed) -> Callable[[httpx.Client, int], None]:
        def call(http: httpx.Client, number: int) -> None:
            x, told = 1 + number % USUAL_MAX, heard[one.id]
            try:
                reply = ask(http, one, x)
                answer = reply.json()
            except (httpx.HTTPError, ValueError) as error:
                told.failed.append(repr(error))
            else:
                if reply.status_code != 200 or answer["result"] != {"y": [one.mark, x]}:
                    told.failed.append(f"{reply.status_code} {reply.text}")
            told.asked += 1

        return call

    with Callers(url) as callers:
        for one in models:
            callers.start(usual(one), deadline=USUAL_SECONDS, pause=PAUSE_SECONDS)
        yield heard


@contextmanager
def poisoning(url: str, one: Deployed, x: int) -> Iterator[list[tuple[int, str]]]:
    """Ask it what it cannot bear, without a pause worth speaking of. Status and code of every answer."""
    answers: list[tuple[int, str]] = []

    def call(http: httpx.Client, _: int) -> None:
        reply = ask(http, one, x)
        answers.append((reply.status_code, reply.json().get("error", {}).get("code", "")))

    with Callers(url) as callers:
        for _ in range(POISON_CALLERS):
            callers.start(call, deadline=POISON_SECONDS, pause=POISON_PAUSE_SECONDS)
        yield answers


def check(heard: dict[str, Heard], sharing: frozenset[str]) -> None:
    """`sharing`: ids of the models that have a host in common with the poison."""
    apart = [
        failure for model_id, told in heard.items() if model_id not in sharing for failure in told.failed
    ]
    assert apart == []
    failed = [failure for model_id in sharing for failure in heard[model_id].failed]
    assert len(failed) <= SHARING_FAILED_MAX * sum(heard[model_id].asked for model_id in sharing), failed


def blamed(fleet: Fleet) -> dict[str, set[str]]:
    """By version id, the hosts that blame it for the end of a worker."""
    found: dict[str, set[str]] = {}
    for host in fleet.site.hosts:
        for event in host.events("blamed"):
            found.setdefault(event["version"], set()).add(host.host_id)
    return found


def test_a_blast_radius_is_told_as_the_models_are_placed(fleet: Fleet) -> None:
    shards = fleet.shards()
    for one in fleet.models:
        own: dict[int, list[str]] = {}
        others: Counter[int] = Counter()
        for other in fleet.models:
            shared = len(shards[one.id] & shards[other.id])
            if shared and other is not one and other.api_key == one.api_key:
                own.setdefault(shared, []).append(f"model-{other.mark}")
            elif shared and other is not one:
                others[shared] += 1
        told = httpx.get(
            f"{fleet.site.url}/v1/models/{one.id}/blast-radius",
            headers={"Authorization": f"Bearer {one.api_key}"},
        ).json()
        assert told["hosts"] == SHARD
        assert told["sharing"] == [
            {"hosts": shared, "own": sorted(own.get(shared, [])), "others": others[shared]}
            for shared in sorted({*own, *others}, reverse=True)
        ]


@pytest.mark.parametrize(
    ("x", "ended"),
    [
        pytest.param(CRASHING, (500, "inference_failed"), id="crash-loop"),
        pytest.param(ENDLESS, (504, "deadline_exceeded"), id="endless"),
    ],
)
def test_a_poisonous_model_disturbs_nobody_who_shares_no_host_with_it(
    fleet: Fleet, x: int, ended: tuple[int, str]
) -> None:
    poison = fleet.poison()
    reach = fleet.reach()
    others = [one for one in fleet.models if one.id not in fleet.spent]
    sharing = frozenset(one.id for one in others if not reach[one.id].isdisjoint(reach[poison.id]))
    before = blamed(fleet)
    url = fleet.site.url
    with asking(url, others) as heard, poisoning(url, poison, x) as answers:
        wait_for(lambda: QUARANTINED in answers, what="the poison to be quarantined")
        wait_for(lambda: sum(told.asked for told in heard.values()) >= REQUESTS, what="enough answers")
    check(heard, sharing)
    seen = Counter(answers)
    assert all(status != 200 for status, _ in seen)
    assert seen[ended] >= limits.CRASHES_MAX
    [hosts] = [hosts for version_id, hosts in blamed(fleet).items() if version_id not in before]
    assert len(hosts) <= SHARD + 1
