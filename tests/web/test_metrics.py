"""Metrics and usage: what is asked of a model is seen while somebody looks, with what failed and why."""

from __future__ import annotations

import re

import httpx
import numpy as np
import onnx
from playwright.sync_api import Locator, Page, expect

from modelrocket import Deployment
from tests.support.browser import violations
from tests.support.onnx_models import marked
from tests.support.stack import RunningStack
from tests.web.conftest import Member

ANSWERED = 7
REFUSED = 3
SEEN_MS = 20_000
"""The page asks every few seconds."""


def deployed(member: Member) -> Deployment:
    return member.client.upload(onnx.load_from_string(marked(2.0)), "watched", progress=False)


def ask(deployment: Deployment, stack: RunningStack) -> None:
    """Some requests that are answered, and some with a row of the wrong width."""
    for _ in range(ANSWERED):
        deployment.predict(np.zeros((2, 1), np.float32))
    wrong = {"token": deployment.token, "model": deployment.model_id, "inputs": {"x": [[1, 2, 3]]}}
    for _ in range(REFUSED):
        assert httpx.post(f"{stack.base_url}/inference", json=wrong).status_code == 422


def row(page: Page, panel: str, name: str) -> Locator:
    region = page.get_by_role("region", name=panel, exact=True)
    return region.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def test_traffic_is_seen_arriving_with_what_failed_and_where_the_time_went(
    member: Member, stack: RunningStack
) -> None:
    deployment = deployed(member)
    page = member.page(f"/models/{deployment.model_id}/metrics")
    expect(page.get_by_text("Nothing was asked in the last hour")).to_be_visible()
    expect(page.get_by_label("the call", exact=True)).to_contain_text(deployment.model_id)

    ask(deployment, stack)
    asked = row(page, "By key", "watched").get_by_role("cell")
    expect(asked.nth(0)).to_have_text(str(ANSWERED + REFUSED), timeout=SEEN_MS)
    expect(asked.nth(1)).to_have_text("30 %")
    for part in ("In all", "Queue", "Batch", "Run"):
        measured = row(page, "Where the time goes", part).get_by_role("cell")
        expect(measured.last).to_have_text(str(ANSWERED))
        expect(measured.nth(1)).to_have_text(re.compile(r"\d [mµ]?s"))
    expect(page.get_by_role("img", name=re.compile("^Requests,"))).to_have_accessible_name(
        re.compile("invalid_tensor: highest")
    )
    requests = page.get_by_role("region", name="Requests", exact=True)
    requests.get_by_text("Table", exact=True).click()
    expect(requests.get_by_role("columnheader", name="invalid_tensor")).to_be_visible()
    assert violations(page) == []


def test_models_are_compared_and_their_cost_is_estimated(member: Member, stack: RunningStack) -> None:
    ask(deployed(member), stack)
    page = member.page("/metrics")
    expect(row(page, "By model", "watched").get_by_role("cell").nth(0)).to_have_text(str(ANSWERED + REFUSED))
    row(page, "By model", "watched").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/models/.+/metrics$"))

    page.goto("/usage")
    paid = row(page, "Estimated cost by model", "watched").get_by_role("cell")
    expect(paid.last).to_have_text(str(ANSWERED + REFUSED))
    expect(paid.nth(1)).to_have_text(re.compile(r"\$"))
    page.get_by_text("How it is computed").click()
    expect(page.get_by_role("row", name="An hour of a host")).to_contain_text("$0.2016")
    assert violations(page) == []
