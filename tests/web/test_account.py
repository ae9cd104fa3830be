"""Signing up, logging in and out, one's own account, and the operators' list of accounts."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import Watched, person
from tests.support.stack import RunningStack
from tests.web.conftest import PASSWORD, Member, posted

OTHER = "plum-tower-51-wave"


def test_a_session_survives_a_reload_and_ends_with_the_log_out(visitor: Watched) -> None:
    page = visitor.page("/")
    page.get_by_role("link", name="Sign up").click()
    email = _new_email()
    page.get_by_label("Name").fill("Grace")
    page.get_by_label("E-mail address").fill(email)
    _field(page, "Password").fill("short")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_text("At least 10 characters expected.")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(email)
    _field(page, "Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page).to_have_url(re.compile("/models$"))

    page.reload()
    expect(page.get_by_role("button", name="Your account")).to_be_visible()
    _assert_nothing_to_steal(page)

    page.get_by_role("button", name="Your account").click()
    page.get_by_role("menuitem", name="Log out").click()
    expect(page.get_by_role("link", name="Log in").first).to_be_visible()
    page.goto("/keys")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    _log_in(page, email, PASSWORD)
    expect(page).to_have_url(re.compile("/keys$"))  # where it was going

    page.goto("/models")
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    visitor.context.clear_cookies()  # the session ends in the middle of work
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/login?next=https%3A%2F%2Fexample.com%2F")
    _log_in(page, email, PASSWORD)
    expect(page).to_have_url(re.compile("/models$"))


def test_a_wrong_password_says_no_more_than_an_unknown_address(member: Member) -> None:
    member.browser.context.clear_cookies()
    page = member.page("/login")
    said = set()
    for email in (member.email, _new_email()):
        _log_in(page, email, OTHER)
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_enabled()
        text = page.get_by_role("alert").locator("p").first
        expect(text).to_have_text("The e-mail address or the password is wrong.")
        said.add(text.inner_text())
        expect(page.get_by_label("E-mail address")).to_have_value(email)
    assert len(said) == 1


def test_too_many_tries_are_told_when_the_next_one_is_let_through(visitor: Watched) -> None:
    email = _new_email()
    wrong = {"email": email, "password": OTHER}
    page = visitor.page("/login")
    for _ in range(11):
        visitor.context.request.post("/v1/sessions", data=wrong, headers={"X-Rocket-Request": "1"})
    _log_in(page, email, OTHER)
    expect(page.get_by_role("alert")).to_contain_text(
        re.compile(r"The next one is let through in \d+ s|You can try again now")
    )
    expect(_field(page, "Password")).to_have_value(OTHER)


def test_a_name_and_a_password_are_changed_and_other_sessions_end(
    member: Member, stack: RunningStack
) -> None:
    page = member.page("/account")
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Your name is changed.")).to_be_visible()

    browser = member.browser.context.browser
    assert browser is not None
    with person(browser, stack.base_url) as elsewhere:
        posted(elsewhere, "/v1/sessions", {"email": member.email, "password": PASSWORD})
        other = elsewhere.page("/account")
        expect(other.get_by_label("Name")).to_have_value("Ada Lovelace")

        _field(page, "The password so far").fill(OTHER)
        _field(page, "The new one").fill(OTHER)
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_text("The password so far is wrong.")).to_be_visible()
        _field(page, "The password so far").fill(PASSWORD)
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_text("Your password is changed.")).to_be_visible()
        expect(_field(page, "The new one")).to_have_value("")
        sessions = page.get_by_role("region", name="Sessions").get_by_role("rowheader")
        expect(sessions).to_have_count(1)  # without asking for the page again
        expect(sessions).to_contain_text("this one")

        other.reload()
        expect(other.get_by_role("heading", name="Log in")).to_be_visible()


def test_logging_out_everywhere_asks_first(member: Member) -> None:
    page = member.page("/account")
    page.get_by_role("button", name="Log out everywhere").click()
    page.get_by_role("button", name="Cancel").click()
    page.reload()
    page.get_by_role("button", name="Log out everywhere").click()
    page.get_by_role("dialog").get_by_role("button", name="Log out everywhere").click()
    expect(page.get_by_role("link", name="Log in").first).to_be_visible()
    page.goto("/models")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_an_operator_makes_an_account_whose_owner_has_to_choose_a_password(
    operator: Member, stack: RunningStack
) -> None:
    email = _new_email()
    page = operator.page("/accounts")
    page.get_by_role("button", name="New account").click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Make the account").click()
    given = page.get_by_role("dialog").locator("code").inner_text()
    page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text=email)
    expect(row).to_contain_text("has to choose a password")

    browser = operator.browser.context.browser
    assert browser is not None
    with person(browser, stack.base_url) as newcomer:
        theirs = newcomer.page("/login")
        _log_in(theirs, email, given)
        expect(theirs.get_by_role("heading", name="Choose a password of your own")).to_be_visible()
        _field(theirs, "The password so far").fill(given)
        _field(theirs, "The new one").fill(OTHER)
        theirs.get_by_role("button", name="Change the password").click()
        expect(theirs.get_by_role("heading", name="Where you are logged in")).to_be_visible()

        row.get_by_role("button", name=re.compile("^Actions on")).click()
        page.get_by_role("menuitem", name="Suspend").click()
        page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
        expect(row).to_contain_text("suspended")
        theirs.goto("/login")
        _log_in(theirs, email, OTHER)
        expect(theirs.get_by_role("alert")).to_contain_text("This account is suspended.")


def _log_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail address").fill(email)
    _field(page, "Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def _field(page: Page, label: str) -> Locator:
    """A required one: its label ends with an asterisk."""
    return page.get_by_label(re.compile(f"^{label}"))


def _assert_nothing_to_steal(page: Page) -> None:
    """Scripts cannot read the session; what they can read is how far pages were scrolled."""
    [session] = page.context.cookies()
    assert session["httpOnly"] and session["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""
    stored = page.evaluate("Object.entries({...localStorage, ...sessionStorage})")
    assert all(name.startswith("tsr-scroll-restoration") for name, _ in stored), stored
    assert not any(session["value"] in text or PASSWORD in text for _, text in stored), stored


def _new_email() -> str:
    return f"{uuid.uuid4().hex[:12]}@example.org"
