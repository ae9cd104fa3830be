"""The site of a running stack: what everybody is told, and the demo that everybody may try."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chalicelib.contract import limits
from infra.local.demo import publish
from infra.siteheaders import SECURITY
from modelrocket import Client, Deployment
from tests.support.graphs import marked
from tests.support.stack import RunningStack
from tests.support.tenants import Tenants

DEMO = "/v1/operator/demo"


@pytest.fixture
def http(stack: RunningStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.base_url, timeout=30) as connected:
        yield connected


@pytest.fixture
def deployment(client: Client) -> Iterator[Deployment]:
    yield client.upload(marked(5), "on-the-site", progress=False)
    if any(model.name == "on-the-site" for model in client.models()):
        client.model("on-the-site").delete()


def choose(http: httpx.Client, key: str, model_id: str | None) -> httpx.Response:
    return http.put(DEMO, json={"model_id": model_id}, headers={"Authorization": f"Bearer {key}"})


def infer(http: httpx.Client, demo: dict[str, Any], **headers: str) -> int:
    inputs = {demo["input"]: [[1.0] * demo["shape"][1]]}
    body = {"token": demo["token"], "model": demo["model_id"], "inputs": inputs}
    return http.post(demo["url"], json=body, headers=headers).status_code


def test_everybody_may_try_what_an_operator_chose_until_it_is_taken_away(
    stack: RunningStack, http: httpx.Client, deployment: Deployment
) -> None:
    chosen = choose(http, stack.api_key, deployment.model_id).json()
    told = http.get("/v1/site")
    assert told.json() == chosen
    assert told.headers["cache-control"] == "public, max-age=5"
    assert (chosen["sign_up"], chosen["sign_up_open"]) == ("first", False)
    demo = chosen["demo"]
    assert (demo["model_id"], demo["name"]) == (deployment.model_id, "on-the-site")
    assert (demo["input"], tuple(demo["shape"])) == (deployment.inputs[0].name, deployment.inputs[0].shape)
    assert demo["url"] == deployment.url
    assert infer(http, demo) == 200
    assert infer(http, demo, Prefer="respond-async") == 403
    assert choose(http, stack.api_key, None).json()["demo"] is None
    ended = time.monotonic()
    while infer(http, demo) != 401:
        assert time.monotonic() - ended <= limits.TOKEN_CACHE_SECONDS
    entries = http.get("/v1/audit", headers={"Authorization": f"Bearer {stack.api_key}"}).json()["entries"]
    acted = [entry["object_id"] for entry in entries if entry["action"] == "demo.choose"]
    assert deployment.model_id in acted


def test_publishing_the_demos_model_again_keeps_its_token(
    stack: RunningStack, http: httpx.Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELROCKET_API_KEY", stack.api_key)
    told = []
    for _ in range(2):
        publish(deployment)
        told.append(http.get("/v1/site").json()["demo"])
    assert told[0] == told[1]
    assert told[0]["model_id"] == deployment.model_id
    choose(http, stack.api_key, None)


def test_who_is_no_operator_chooses_nothing(
    stack: RunningStack, http: httpx.Client, deployment: Deployment
) -> None:
    tenants = Tenants(stack)
    refused = choose(http, tenants.key(tenants.another()), deployment.model_id)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    demo = http.get("/v1/site").json()["demo"]
    assert demo is None or demo["model_id"] != deployment.model_id


def test_pages_come_from_where_the_api_is(http: httpx.Client) -> None:
    page = http.get("/models/0a1b", headers={"Accept": "text/html"})
    assert {name: page.headers[name] for name in SECURITY} == dict(SECURITY)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert http.get("/models/0a1b").json()["error"]["code"] == "not_found"
