"""One model is uploaded again and again while callers at every door ask it all the time.

Its answers say who gave them: the version's number, and the number that was sent.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import httpx

from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.load import Asked, Load, constant_load
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for

GATEWAY: Final = "gateway"
_NAME: Final = "soaked"
_CALLERS: Final = 2
_ANSWERS: Final = 5
_NONCES: Final = 1_000_000
_REQUEST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Soaked:
    """`asked` at each door; `seconds` each upload took until its version was active and had answered."""

    asked: Mapping[str, list[Asked]]
    seconds: tuple[float, ...]

    def problems(self) -> list[str]:
        """Of every answer, and of those of one caller in their order. None are expected."""
        found = [
            f"{door}: {why}" for door, asked in self.asked.items() for one in asked if (why := _wrong(one))
        ]
        for door, asked in self.asked.items():
            for answers in _by_caller(asked):
                found += [
                    f"{door}: version {one.version} answered before version {other.version}"
                    for one, other in pairwise(answers)
                    if one.version > other.version
                ]
        return found


def soak(stack: RunningStack, client: Client, *, uploads: int) -> Soaked:
    """Upload so many versions beside the first one, each once the one before has answered at the gateway."""
    seconds = []
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=_REQUEST_SECONDS) as api:
        model_id = _upload(api, 1)
        with _callers(stack, model_id, client.create_token(model_id)) as loads:
            for number in range(2, uploads + 2):
                began = time.monotonic()
                assert _upload(api, number) == model_id
                loads[GATEWAY].wait_for_more(_ANSWERS)
                seconds.append(time.monotonic() - began)
            wait_for(
                lambda: {load.asked[-1].version for load in loads.values()} == {uploads + 1},
                what="every door to follow",
            )
    return Soaked({door: load.asked for door, load in loads.items()}, tuple(seconds))


@contextmanager
def _callers(stack: RunningStack, model_id: str, token: str) -> Iterator[dict[str, Load]]:
    """At the gateway and at each host's own door."""
    ports = {name: stack.port_of(name) for name in stack.children if name.startswith("host")}
    with ExitStack() as calling:
        loads = {}
        for door, port in {GATEWAY: stack.port, **ports}.items():
            url = f"http://127.0.0.1:{port}/inference"
            deployment = Deployment(model_id, _NAME, 1, token, url, stack.base_url)
            loads[door] = calling.enter_context(constant_load(deployment, callers=_CALLERS))
        yield loads


def _upload(api: httpx.Client, number: int) -> str:
    """Until it is the active version. The model's id."""
    content = marked(number).SerializeToString()
    announced = {"name": _NAME, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    begun = api.post("/v1/models", json=announced).raise_for_status().json()
    assert begun["version"]["number"] == number
    for part in begun["upload"]["parts"]:
        httpx.put(part["url"], content=content, headers=part["headers"]).raise_for_status()
    model_id: str = begun["model"]["id"]
    path = f"/v1/models/{model_id}/versions/{number}"
    api.post(f"{path}/complete", json={}).raise_for_status()
    wait_for(lambda: api.get(path).raise_for_status().json()["active"], what=f"version {number} to be active")
    return model_id


def _wrong(one: Asked) -> str:
    """Empty where nothing is."""
    if one.status != httpx.codes.OK:
        return f"status {one.status}: {one.body}"
    said = one.body["result"]["modelOutput"]
    if said != [[one.version, one.sent]] or one.body["version"] != one.version:
        return f"{one.sent} was answered with {one.body} by version {one.version}"
    return ""


def _by_caller(asked: list[Asked]) -> list[list[Asked]]:
    """Each caller's, in the order in which it asked."""
    callers: dict[int, list[Asked]] = defaultdict(list)
    for one in asked:
        callers[int(one.sent - 1) // _NONCES].append(one)
    return [sorted(answers, key=lambda one: one.sent) for answers in callers.values()]
