"""The whole story, as somebody lives it: sign up, upload, try, keys, canary, rollback, delete."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.web.conftest import Member


def test_somebody_who_is_logged_in_sees_their_models(member: Member) -> None:
    page = member.page("/models")
    expect(page.get_by_role("heading", level=1, name="Models")).to_be_visible()
    page.reload()
    expect(page).to_have_url(re.compile("/models$"))
