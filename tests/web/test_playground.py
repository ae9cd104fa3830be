"""A model tried by hand: what is filled in is what the model gets, and what it says is what is shown."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from playwright.sync_api import Browser, Locator, Page, Route, expect
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from modelrocket import Client, Deployment
from tests.support import onnx_models
from tests.support.browser import Watched, person
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for
from tests.web.conftest import PASSWORD, posted

BEYOND_FLOATS = 2**53 + 1
SIDE = 16


@pytest.fixture(scope="module")
def member(browser: Browser, stack: RunningStack) -> Iterator[Watched]:
    with person(browser, stack.base_url) as watched:
        posted(watched, "/v1/accounts", {"email": "playground@example.org", "password": PASSWORD})
        yield watched


@pytest.fixture(scope="module")
def client(member: Watched, stack: RunningStack) -> Iterator[Client]:
    scopes = ["infer", "models:read", "models:write", "keys"]
    with Client(stack.base_url, posted(member, "/v1/keys", {"scopes": scopes})["secret"]) as connected:
        yield connected


@pytest.fixture(scope="module")
def iris(client: Client) -> Deployment:
    rows, labels = load_iris(return_X_y=True)
    fitted = LogisticRegression(max_iter=300).fit(rows.astype(np.float32), labels)
    return client.upload(fitted, "iris", np.float32, (None, 4), progress=False)


@pytest.fixture(scope="module")
def colours(client: Client) -> Deployment:
    """`x: float32 [n, 3, 16, 16] → y: float32 [n, 3]`, the mean of each colour."""
    model = onnx_models.model(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        [onnx_models.value("x", ("n", 3, SIDE, SIDE))],
        [onnx_models.value("y", ("n", 3))],
    )
    return client.upload(model, "colours", progress=False)


@pytest.fixture(scope="module")
def numbers(client: Client) -> Deployment:
    model = ModelProto()
    model.ParseFromString(onnx_models.identity("int64"))
    return client.upload(model, "numbers", progress=False)


def opened(member: Watched, model: Deployment) -> Page:
    page = member.page(f"/models/{model.model_id}/playground")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    return page


def run(page: Page) -> Locator:
    """The answer's panel, once it is there."""
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", name="The same call as code")).to_be_visible()
    return page.get_by_role("region", name="Answer", exact=True)


def raw(answer: Locator) -> Any:
    answer.get_by_role("tab", name="Raw JSON").click()
    return json.loads(answer.get_by_label("the answer", exact=True).text_content() or "")


def test_the_form_asks_the_model_and_the_code_below_says_the_same(
    member: Watched, iris: Deployment, client: Client
) -> None:
    page = opened(member, iris)
    row = ["5.1", "3.5", "1.4", "0.2"]
    for index, value in enumerate(row, start=1):
        page.get_by_label(f"Value {index}", exact=True).fill(value)
    answer = run(page)
    expected = client.predict(iris.model_id, [[float(value) for value in row]])
    likeliest = answer.get_by_role("table").first.get_by_role("row").nth(1)
    expect(likeliest.get_by_role("rowheader")).to_have_text(str(expected["probabilities"].argmax()))
    expect(likeliest.get_by_role("cell").last).to_have_text(re.compile(r"^9\d(\.\d)? %$"))
    expect(answer.get_by_text("Running the model")).to_be_visible()
    np.testing.assert_allclose(raw(answer)["probabilities"], expected["probabilities"], rtol=1e-5)
    code = page.get_by_label("the curl sample", exact=True).text_content() or ""
    assert "[[5.1, 3.5, 1.4, 0.2]]" in code
    page.close()


def test_a_run_is_gone_back_to_with_its_inputs(member: Watched, iris: Deployment) -> None:
    page = opened(member, iris)
    box = page.get_by_label("Value 1", exact=True)
    for value in ("1", "2"):
        box.fill(value)
        run(page)
        expect(page.get_by_role("button", name=f": run {value}")).to_be_visible()
    page.get_by_role("button", name="Show: run 1").click()
    expect(box).to_have_value("1")
    expect(page.get_by_label("the curl sample", exact=True)).to_contain_text("[[1, ")
    page.close()


def test_the_playgrounds_token_is_revoked_when_the_page_is_left(
    member: Watched, iris: Deployment, client: Client
) -> None:
    def working() -> list[str]:
        return [
            key.state for key in client.keys.list() if key.name == "Playground" and key.state == "expiring"
        ]

    page = opened(member, iris)
    wait_for(lambda: not working(), what="the tokens of pages that were left to be revoked")
    run(page)
    assert working() == ["expiring"]
    page.get_by_role("link", name="Overview").click()
    wait_for(lambda: not working(), what="the token to be revoked")
    page.close()


