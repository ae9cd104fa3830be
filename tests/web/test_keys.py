"""API keys: made in the browser, used over HTTP, rotated without a gap, refused once revoked. Seen once."""

from __future__ import annotations

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.browser import violations
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for
from tests.web.conftest import Member

REVOKED_SECONDS = 5.0
KEPT_BY_THE_PAGE = (
    "() => JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href])"
)


def named(page: Page, name: str) -> Locator:
    """The row of a key."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def created(page: Page, name: str) -> str:
    """The secret of a new key, with the dialog that shows it still open."""
    page.get_by_role("button", name="Create a key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create", exact=True).click()
    return page.get_by_label("Secret", exact=True).input_value()


def kept(page: Page) -> None:
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def does(page: Page, action: str, name: str, *, row: int = 0) -> None:
    """Choose it from the menu of a key, and confirm."""
    page.get_by_role("button", name=f"Actions for {name}").nth(row).click()
    page.get_by_role("menuitem", name=action).click()
    page.get_by_role("button", name=action, exact=True).click()


def status(stack: RunningStack, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{stack.base_url}/v1/models", headers=headers).status_code


def test_a_key_works_once_made_beside_its_successor_and_not_when_revoked(
    member: Member, stack: RunningStack
) -> None:
    page = member.page("/keys")
    old = created(page, "nightly build")
    assert violations(page) == []
    kept(page)
    assert status(stack, old) == 200

    does(page, "Rotate", "nightly build")
    expect(page.get_by_text("keeps working until")).to_be_visible()
    new = page.get_by_label("Secret", exact=True).input_value()
    kept(page)
    assert new != old
    assert [status(stack, secret) for secret in (old, new)] == [200, 200]
    expect(named(page, "nightly build")).to_have_count(2)

    rotated = named(page, "nightly build").filter(has=page.get_by_text("rotated", exact=True))
    rotated.get_by_role("button", name="Actions for nightly build").click()
    page.get_by_role("menuitem", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("was last used")
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(named(page, "nightly build")).to_have_count(1)
    wait_for(lambda: status(stack, old) == 401, what="the old key to be refused", seconds=REVOKED_SECONDS)
    assert status(stack, new) == 200

    page.get_by_role("button", name="Explain a key").click()
    page.get_by_role("dialog").get_by_text("Paste a key").click()
    page.get_by_label("Key", exact=True).fill(old)
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.get_by_text("It was revoked on")).to_be_visible()


def test_a_secret_is_seen_once_and_not_lost_by_a_slip(member: Member) -> None:
    page = member.page("/models")
    page.get_by_role("link", name="API keys").click()
    secret = created(page, "seen once")
    page.keyboard.press("Escape")
    page.mouse.click(5, 5)
    with page.expect_event("dialog") as leaving:
        page.evaluate("setTimeout(() => history.back())")
    leaving.value.dismiss()
    expect(page.get_by_label("Secret", exact=True)).to_have_value(secret)
    kept(page)
    for _ in range(2):
        expect(named(page, "seen once")).to_be_visible()
        assert secret not in page.content()
        assert secret not in page.evaluate(KEPT_BY_THE_PAGE)
        page.reload()


def test_a_click_repeated_because_the_answer_got_lost_makes_one_key(member: Member) -> None:
    made: list[str] = []

    def lose_the_first(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        made.append(route.fetch().json()["secret"])
        return route.abort() if len(made) == 1 else route.continue_()

    page = member.page("/keys")
    page.route("**/v1/keys", lose_the_first)
    page.get_by_role("button", name="Create a key").click()
    page.get_by_label("Name").fill("only one")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_label("Name")).to_have_value("only one")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_label("Secret", exact=True)).to_have_value(made[0])
    kept(page)
    expect(named(page, "only one")).to_have_count(1)
