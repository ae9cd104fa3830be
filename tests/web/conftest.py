"""One stack with its site and one browser for the tests of the web UI; a new account for each test."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, Page

from modelrocket import Client
from tests.support.browser import Watched, person, running_browser
from tests.support.programs import needed
from tests.support.stack import REPOSITORY, RunningStack, running_stack

PASSWORD = "tide-oak-88-lamp"


@pytest.fixture(scope="session")
def built_site() -> Path:
    """`frontend/dist`, made anew where its sources are newer; by one process at a time."""
    needed("node")
    folder = REPOSITORY / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-s", "site"], cwd=REPOSITORY, check=True)
    return REPOSITORY / "frontend" / "dist"


@pytest.fixture(scope="session")
def stack(built_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Anybody may sign up."""
    home = tmp_path_factory.mktemp("site") / "home"
    with running_stack(home, hosts=2, environment={"MODELROCKET_SIGN_UP": "open"}) as running:
        yield running
    for folder in ("s3", "hosts"):
        shutil.rmtree(home / folder, ignore_errors=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one file: while it runs, this thread is in an event loop, and other files' tests want their own."""
    with running_browser() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, stack: RunningStack) -> Iterator[Watched]:
    """Somebody who is not logged in, and from whose address nobody has signed up or failed to log in."""
    forget_tries(stack)
    with person(browser, stack.base_url) as watched:
        yield watched


@dataclass(frozen=True)
class Member:
    """Somebody who is logged in: in a browser, and with the Python client by a key of theirs."""

    browser: Watched
    client: Client
    email: str
    key: str

    def page(self, path: str = "/models") -> Page:
        return self.browser.page(path)


@pytest.fixture
def member(visitor: Watched, stack: RunningStack) -> Iterator[Member]:
    """A new account, with nothing in it but that key."""
    email = f"{uuid.uuid4().hex[:10]}@example.org"
    posted(visitor, "/v1/accounts", {"email": email, "password": PASSWORD, "name": "Ada"})
    scopes = ["infer", "models:read", "models:write", "keys"]
    made = posted(visitor, "/v1/keys", {"name": "Python", "scopes": scopes})
    with Client(stack.base_url, made["secret"]) as client:
        yield Member(visitor, client, email, made["secret"])


@pytest.fixture(scope="session")
def operator_email(stack: RunningStack) -> str:
    """Of the account that the stack made and that operates it."""
    email = "operator@example.org"
    stack.command("account", "--email", email, given=f"{PASSWORD}\n")
    return email


@pytest.fixture
def operator(visitor: Watched, stack: RunningStack, operator_email: str) -> Iterator[Member]:
    posted(visitor, "/v1/sessions", {"email": operator_email, "password": PASSWORD})
    with Client(stack.base_url, stack.api_key) as client:
        yield Member(visitor, client, operator_email, stack.api_key)


def forget_tries(stack: RunningStack) -> None:
    """All tests come from one address, which may sign up once a minute."""
    with redis.Redis.from_url(stack.redis_url) as hot:
        for key in hot.scan_iter("mr:rate:log-in:*"):
            hot.delete(key)


def posted(visitor: Watched, path: str, body: Any) -> Any:
    """What the API says to this browser's session."""
    headers = {"X-Rocket-Request": "1", "Sec-Fetch-Site": "same-origin"}
    reply = visitor.context.request.post(path, data=body, headers=headers)
    assert reply.ok, reply.text()
    return reply.json()
