"""Without a mouse."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.web.conftest import Member

TABS_MAX = 40


def test_a_key_is_made_by_keyboard_alone(member: Member) -> None:
    page = member.page("/keys")
    expect(page.get_by_role("row").filter(has_text="Python")).to_be_visible()
    reach(page, "To the content")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()

    reach(page, "Create a key")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Create a key")).to_be_focused()  # where one was

    page.keyboard.press("Enter")
    reach(page, "Name")
    page.keyboard.type("by keyboard")
    reach(page, "Create")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Secret", exact=True)).to_have_value(re.compile("^mr_"))
    reach(page, "I have kept it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text="by keyboard")).to_be_visible()


def test_the_focus_stays_in_an_open_dialog(member: Member) -> None:
    page = member.page("/keys")
    page.get_by_role("button", name="Create a key").click()
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        assert page.evaluate("!!document.activeElement.closest('[role=dialog]')"), focused(page)


def reach(page: Page, name: str) -> None:
    """By Tab: something whose text or label this is."""
    passed = []
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        passed.append(focused(page))
        if passed[-1] == name:
            return
    raise AssertionError(f"Tab does not lead to {name!r}, but to {passed}")


def focused(page: Page) -> str:
    """What it is called."""
    called: str = page.evaluate(
        """() => {
          const one = document.activeElement;
          const called = one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent;
          return called.replace(/[\\s*]+$/, '');
        }"""
    )
    return called