def test_rows_are_pasted_and_what_is_wrong_is_pointed_at(
    member: Watched, iris: Deployment, client: Client
) -> None:
    page = opened(member, iris)
    page.get_by_text("Table", exact=True).click()
    rows = page.get_by_role("textbox", name="Rows")
    rows.fill("a\tb\tc\td\n5.1\t3.5\t1.4\t0.2\n6.2\t2,9\t4.3\t1.3")
    expect(page.get_by_text("Line 3, column 5: “2,9” is not a number.")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    rows.fill("a\tb\tc\td\n5.1\t3.5\t1.4\t0.2\n6.2\t2.9\t4.3\t1.3")
    expected = client.predict(iris.model_id, [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]])
    np.testing.assert_allclose(raw(run(page))["probabilities"], expected["probabilities"], rtol=1e-5)
    page.close()


def test_a_picture_becomes_the_numbers_that_the_model_takes(member: Watched, colours: Deployment) -> None:
    page = opened(member, colours)
    page.get_by_label("A picture", exact=True).set_input_files(
        {"name": "orange.png", "mimeType": "image/png", "buffer": png(200, 100, (255, 102, 0))}
    )
    page.get_by_role("combobox", name="Black and white as numbers").click()
    page.get_by_role("option", name="0 to 1", exact=True).click()
    np.testing.assert_allclose(raw(run(page))["y"], [[1, 0.4, 0]], atol=1e-3)
    page.close()


def test_json_and_form_show_the_same_and_whole_numbers_keep_their_digits(
    member: Watched, numbers: Deployment
) -> None:
    page = opened(member, numbers)
    page.get_by_text("Edit as JSON").click()
    page.get_by_role("textbox", name="All inputs").fill(f'{{"x": [{BEYOND_FLOATS}]}}')
    page.get_by_text("Form", exact=True).click()
    expect(page.get_by_label("Value", exact=True)).to_have_value(str(BEYOND_FLOATS))
    assert raw(run(page)) == {"y": [BEYOND_FLOATS]}
    page.close()


def test_what_the_host_refuses_is_said_at_the_input(member: Watched, iris: Deployment) -> None:
    page = opened(member, iris)
    page.get_by_role("group", name="modelInput").get_by_text("JSON", exact=True).click()
    page.get_by_role("textbox", name="Nested lists").fill("[[1, 2, 3]]")
    page.get_by_role("button", name="Run", exact=True).click()
    said = page.get_by_role("group", name="modelInput").get_by_role("alert")
    expect(said).to_contain_text("expected float32 [*, 4], got float32 [1, 3]")
    expect(page.get_by_text("Request id:")).to_be_visible()
    page.close()


def test_a_model_that_is_being_loaded_is_asked_again_by_itself(member: Watched, iris: Deployment) -> None:
    refused = {"code": "model_loading", "message": "Loading.", "retryable": True, "request_id": "r"}
    left = 1

    def first_loading(route: Route) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "2"}, json={"error": refused})

    page = opened(member, iris)
    page.route("**/inference", first_loading)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Loading. It is asked again by itself in 2 s.")).to_be_visible()
    expect(page.get_by_role("heading", name="The same call as code")).to_be_visible()
    expect(page.get_by_text("Loading. It is")).to_have_count(0)
    member.complaints.clear()  # Chromium's own line about the 503
    page.close()


def test_a_version_on_trial_is_asked_by_itself_with_the_same_inputs(member: Watched, client: Client) -> None:
    for mark in (1.0, 2.0):
        model = ModelProto()
        model.ParseFromString(onnx_models.marked(mark))
        deployed = client.upload(model, "on trial", progress=False, activate=mark == 1.0)
    client.model("on trial").set_traffic(2, percent=10)
    page = opened(member, deployed)
    page.get_by_label("Value", exact=True).fill("7")
    page.get_by_role("combobox", name="Version").click()
    page.get_by_role("option", name="Version 2, which is on trial").click()
    answer = run(page)
    expect(answer.get_by_text("Version 2 answered.")).to_be_visible()
    assert raw(answer) == {"y": [[2, 7]]}
    page.get_by_role("group", name="x").get_by_text("JSON", exact=True).click()
    page.get_by_role("textbox", name="Nested lists").fill("[[1, 2]]")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("group", name="x").get_by_role("alert")).to_contain_text(
        "expected float32 [*, 1]"
    )
    page.close()


def test_a_request_that_is_too_large_is_not_sent(member: Watched, iris: Deployment) -> None:
    page = opened(member, iris)
    page.get_by_text("Table", exact=True).click()
    rows = (",".join(["0.1234567890123456"] * 4) + "\n").encode() * 60_000
    page.get_by_label("A CSV or TSV file", exact=True).set_input_files(
        {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows}
    )
    expect(page.get_by_text("60,000 rows of 4")).to_be_visible()
    expect(page.get_by_text("4.4 MB are allowed")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    page.close()


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Of one colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress((b"\0" + bytes(colour) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
