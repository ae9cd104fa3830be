"""A headless Chromium on the site of a running stack, for tests that see what people see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.support.programs import needed
from tests.support.stack import REPOSITORY

AXE: Final = REPOSITORY / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SCREENS: Final = REPOSITORY / "build" / "screens"
"""Where pictures of the pages are left for a person to look at."""
DESKTOP: Final = {"width": 1280, "height": 860}
PHONE: Final = {"width": 390, "height": 844}
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ACTION_MS: Final = 20_000
_UNSETTLED: Final = """() => {
  const shown = element => element.outerHTML.slice(0, 200);
  const moving = document.getAnimations().filter(
    one => one.playState === 'running' && one.effect.getTiming().iterations !== Infinity
  );
  return [
    ...(document.querySelector('h1') ? [] : ['no heading']),
    ...[...document.querySelectorAll('[aria-busy=true]')].map(shown),
    ...moving.map(one => shown(one.effect.target)),
  ];
}"""
_REFUSED: Final = re.compile(
    r"Failed to load resource: (the server responded with a status of 4\d\d|net::ERR_FAILED)"
)
"""What Chromium says of each refusal, and of what a test cuts: pages show it."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    path = needed(*_NAMES)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own needs another user than root
    expect.set_options(timeout=_ACTION_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watched:
    """One person's browser. What its pages complain of is kept: it is the test's failure.

    `people` open pages that share cookies; `complaints`: errors of scripts, of the console, of the policy.
    """

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    def page(self, path: str = "/") -> Page:
        """A new tab, at this path."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._heard(page, message))
        page.goto(path)
        return page

    def _heard(self, page: Page, message: ConsoleMessage) -> None:
        if message.type == "error" and not _REFUSED.match(message.text):
            self.complaints.append(f"{page.url}: {message.text}")


@contextmanager
def person(browser: Browser, base_url: str, **options: Any) -> Iterator[Watched]:
    """A browser profile of its own until the block ends; then nothing may have been complained of."""
    context = browser.new_context(base_url=base_url, **({"viewport": DESKTOP} | options))
    context.set_default_timeout(_ACTION_MS)
    watched = Watched(context)
    try:
        yield watched
    finally:
        context.close()
    assert not watched.complaints, "\n".join(watched.complaints)


def violations(page: Page) -> list[str]:
    """What axe finds serious or critical: the rule and the elements."""
    page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{one['id']}: {one['help']}\n    " + "\n    ".join(node["html"][:200] for node in one["nodes"][:5])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def settled(page: Page) -> None:
    """Waits until what the page asked for has arrived, and nothing is on its way in or out of sight."""
    try:
        page.wait_for_function(f"() => ({_UNSETTLED})().length === 0")
    except PlaywrightTimeout:
        raise AssertionError(f"{page.url} does not settle: {page.evaluate(_UNSETTLED)}") from None


def picture(page: Page, name: str) -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
