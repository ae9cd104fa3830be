"""Every page in every dress: nothing overflows, axe finds nothing serious, and a picture is left to look at.

The pictures are in build/screens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from modelrocket import Client
from tests.support.browser import DESKTOP, PHONE, Watched, person, picture, settled, violations
from tests.support.stack import RunningStack
from tests.support.waiting import wait_for
from tests.web.conftest import PASSWORD, forget_tries, posted

DRESSES: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
}
ANONYMOUS = {"landing": "/", "login": "/login", "signup": "/signup", "missing": "/no/such/page"}
EMPTY = {"models": "/models", "metrics": "/metrics", "usage": "/usage", "keys": "/keys", "audit": "/audit"}
FULL = EMPTY | {
    "model": "/models/{model}",
    "version": "/models/{model}/versions/1",
    "traffic": "/models/{model}/traffic",
    "playground": "/models/{model}/playground",
    "code": "/models/{model}/code",
    "model-metrics": "/models/{model}/metrics",
    "placement": "/models/{model}/placement",
    "settings": "/models/{model}/settings",
    "failed-model": "/models/{failed}",
    "account": "/account",
    "fleet": "/fleet",
    "accounts": "/accounts",
    "platform-audit": "/platform/audit",
}
DATA = re.compile(r"/v1/(?!account$|site$)")
"""Whatever a page asks for, but who is there."""


@dataclass(frozen=True)
class Furnished:
    """A model with two versions, one on trial, and calls of it; one whose only version failed."""

    model: str
    failed: str


@pytest.fixture(scope="module")
def furnished(stack: RunningStack) -> Furnished:
    rows, labels = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    with Client(stack.base_url, stack.api_key) as client:
        first = LogisticRegression(max_iter=300).fit(rows, labels)
        deployed = client.upload(first, "iris", np.float32, (None, 4), progress=False)
        second = LogisticRegression(max_iter=300, C=0.1).fit(rows, labels)
        client.upload(second, "iris", np.float32, (None, 4), progress=False, activate=False)
        client.model("iris").set_traffic(2, percent=10)
    with httpx.Client(base_url=stack.base_url, headers={"Authorization": f"Bearer {stack.api_key}"}) as http:
        for inputs in (*rows[:20].tolist(), [1.0]):  # the last is refused
            http.post("/inference", json={"model": deployed.model_id, "inputs": {"modelInput": [inputs]}})
        return Furnished(deployed.model_id, _failed_model(http))


def _failed_model(http: httpx.Client) -> str:
    """The id of a model whose file is none. The Python client would not have sent it."""
    data = b"This is not a model."
    announced = {
        "name": "broken",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "framework": "?",
    }
    begun = http.post("/v1/models", json=announced).raise_for_status().json()
    for part in begun["upload"]["parts"]:
        httpx.put(part["url"], content=data, headers=part["headers"]).raise_for_status()
    version = f"/v1/models/{begun['model']['id']}/versions/1"
    http.post(f"{version}/complete").raise_for_status()
    wait_for(lambda: http.get(version).json()["state"] == "failed", what="the verdict")
    return str(begun["model"]["id"])


@pytest.fixture(params=DRESSES)
def dressed(request: pytest.FixtureRequest, browser: Browser, stack: RunningStack) -> Iterator[Watched]:
    forget_tries(stack)
    dress: str = request.param
    with person(browser, stack.base_url, **DRESSES[dress]) as watched:
        yield watched


@pytest.fixture
def dress(request: pytest.FixtureRequest, dressed: Watched) -> str:
    return str(request.node.callspec.params["dressed"])


def test_pages_for_everybody(dressed: Watched, dress: str) -> None:
    look_at(dressed.page("/login"), ANONYMOUS, f"{dress}-open")


def test_pages_with_nothing_in_them(dressed: Watched, dress: str) -> None:
    email = f"empty-{dress}@example.org"
    posted(dressed, "/v1/accounts", {"email": email, "password": PASSWORD})
    look_at(dressed.page("/models"), EMPTY, f"{dress}-empty")


def test_pages_with_something_in_them(
    dressed: Watched, dress: str, furnished: Furnished, operator_email: str
) -> None:
    posted(dressed, "/v1/sessions", {"email": operator_email, "password": PASSWORD})
    paths = {name: path.format_map(vars(furnished)) for name, path in FULL.items()}
    look_at(dressed.page("/models"), paths, dress)


@pytest.fixture
def observer(visitor: Watched, operator_email: str) -> Watched:
    """An operator, who may see every page."""
    posted(visitor, "/v1/sessions", {"email": operator_email, "password": PASSWORD})
    return visitor


def test_pages_that_wait_say_so(observer: Watched, furnished: Furnished) -> None:
    observer.context.route(DATA, lambda _: None)  # never answered
    pages = opened(observer, furnished)
    silent = [name for name, page in pages.items() if not appears(page, "[aria-busy=true]")]
    assert not silent


def test_pages_that_cannot_reach_the_api_say_so_and_come_back(
    observer: Watched, furnished: Furnished
) -> None:
    observer.context.route(DATA, lambda route: route.abort())
    pages = opened(observer, furnished)
    silent = [name for name, page in pages.items() if not appears(page, "[role=alert] button")]
    assert not silent
    observer.context.unroute_all()
    for page in pages.values():
        page.evaluate("document.querySelectorAll('[role=alert] button').forEach(button => button.click())")
        expect(page.get_by_role("button", name="Try again"), page.url).to_have_count(0)
        settled(page)


def opened(person: Watched, furnished: Furnished) -> dict[str, Page]:
    """All pages, each in a tab."""
    return {name: person.page(path.format_map(vars(furnished))) for name, path in FULL.items()}


def appears(page: Page, selector: str) -> bool:
    try:
        page.locator(selector).first.wait_for()
    except PlaywrightTimeout:
        return False
    return True


def look_at(page: Page, paths: dict[str, str], prefix: str) -> None:
    """Fails with all that is wrong on any of them."""
    wrong = []
    for name, path in paths.items():
        page.goto(path)
        settled(page)
        picture(page, f"{prefix}-{name}")
        wrong += [f"{path}: {problem}" for problem in (*violations(page), *overflow(page))]
    assert not wrong, "\n".join(wrong)


def overflow(page: Page) -> list[str]:
    """What makes a page so wide that it has to be moved sideways to be read."""
    found: list[str] = page.evaluate(
        """() => {
          const root = document.documentElement;
          if (root.scrollWidth <= root.clientWidth) return [];
          const past = one => one.getBoundingClientRect().right > root.clientWidth + 1;
          const first = [...document.querySelectorAll('body *')].filter(
            one => past(one) && !past(one.parentElement));
          const shown = first.map(one => one.outerHTML.slice(0, 200));
          return [`${root.scrollWidth} of ${root.clientWidth} pixels`, ...shown];
        }"""
    )
    return ["it overflows: " + "\n    ".join(found)] if found else []
