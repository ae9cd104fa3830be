"""Logging in over HTTP: the cookie, which pages may use it, and what operators do."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie

import httpx
import pytest

from tests.e2e.test_bad_input import error_of
from tests.support.people import PASSWORD
from tests.support.stack import REPOSITORY, RunningStack

GIVEN = "given-by-an-operator"


@dataclass(frozen=True, slots=True)
class Browser:
    """Sends its cookie by itself, as a page of the platform's own would."""

    http: httpx.Client
    url: str

    def own(self, method: str, path: str, **sent: object) -> httpx.Response:
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "X-Rocket-Request": "1"}
        return self.http.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]

    def foreign(self, method: str, path: str, **sent: object) -> httpx.Response:
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "X-Rocket-Request": "1"}
        return self.http.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]


@pytest.fixture
def operator(stack: RunningStack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def browser(stack: RunningStack) -> Iterator[Browser]:
    with httpx.Client(base_url=stack.base_url, timeout=30) as client:
        yield Browser(client, stack.base_url)


@pytest.fixture
def email(operator: httpx.Client) -> str:
    """Of a new account whose password is `GIVEN`."""
    made = f"p{uuid.uuid4().hex[:12]}@example.org"
    reply = operator.post("/v1/operator/accounts", json={"email": made, "password": GIVEN, "name": "Bob"})
    assert reply.status_code == 201
    assert (reply.json()["role"], reply.json()["password_expired"]) == ("member", True)
    return made


def logged_in(browser: Browser, email: str) -> None:
    """With a password of its own."""
    assert browser.own("POST", "/v1/sessions", json={"email": email, "password": GIVEN}).status_code == 201
    body = {"password": GIVEN, "new_password": PASSWORD}
    assert browser.own("POST", "/v1/account/password", json=body).status_code == 200


def test_who_got_an_account_logs_in_chooses_a_password_and_works(browser: Browser, email: str) -> None:
    reply = browser.own("POST", "/v1/sessions", json={"email": email.upper(), "password": GIVEN})
    assert reply.status_code == 201
    assert reply.json()["account"]["email"] == email
    assert reply.headers["cache-control"] == "no-store"
    cookie = SimpleCookie(reply.headers["set-cookie"])["modelrocket"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    refused = browser.own("GET", "/v1/models")
    assert (refused.status_code, error_of(refused)["code"]) == (403, "permission_denied")
    assert "/v1/account/password" in error_of(refused)["message"]

    body = {"password": GIVEN, "new_password": PASSWORD}
    assert browser.own("POST", "/v1/account/password", json=body).status_code == 200
    assert browser.own("GET", "/v1/models").json()["models"] == []
    me = browser.own("PATCH", "/v1/account", json={"name": "Robert"}).json()
    assert (me["name"], me["role"], "operate" in me["scopes"]) == ("Robert", "member", False)
    [session] = browser.own("GET", "/v1/sessions").json()["sessions"]
    assert (session["current"], session["address"]) == (True, "127.0.0.1")
    made = browser.own("POST", "/v1/keys", json={"scopes": ["infer"]})
    assert made.status_code == 201
    assert browser.own("GET", "/v1/operator/accounts").status_code == 403

    assert browser.own("DELETE", "/v1/sessions/current").status_code == 204
    assert browser.own("GET", "/v1/account").status_code == 401


def test_another_sites_page_can_change_nothing_with_the_cookie(browser: Browser, email: str) -> None:
    logged_in(browser, email)
    for refused in (
        browser.foreign("PATCH", "/v1/account", json={"name": "Mallory"}),
        browser.foreign("DELETE", "/v1/sessions"),
        browser.http.patch("/v1/account", json={"name": "Mallory"}),
        browser.http.post("/v1/keys", data={"scopes": "infer"}, headers={"Origin": browser.url}),
    ):
        assert (refused.status_code, error_of(refused)["code"]) == (403, "permission_denied")
    assert browser.own("GET", "/v1/account").json()["name"] == "Bob"


def test_another_sites_page_can_log_nobody_in_or_up(browser: Browser, email: str) -> None:
    for path in ("/v1/sessions", "/v1/accounts"):
        refused = browser.foreign("POST", path, json={"email": email, "password": GIVEN})
        assert refused.status_code == 403
        assert "set-cookie" not in refused.headers


def test_nobody_becomes_the_operator_of_a_stack_that_has_one(browser: Browser) -> None:
    body = {"email": "eve@example.org", "password": PASSWORD}
    refused = browser.own("POST", "/v1/accounts", json=body)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "permission_denied")
    refused = browser.own("POST", "/v1/accounts", json=body | {"role": "operator"})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_request")


def test_f73_a_suspended_account_is_refused_with_its_session_and_its_keys(
    operator: httpx.Client, browser: Browser, email: str
) -> None:
    logged_in(browser, email)
    key = browser.own("POST", "/v1/keys", json={"scopes": ["infer", "models:read"]}).json()["secret"]
    account_id = browser.own("GET", "/v1/account").json()["id"]
    missing = "00000000-0000-4000-8000-000000000000"
    call = {"token": key, "model": missing, "inputs": {"modelInput": [[1]]}}
    assert httpx.post(f"{browser.url}/inference", json=call).status_code == 404
    assert operator.post(f"/v1/operator/accounts/{account_id}/suspend").json()["suspended_at"]
    assert browser.own("GET", "/v1/account").status_code == 401
    assert httpx.post(f"{browser.url}/inference", json=call).status_code == 401
    assert operator.post(f"/v1/operator/accounts/{account_id}/unsuspend").json()["suspended_at"] is None
    assert httpx.post(f"{browser.url}/inference", json=call).status_code == 404
    assert browser.own("GET", "/v1/account").status_code == 200


def test_the_stacks_own_account_can_be_given_a_log_in(stack: RunningStack, browser: Browser) -> None:
    command = [sys.executable, "-m", "infra.local", "account", "--email", "owner@example.org"]
    environment = {"ROCKET_HOME": str(stack.home), "ROCKET_PORT": str(stack.port), "PATH": ""}
    asked = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        input=f"{PASSWORD}\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert PASSWORD not in asked.stdout + asked.stderr
    body = {"email": "owner@example.org", "password": PASSWORD}
    assert browser.own("POST", "/v1/sessions", json=body).status_code == 201
    assert "operate" in browser.own("GET", "/v1/account").json()["scopes"]
    assert browser.own("DELETE", "/v1/sessions").status_code == 204
    assert browser.own("GET", "/v1/account").status_code == 401
