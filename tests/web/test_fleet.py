"""The operators' page: hosts with what is on them, decisions with their reasons, and the public demo."""

from __future__ import annotations

import re
import uuid

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from modelrocket import Client
from tests.support.browser import settled
from tests.support.stack import RunningStack
from tests.web.conftest import Member

PLACED_MS = 60_000
"""The coordinator gives a new model its second copy within some passes."""


def uploaded(client: Client) -> str:
    """The name of a new small model."""
    name = f"iris-{uuid.uuid4().hex[:6]}"
    rows, labels = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=300).fit(rows.astype(np.float32), labels)
    client.upload(model, name, np.float32, (None, 4), progress=False)
    return name


@pytest.fixture(scope="module")
def deployed(stack: RunningStack) -> str:
    """The name of a model that the operator has had for a while."""
    with Client(stack.base_url, stack.api_key) as client:
        return uploaded(client)


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_a_new_model_is_seen_coming_to_its_hosts_with_the_reason(operator: Member, deployed: str) -> None:
    page = operator.page("/fleet")
    expect(section(page, "host-1").get_by_text("ready", exact=True)).to_be_visible()
    decisions = section(page, "Decisions")
    expect(decisions.get_by_text(re.compile(f"Model {deployed} gets a copy on host-"))).to_be_visible()
    name = uploaded(operator.client)
    blocks = section(page, "Hosts").get_by_role("listitem").filter(has_text=name)
    expect(blocks).to_have_count(2, timeout=PLACED_MS)
    expect(blocks.first).to_contain_text(re.compile(r"v1 · \d+ kB"))
    told = decisions.get_by_text(re.compile(f"Model {name} gets a copy on host-"))
    expect(told).to_have_count(0)  # nothing moves by itself
    decisions.get_by_role("button", name=re.compile("newer decision")).click()
    expect(told).to_be_visible()
    settled(page)
    decisions.get_by_role("combobox", name="Model").fill(deployed)
    page.get_by_role("option", name=deployed).click()
    expect(decisions.get_by_text(re.compile(f"Model {deployed} gets a copy"))).to_be_visible()
    expect(decisions.get_by_text(name)).to_have_count(0)
    blocks.first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def test_the_picture_can_be_read_as_a_table(operator: Member, deployed: str) -> None:
    page = operator.page("/fleet")
    page.get_by_text("The same as a table").click()
    rows = page.get_by_role("table").get_by_role("row").filter(has_text=deployed)
    expect(rows.filter(has_text="loaded")).to_have_count(2, timeout=PLACED_MS)
    expect(rows.filter(has_text="host-1")).to_have_count(1)


def test_a_model_is_published_as_the_demo_and_taken_away(operator: Member, deployed: str) -> None:
    page = operator.page("/fleet")
    settled(page)
    demo = section(page, "Public demo")
    demo.get_by_role("combobox").fill(deployed)
    page.get_by_role("option", name=deployed).click()
    demo.get_by_role("button", name="Publish").click()
    expect(demo.get_by_text(f"{deployed} is published")).to_be_visible()
    assert page.request.get("/v1/site").json()["demo"]["name"] == deployed
    demo.get_by_role("button", name="Take the demo away").click()
    expect(demo.get_by_text("No model is published")).to_be_visible()
    assert page.request.get("/v1/site").json()["demo"] is None


def test_who_is_no_operator_is_led_away(member: Member) -> None:
    page = member.page("/fleet")
    expect(page).to_have_url(re.compile("/models$"))
    expect(page.get_by_role("link", name="Fleet")).to_have_count(0)
