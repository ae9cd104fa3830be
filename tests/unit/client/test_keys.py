"""What the client asks of keys, and what it makes of the answers, against a server that is scripted."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import pytest
from rich.console import Console

from modelrocket import printing
from modelrocket.client import Client, Deployment
from modelrocket.errors import ConfigurationError, NotFound
from modelrocket.keys import Explanation, Key, NewKey, RequestLimit
from tests.unit.client.server import API_KEY, ENDPOINT, MODEL_ID, Time
from tests.unit.client.test_models import Script

KEY_ID: Final = "5b1c5f5e-0000-4000-8000-0000000000aa"
OTHER_ID: Final = "5b1c5f5e-0000-4000-8000-0000000000bb"
WHOLE: Final = "mr_" + "a" * 36


def told(key_id: str = KEY_ID, **changed: Any) -> dict[str, Any]:
    key = {
        "id": key_id,
        "kind": "api_key",
        "hint": "mr_aaaaa…",
        "name": "ci",
        "scopes": ["infer", "keys"],
        "model_id": None,
        "state": "live",
        "created_at": "2026-01-02T03:04:05.678Z",
        "created_by": "mr_bbbbb…",
        "expires_at": "2026-04-02T03:04:05.678Z",
        "requests_per_second": None,
        "rotated_to": None,
        "revoked_at": None,
        "last_used_at": None,
        "something_new": 1,
    }
    return key | changed


def explained(**changed: Any) -> dict[str, Any]:
    may = [{"scope": "infer", "allowed": True, "means": "Run models"}]
    own = {"requests_per_second": 5.0, "left": 10}
    account = {"requests_per_second": 1000.0, "left": None}
    models = [{"id": MODEL_ID, "name": "digits", "active": 2}]
    works = {"works": True, "why": None, "state": "live", "key": told(), "may": may, "models": models}
    return works | {"own_limit": own, "account_limit": account} | changed


REFUSED: Final = explained(
    works=False, why="It was revoked.", key=None, may=[], models=[], own_limit=None, account_limit=None
)


@pytest.fixture
def script() -> Script:
    return Script()


def test_all_pages_are_listed(script: Script) -> None:
    script.on("GET /v1/keys", {"keys": [told()], "next": KEY_ID})
    script.on(f"GET /v1/keys?after={KEY_ID}", {"keys": [told(OTHER_ID)], "next": None})
    listed = script.client.keys.list()
    assert [one.id for one in listed] == [KEY_ID, OTHER_ID]
    assert listed[0].scopes == ("infer", "keys")


def test_a_lost_answer_is_asked_for_again_under_the_same_idempotency_key() -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["idempotency-key"], json.loads(request.content)))
        if len(seen) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(201, json={"key": told(), "secret": WHOLE})

    client = Client(ENDPOINT, API_KEY, transport=httpx.MockTransport(answer), clock=Time().clock)
    made = client.keys.create("ci", scopes=["infer"], expires_in_days="never")
    assert made.secret == WHOLE
    assert WHOLE not in repr(made)
    asked = {"name": "ci", "scopes": ["infer"], "expires_in_days": None, "requests_per_second": None}
    assert [body for _, body in seen] == [asked, asked]
    assert seen[0][0] == seen[1][0]
    client.keys.create("ci", scopes=["infer"])
    assert seen[2][0] != seen[0][0]
    assert "expires_in_days" not in seen[2][1]


@pytest.mark.parametrize("named", ["ci", "mr_aaaaa", "mr_aaaaa…"])
def test_a_key_is_found_by_name_and_first_characters(script: Script, named: str) -> None:
    script.on(
        "GET /v1/keys", {"keys": [told(), told(OTHER_ID, name="x", hint="mr_x…", state="live")], "next": None}
    )
    script.on(f"GET /v1/keys/{KEY_ID}", told())
    assert script.client.keys.get(named).id == KEY_ID


def test_one_that_works_goes_before_one_that_does_not(script: Script) -> None:
    script.on("GET /v1/keys", {"keys": [told(OTHER_ID, state="revoked"), told()], "next": None})
    script.on(f"GET /v1/keys/{KEY_ID}", told())
    assert script.client.keys.get("ci").id == KEY_ID
    script.on("GET /v1/keys", {"keys": [told(OTHER_ID), told()], "next": None})
    with pytest.raises(ConfigurationError, match="2 keys are called"):
        script.client.keys.get("ci")
    with pytest.raises(NotFound, match="no key"):
        script.client.keys.get("nobody")


def test_the_key_in_use_is_explained_without_looking_it_up(script: Script) -> None:
    script.on("POST /v1/keys/explain", explained())
    found = script.client.keys.explain()
    assert (found.works, found.own_limit, found.models[0].name) == (True, RequestLimit(5.0, 10), "digits")
    assert script.asked == [("POST /v1/keys/explain", json.dumps({"key": API_KEY}).replace(" ", "").encode())]


def test_a_deployment_changes_its_token(script: Script) -> None:
    script.on("POST /v1/keys/explain", explained())
    script.on(f"POST /v1/keys/{KEY_ID}/rotate", {"key": told(OTHER_ID), "secret": "mr_new", "old": told()})
    one = Deployment(MODEL_ID, "digits", 1, WHOLE, f"{ENDPOINT}/inference", ENDPOINT, client=script.client)
    assert one.rotate_token(overlap_seconds=60).token == "mr_new"
    assert script.asked[-1][1] == b'{"overlap_seconds":60}'
    script.on("POST /v1/keys/explain", REFUSED)
    with pytest.raises(NotFound, match="It was revoked"):
        one.rotate_token()
    with pytest.raises(ConfigurationError, match="does not know its token"):
        Deployment(MODEL_ID, "digits", 1, None, "", ENDPOINT).rotate_token()


def shown(renderable: Any) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_keys_print_as_a_table(script: Script) -> None:
    hostile = told(OTHER_ID, name="\x1b[2J", model_id=MODEL_ID, last_used_at="2026-01-03T03:04:00Z")
    script.on("GET /v1/keys", {"keys": [told(), hostile], "next": None})
    header, first, second = shown(printing.keys(script.client.keys.list())).splitlines()
    assert header.split()[:3] == ["name", "key", "may"]
    assert "infer, keys" in first
    assert "2026-04-02 03:04:05" in first
    assert "\x1b" not in second
    assert f"run {MODEL_ID}" in second
    assert shown(printing.keys([])).strip() == "No keys."


def test_a_new_key_prints_its_secret_on_a_line_of_its_own(script: Script) -> None:
    script.on("POST /v1/keys/explain", explained())
    script.on(f"POST /v1/keys/{KEY_ID}/rotate", {"key": told(OTHER_ID), "secret": WHOLE, "old": told()})
    made: NewKey = script.client.keys.rotate(WHOLE)
    secret, once, old = shown(printing.new_key(made)).splitlines()
    assert secret == WHOLE
    assert "shown once" in once
    assert "The old one (mr_aaaaa…) works until 2026-04-02 03:04:05 UTC." in old


def test_an_explanation_prints_what_a_key_may_do_or_why_not(script: Script) -> None:
    script.on("POST /v1/keys/explain", explained(), REFUSED)
    good: Explanation = script.client.keys.explain()
    text = shown(printing.explanation(good))
    assert "may  infer  Run models" in text
    assert "requests a second for it: 5, 10 at once now" in text
    assert "for all keys of its account together: 1000\n" in text
    assert "digits" in text
    refused = script.client.keys.explain(WHOLE)
    assert isinstance(good.key, Key)
    assert shown(printing.explanation(refused)).strip() == "It is refused: It was revoked."
