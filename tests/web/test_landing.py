"""The first page: the demo answers what is drawn, by mouse and by keyboard, and says what it waits for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, Request, Route, expect
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from modelrocket import Client
from tests.support.browser import Watched
from tests.support.stack import RunningStack
from tests.web.conftest import Member

SEVEN = [(0.28, 0.15), (0.72, 0.15), (0.58, 0.42), (0.44, 0.9)]
DRAWING_AREA = re.compile("^Drawing area")


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[dict[str, Any]]:
    """The digits model that `make demo` publishes."""
    digits = load_digits()
    model = MLPClassifier((64,), max_iter=1000, random_state=0)
    model.fit(digits.data.astype(np.float32) / 16, digits.target)
    with Client(stack.base_url, stack.api_key) as client:
        deployed = client.upload(model, "digits", np.float32, (None, 64), progress=False)
    yield _published(stack, deployed.model_id)["demo"]
    _published(stack, None)


def test_without_a_demo_the_page_says_how_to_get_one(visitor: Watched, stack: RunningStack) -> None:
    _published(stack, None)
    page = visitor.page("/")
    expect(page.get_by_label("the command", exact=True)).to_have_text("make demo")
    expect(page.get_by_label("the HTTP call", exact=True)).to_contain_text("/inference")
    expect(page.get_by_role("link", name="Sign up")).to_be_visible()


def test_the_demo_tells_all_ten_digits_apart(visitor: Watched, demo: dict[str, Any]) -> None:
    page = visitor.page("/")
    says(page, 5)  # the one that stands there at first
    for digit in range(10):
        page.get_by_role("button", name=str(digit), exact=True).click()
        says(page, digit)


def test_a_drawn_digit_is_answered_with_what_was_sent_and_where_the_time_went(
    visitor: Watched, demo: dict[str, Any]
) -> None:
    page = visitor.page("/")
    says(page, 5)
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.url.endswith("/inference") else None)
    draw(page, SEVEN)
    says(page, 7)
    body = json.loads(sent[-1].post_data or "")
    assert body["token"] == demo["token"] and body["model"] == demo["model_id"]
    [row] = body["inputs"][demo["input"]]
    assert len(row) == 64 and set(row) <= {ink / 16 for ink in range(17)}
    assert len(sent) <= 5
    timings = page.get_by_role("list", name="Where the time went")
    for part in ("network", "gateway", "run"):
        expect(timings).to_contain_text(part)
    expect(page.get_by_text("version 1")).to_be_visible()


def test_the_call_that_is_shown_is_one_that_works(visitor: Watched, demo: dict[str, Any]) -> None:
    page = visitor.page("/")
    draw(page, SEVEN)
    says(page, 7)
    shown = page.get_by_label("the HTTP call", exact=True).inner_text()
    command = re.fullmatch(r"curl (\S+) \\\n\s+-H '([\w-]+): (\S+)' -d '\n(.*)'\s*", shown, re.DOTALL)
    assert command, shown
    url, header, value, body = command.groups()
    answer = httpx.post(url, content=body, headers={header: value}).raise_for_status().json()
    assert answer["result"]["modelOutput"] == [7]


def test_a_digit_can_be_set_by_keyboard_alone(visitor: Watched, demo: dict[str, Any]) -> None:
    page = visitor.page("/")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("No answer yet")).to_be_visible()
    for column in (4, 5):
        page.get_by_role("button", name=f"Row 1, column {column}: 0 of 16").focus()
        for _ in range(8):
            page.keyboard.press("Space")
            page.keyboard.press("ArrowDown")
    says(page, 1)


def test_a_refusal_for_too_many_is_waited_for(visitor: Watched, demo: dict[str, Any]) -> None:
    page = visitor.page("/login")
    refused: list[Route] = []

    def refuse_once(route: Route) -> None:
        if refused:
            return route.fallback()
        refused.append(route)
        error = {"code": "rate_limited", "message": "Slow down.", "retryable": True, "request_id": "r"}
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": error})

    page.route("**/inference", refuse_once)
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("as soon as it is your turn")
    says(page, 5)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_who_is_logged_in_is_led_to_the_models(member: Member) -> None:
    page = member.page("/")
    page.get_by_role("link", name="Your models", exact=True).click()
    expect(page).to_have_url(re.compile("/models$"))


def says(page: Page, digit: int) -> None:
    expect(page.get_by_text(re.compile(f"It says {digit}, "))).to_be_visible()


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    """With the mouse, in one go."""
    area = page.get_by_role("img", name=DRAWING_AREA)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def _published(stack: RunningStack, model_id: str | None) -> Any:
    reply = httpx.put(
        f"{stack.base_url}/v1/operator/demo",
        json={"model_id": model_id},
        headers={"Authorization": f"Bearer {stack.api_key}"},
    )
    return reply.raise_for_status().json()
