"""The audit log: what was done is found, opened, taken home, and proved to be as it was written."""

from __future__ import annotations

import csv
import re

from playwright.sync_api import Page, expect

from tests.web.conftest import Member, posted

ROWS = "tbody tr:has(th[scope=row])"


def chosen(page: Page, name: str, option: str) -> None:
    box = page.get_by_role("combobox", name=name)
    box.fill(option)
    page.get_by_role("option", name=option).click()


def test_an_entry_is_found_and_says_all_that_is_known_of_it(member: Member) -> None:
    page = member.page("/audit")
    chosen(page, "Action", "Create a key")
    expect(page.locator(ROWS)).to_have_count(1)
    row = page.locator(ROWS)
    expect(row).to_contain_text("done")
    row.get_by_role("button", name="Details").click()
    logged = page.request.get("/v1/audit?action=key.create").json()["entries"][0]
    for told in (logged["request_id"], logged["hash"], logged["user_agent"], logged["object_id"]):
        expect(page.get_by_text(told, exact=True)).to_be_visible()


def test_what_was_refused_is_told_apart(member: Member) -> None:
    headers = {"X-Rocket-Request": "1", "Sec-Fetch-Site": "same-origin"}
    assert member.browser.context.request.delete("/v1/keys/unknown", headers=headers).status == 404
    page = member.page("/audit")
    expect(page.locator(ROWS).nth(1)).to_be_visible()
    page.get_by_role("radiogroup").get_by_text("Refused").click()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("Revoke a key")
    expect(page.get_by_text(re.compile(r"1 of \d+ loaded entries"))).to_be_visible()


def test_the_log_is_verified_and_held_against_what_was_kept(member: Member) -> None:
    page = member.page("/audit")
    page.get_by_role("button", name="Verify the log").click()
    last = page.request.get("/v1/audit/verified").json()
    expect(page.get_by_text(f"Entries 1 to {last['last']} are as written")).to_be_visible()
    expect(page.get_by_text(last["hash"], exact=True)).to_be_visible()
    page.get_by_text("Compare with a hash that you kept").click()
    page.get_by_label("Entry", exact=True).fill(str(last["last"]))
    page.get_by_label("Its hash").fill(last["hash"])
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("nothing up to it was changed since")).to_be_visible()
    page.get_by_label("Its hash").fill("0" * 64)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("has another hash than the one you kept")).to_be_visible()


def test_what_is_shown_is_taken_home(member: Member) -> None:
    page = member.page("/audit")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    with saved.value.path().open(newline="") as file:
        lines = list(csv.DictReader(file))
    logged = page.request.get("/v1/audit").json()["entries"]
    assert [(int(one["number"]), one["action"], one["hash"]) for one in lines] == [
        (one["number"], one["action"], one["hash"]) for one in logged
    ]


def test_an_operator_sees_refused_log_ins_and_any_accounts_log(operator: Member) -> None:
    context = operator.browser.context
    headers = {"X-Rocket-Request": "1", "Sec-Fetch-Site": "same-origin"}
    nobody = {"email": "nobody@example.org", "password": "wrong-horse-9"}
    assert context.request.post("/v1/sessions", data=nobody, headers=headers).status == 401
    page = operator.page("/platform/audit")
    newest = page.locator(ROWS).first
    expect(newest).to_contain_text("Log in")
    expect(newest).to_contain_text("refused")
    chosen(page, "Whose log", operator.email)
    expect(page.locator(ROWS).filter(has_text=operator.email).first).to_contain_text("done")
    posted(operator.browser, "/v1/keys", {"name": "one more", "scopes": ["infer"]})
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator(ROWS).first).to_contain_text("one more")
