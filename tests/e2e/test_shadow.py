"""What hosts see of a candidate reaches the coordinator, which takes it away."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from modelrocket import Client
from tests.e2e.test_rollout import all_answered_by, change, ready_version
from tests.support.graphs import marked
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=60) as connected:
        yield connected


def test_a_shadow_that_answers_differently_answers_nobody_and_goes_by_itself(
    client: Client, api: httpx.Client
) -> None:
    deployment = client.upload(marked(1), "shadowed", progress=False)
    second = ready_version(api, "shadowed", marked(2))
    few = {"requests_min": 5}
    change(api, deployment, version=second, percent=0, mirror_percent=100, limits=few)
    path = f"/v1/models/{deployment.model_id}/traffic"

    def gone() -> bool:
        assert all_answered_by(deployment) == {1}
        return api.get(path).json()["candidate"] is None

    wait_for(gone, what="the shadow to be taken away")
    assert "compared answers differ" in api.get(path).json()["history"][0]["why"]
