"""Versions of real models come and go through the whole platform."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import httpx
import onnx
import pytest

from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.load import Asked, constant_load
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for

CALLERS: Final = [f"caller {number}" for number in range(24)]


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=60) as connected:
        yield connected


def ready_version(api: httpx.Client, name: str, model: onnx.ModelProto) -> int:
    """Upload a version that waits for its owner."""
    data = model.SerializeToString()
    announced = {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    begun = api.post("/v1/models", json={**announced, "activate": False}).json()
    for part in begun["upload"]["parts"]:
        assert httpx.put(part["url"], content=data, headers=part["headers"]).status_code == 200
    number: int = begun["version"]["number"]
    path = f"/v1/models/{begun['model']['id']}/versions/{number}"
    assert api.post(f"{path}/complete", json={}).status_code == 202
    wait_for(lambda: api.get(path).json()["state"] == "ready", what="the version to be ready")
    assert api.get(path).json()["active"] is False
    return number


def answered_by(deployment: Deployment) -> dict[str, int]:
    """The version that answered each caller, which its output and the header agree on."""
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}
    versions = {}
    with httpx.Client(timeout=60) as http:
        for caller in CALLERS:
            reply = http.post(deployment.url, json=body, headers={"X-Sticky-Key": caller})
            assert reply.status_code == 200, reply.text
            [[mark, _]] = reply.json()["result"]["modelOutput"]
            assert int(reply.headers["x-model-version"]) == reply.json()["version"] == mark
            versions[caller] = int(mark)
    return versions


def all_answered_by(deployment: Deployment) -> set[int]:
    return set(answered_by(deployment).values())


def change(api: httpx.Client, deployment: Deployment, **split: Any) -> dict[str, Any]:
    reply = api.put(f"/v1/models/{deployment.model_id}/traffic", json=split)
    assert reply.status_code == 200, reply.text
    changed: dict[str, Any] = reply.json()
    return changed


def test_a_canary_grows_and_goes_back(client: Client, api: httpx.Client) -> None:
    deployment = client.upload(marked(1), "canary", progress=False)
    second = ready_version(api, "canary", marked(2))
    assert all_answered_by(deployment) == {1}
    few = change(api, deployment, version=second, percent=30, mirror_percent=0)
    assert (few["active"], few["candidate"]["version"], few["candidate"]["percent"]) == (1, 2, 30)
    had = answered_by(deployment)
    assert set(had.values()) == {1, 2}
    assert answered_by(deployment) == had
    change(api, deployment, version=second, percent=70)
    more = answered_by(deployment)
    assert all(more[caller] == 2 for caller, version in had.items() if version == 2)
    assert sum(more.values()) > sum(had.values())
    rolled_back = api.post(f"/v1/models/{deployment.model_id}/rollback", json={})
    assert (rolled_back.status_code, rolled_back.json()["candidate"]) == (200, None)
    assert all_answered_by(deployment) == {1}
    assert api.post(f"/v1/models/{deployment.model_id}/rollback", json={}).status_code == 409
    history = api.get(f"/v1/models/{deployment.model_id}/traffic").json()["history"]
    assert [entry["why"] for entry in history] == ["rolled back", "candidate", "candidate", "activated"]


def test_a_version_is_activated_by_hand_and_rolled_back(client: Client, api: httpx.Client) -> None:
    deployment = client.upload(marked(1), "by-hand", progress=False)
    second = ready_version(api, "by-hand", marked(2))
    path = f"/v1/models/{deployment.model_id}"
    change(api, deployment, version=second, percent=100)
    wait_for(lambda: api.get(path).json()["active"] == second, what="version 2 to be warm and active")
    assert all_answered_by(deployment) == {2}
    assert api.get(path).json()["previous"] == 1
    assert api.delete(f"{path}/versions/2").status_code == 409
    back = api.post(f"{path}/rollback", json={"version": 1})
    assert (back.status_code, back.json()["active"]) == (200, 1)
    assert all_answered_by(deployment) == {1}
    assert api.delete(f"{path}/versions/2").status_code == 204
    assert api.get(f"{path}/versions/2").status_code == 404


def test_a_deleted_model_is_not_found_at_any_door(
    client: Client, api: httpx.Client, stack: RunningStack
) -> None:
    deployment = client.upload(marked(1), "deleted", progress=False)
    hosts = [child["address"] for name, child in stack.children.items() if name.startswith("host")]
    doors = [stack.base_url, *(f"http://{address.removeprefix('http://')}" for address in hosts)]
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1]]}}

    def statuses() -> set[int]:
        return {httpx.post(f"{door}/inference", json=body, timeout=20).status_code for door in doors}

    assert statuses() == {200}
    assert api.delete(f"/v1/models/{deployment.model_id}").status_code == 204
    assert httpx.post(f"{stack.base_url}/inference", json=body).status_code == 404
    wait_for(lambda: statuses() == {404}, what="every door to know", seconds=20)
    assert api.get(f"/v1/models/{deployment.model_id}").status_code == 404
    again = client.upload(marked(3), "deleted", progress=False)
    assert (again.version, again.model_id != deployment.model_id) == (1, True)


def test_f59_new_versions_under_constant_load_fail_nothing_and_never_go_backwards(client: Client) -> None:
    deployment = client.upload(marked(1), "reloaded", progress=False)
    with constant_load(deployment) as load:
        load.wait_for_more(20)
        for version in range(2, 6):
            assert client.upload(marked(version), "reloaded", progress=False).version == version
            load.wait_for_more(20)
            assert load.asked[-1].body["version"] == version
    assert load.statuses() == {200: len(load.asked)}
    for answers in by_caller(load.asked):
        versions = [one.body["version"] for one in answers]
        assert versions == sorted(versions)
        assert [one.body["result"]["modelOutput"] for one in answers] == [
            [[one.body["version"], one.sent]] for one in answers
        ]


def by_caller(asked: list[Asked]) -> list[list[Asked]]:
    """Each caller's, in the order in which it asked."""
    callers: dict[int, list[Asked]] = defaultdict(list)
    for one in asked:
        callers[int(one.sent - 1) // 1_000_000].append(one)
    return [sorted(answers, key=lambda one: one.sent) for answers in callers.values()]


@pytest.mark.parametrize(
    ("split", "status", "says"),
    [
        ({"version": 2}, 400, "percent"),
        ({"version": 2, "percent": 101}, 400, "percent"),
        ({"version": 2, "percent": 10, "limits": {"errors": 1}}, 400, "errors"),
        ({"version": 2, "percent": 10}, 404, "version 2"),
        ({"version": 1, "percent": 10}, 409, "active"),
    ],
)
def test_a_bad_split_says_what_is_wrong(
    client: Client, api: httpx.Client, split: dict[str, Any], status: int, says: str
) -> None:
    models = {one["name"]: one["id"] for one in api.get("/v1/models").json()["models"]}
    model_id = models.get("split") or client.upload(marked(1), "split", progress=False).model_id
    reply = api.put(f"/v1/models/{model_id}/traffic", json=split)
    assert (reply.status_code, says in reply.json()["error"]["message"]) == (status, True), reply.text
