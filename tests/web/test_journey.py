"""The whole story, as somebody lives it who begins with nothing but a browser and Python."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import Locator, Page, expect
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from modelrocket import Client
from modelrocket.errors import ModelRocketError
from tests.support.browser import Watched
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for
from tests.web.conftest import PASSWORD

ARRIVED_MS = 60_000
REVOKED_SECONDS = 15.0
FLOWERS, KINDS = load_iris(return_X_y=True)
ROWS = FLOWERS.astype(np.float32)


def test_from_signing_up_to_deleting_the_model(visitor: Watched, stack: RunningStack) -> None:
    page = visitor.page("/")
    sign_up(page)
    key = create_key(page, "my laptop")

    go(page, "Models")
    with Client(stack.base_url, key) as client:
        model = LogisticRegression(max_iter=300).fit(ROWS, KINDS)
        client.upload(model, "iris", np.float32, (None, 4), progress=False)
        page.get_by_role("link", name="iris", exact=True).click()  # it came by itself
        expect(page.get_by_text("active", exact=True).first).to_be_visible(timeout=ARRIVED_MS)

        assert run(page, ROWS[100]) == str(model.predict(ROWS[100:101])[0])
        new = rotate(page, "my laptop")
        second = LogisticRegression(max_iter=300, C=0.1).fit(ROWS, KINDS)
        with Client(stack.base_url, new) as successor:
            successor.upload(second, "iris", np.float32, (None, 4), progress=False, activate=False)
            revoke(page, "my laptop", state="rotated")
            wait_for(lambda: is_refused(client), what="the old key to be refused", seconds=REVOKED_SECONDS)
            try_and_take_back(page)
            assert successor.model("iris").traffic().active == 1
            delete(page, "iris")
            assert successor.models() == ()


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


def open_model(page: Page, tab: str) -> None:
    go(page, "Models")
    page.get_by_role("link", name="iris", exact=True).click()
    page.get_by_role("link", name=tab, exact=True).click()


def sign_up(page: Page) -> None:
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Name").fill("Grace")
    page.get_by_label("E-mail address").fill("grace@example.org")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Upload your first model")).to_be_visible()


def create_key(page: Page, name: str) -> str:
    go(page, "API keys")
    page.get_by_role("button", name="Create a key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create", exact=True).click()
    return keep(page)


def keep(page: Page) -> str:
    secret = page.get_by_label("Secret", exact=True).input_value()
    page.get_by_role("button", name="I have kept it").click()
    return secret


def act_on_key(page: Page, row: Locator, action: str) -> None:
    row.get_by_role("button", name="Actions for").click()
    page.get_by_role("menuitem", name=action).click()
    page.get_by_role("button", name=action, exact=True).click()


def rotate(page: Page, name: str) -> str:
    go(page, "API keys")
    act_on_key(page, page.get_by_role("row").filter(has_text=name), "Rotate")
    return keep(page)


def revoke(page: Page, name: str, *, state: str) -> None:
    row = page.get_by_role("row").filter(has_text=name).filter(has=page.get_by_text(state, exact=True))
    act_on_key(page, row, "Revoke")
    expect(row).to_have_count(0)


def is_refused(client: Client) -> bool:
    try:
        client.models()
    except ModelRocketError as refused:
        return "not valid" in str(refused)
    return False


def run(page: Page, row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    """The label that the playground shows for this row."""
    page.get_by_role("link", name="Playground", exact=True).click()
    for place, value in enumerate(row, start=1):
        page.get_by_label(f"Value {place}", exact=True).fill(f"{value:g}")
    page.get_by_role("button", name="Run", exact=True).click()
    likeliest = section(page, "Answer").get_by_role("table").first.get_by_role("row").nth(1)
    return likeliest.get_by_role("rowheader").inner_text()


def try_and_take_back(page: Page) -> None:
    """Version 2 on trial, then for everybody, then version 1 again."""
    open_model(page, "Traffic")
    answers, change = section(page, "Who answers"), section(page, "Change who answers")
    change.get_by_label("Share of callers").fill("25")
    change.get_by_role("button", name="Start with 25 % of callers").click()
    expect(answers).to_contain_text("Version 1 answers 75 % of callers, version 2 25 %.")
    change.get_by_role("radio", name=re.compile("All traffic")).click()
    change.get_by_role("button", name="Give version 2 all traffic").click()
    page.get_by_role("dialog").get_by_role("button", name="Activate version 2").click()
    expect(answers).to_contain_text("Version 2 answers all callers.", timeout=ARRIVED_MS)
    answers.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back to version 1").click()
    expect(answers).to_contain_text("Version 1 answers all callers.")


def delete(page: Page, name: str) -> None:
    open_model(page, "Settings")
    page.get_by_role("button", name=f"Delete {name}").click()
    page.get_by_role("dialog").get_by_label(f"Type {name} to confirm").fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Delete this model").click()
    expect(page).to_have_url(re.compile("/models$"))
    expect(page.get_by_role("heading", name="Upload your first model")).to_be_visible()
