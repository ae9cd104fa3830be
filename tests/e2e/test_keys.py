"""Keys as their owners use them: the client and the command line, at every door of the whole platform."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import httpx
import numpy as np
import pytest

from chalicelib.contract import limits
from chalicelib.contract.messages import Scope
from modelrocket import Client, Deployment
from modelrocket.errors import ApiError, Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from modelrocket.keys import SCOPES, NewKey
from tests.e2e.test_cli import CommandLine
from tests.support.graphs import marked
from tests.support.stack import RunningStack
from tests.support.tenants import Tenants
from tests.support.waiting import wait_for

INPUTS: Final = {"modelInput": [[1]]}
DAY: Final = 86_400


@pytest.fixture(scope="module")
def deployment(stack: RunningStack) -> Deployment:
    return Client(stack.base_url, stack.api_key).upload(marked(5), "keys", progress=False)


@pytest.fixture(scope="module")
def doors(stack: RunningStack) -> tuple[str, ...]:
    hosts = [child["address"] for name, child in stack.children.items() if name.startswith("host")]
    return (stack.base_url, *(f"http://{address.removeprefix('http://')}" for address in hosts))


@pytest.fixture
def command_line(stack: RunningStack) -> CommandLine:
    return CommandLine(stack)


def infer(http: httpx.Client, deployment: Deployment, token: str) -> httpx.Response:
    body = {"model": deployment.model_id, "inputs": INPUTS}
    return http.post("/inference", json=body, headers={"Authorization": f"Bearer {token}"})


def refused(http: httpx.Client, deployment: Deployment, token: str) -> bool:
    return infer(http, deployment, token).status_code == 401


ACTIONS: Final[dict[Scope, Callable[[Client, Deployment], object]]] = {
    Scope.INFER: lambda client, deployment: client.predict(deployment.model_id, np.ones((1, 1), np.float32)),
    Scope.MODELS_READ: lambda client, deployment: client.model(deployment.model_id),
    Scope.MODELS_WRITE: lambda client, deployment: client._manage(
        "POST", f"/v1/models/{deployment.model_id}/rollback", {"version": deployment.version}
    ),
    Scope.KEYS: lambda client, _: client.keys.list(),
}


@pytest.mark.parametrize("scope", list(ACTIONS))
def test_a_key_does_what_its_scope_says_and_nothing_else(
    stack: RunningStack, client: Client, deployment: Deployment, scope: Scope
) -> None:
    made = client.keys.create(f"only {scope}", scopes=[scope])
    with Client(stack.base_url, made.secret) as limited:
        for needed, act in ACTIONS.items():
            try:
                act(limited, deployment)
                lacks = None
            except (PermissionDenied, Conflict) as error:  # nothing to go back to is no lack of a scope
                lacks = str(error) if isinstance(error, PermissionDenied) else None
            assert (lacks is None) == (needed is scope), (needed, lacks)
            assert lacks is None or f'"{needed}"' in lacks


def test_scopes_are_named_alike_on_both_sides() -> None:
    assert tuple(Scope) == SCOPES


@pytest.mark.parametrize("kind", ["api key", "model token"])
def test_f73_a_revoked_key_is_refused_at_every_door_within_five_seconds(
    client: Client, deployment: Deployment, doors: tuple[str, ...], kind: str
) -> None:
    if kind == "api key":
        made = client.keys.create("to be revoked", scopes=["infer"])
    else:
        made = client.keys.create("to be revoked", model=deployment.model_id)
    connections = [httpx.Client(base_url=door, timeout=30) for door in doors]
    for connection in connections:
        assert infer(connection, deployment, made.secret).status_code == 200
    assert client.keys.revoke(made.key.id).state == "revoked"
    revoked = time.monotonic()
    for connection in connections:
        asked = time.monotonic()
        while not refused(connection, deployment, made.secret):
            assert asked - revoked <= limits.TOKEN_CACHE_SECONDS, "it was sent too late to be answered"
            time.sleep(0.02)
            asked = time.monotonic()
        connection.close()


def test_f73_a_rotated_token_works_at_every_door_beside_the_new_one_until_the_overlap_ends(
    client: Client, deployment: Deployment, doors: tuple[str, ...]
) -> None:
    made = client.keys.create("to be rotated", model="keys")
    rotated = client.keys.rotate("to be rotated", overlap_seconds=2)
    assert rotated.old
    assert (rotated.old.state, rotated.old.rotated_to) == ("rotated", rotated.key.id)
    for door in doors:
        with httpx.Client(base_url=door, timeout=30) as http:
            assert infer(http, deployment, rotated.secret).status_code == 200
            wait_for(partial(refused, http, deployment, made.secret), what="its end")
            assert infer(http, deployment, rotated.secret).status_code == 200
    assert client.keys.get(made.key.id).state == "expired"


def test_a_deployment_takes_a_new_token_and_goes_on(client: Client, deployment: Deployment) -> None:
    made = client.keys.create("website", model=deployment.model_id)
    with_token = Deployment(**{**vars(deployment), "token": made.secret, "client": client})
    again = with_token.rotate_token()
    assert again.token not in (None, made.secret)
    assert again.predict(np.ones((2, 1), np.float32)).shape[0] == 2  # type: ignore[union-attr]
    with_token.predict(np.ones((1, 1), np.float32))


def test_f13_what_is_sent_again_under_its_idempotency_key_is_done_once(
    client: Client, stack: RunningStack
) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}", "Idempotency-Key": "make-this-once"}
    body = {"name": "once", "scopes": ["infer"]}
    replies = [
        httpx.post(f"{stack.base_url}/v1/keys", json=body, headers=headers, timeout=30) for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert len([one for one in client.keys.list() if one.name == "once"]) == 1


def test_another_accounts_key_looks_like_a_missing_one(stack: RunningStack, client: Client) -> None:
    tenants = Tenants(stack)
    made = client.keys.create("mine", scopes=["infer"])
    with Client(stack.base_url, tenants.key(tenants.another())) as stranger:
        calls: list[Callable[[str], object]] = [
            stranger.keys.get,
            stranger.keys.revoke,
            stranger.keys.rotate,
            stranger.keys.explain,
        ]
        for call in calls:
            told = set()
            for key_id in (made.key.id, "00000000-0000-4000-8000-000000000000"):
                with pytest.raises(NotFound) as raised:
                    call(key_id)
                told.add(str(raised.value).partition("request")[0])
            assert len(told) == 1
        assert all(one.name != "mine" for one in stranger.keys.list())


def test_a_token_manages_nothing(stack: RunningStack, deployment: Deployment, client: Client) -> None:
    token = client.keys.create("only infers", model=deployment.model_id).secret
    with Client(stack.base_url, token) as limited:
        for act in (limited.models, limited.keys.list):
            with pytest.raises(Unauthenticated, match="not valid here"):
                act()
        assert limited.keys.explain().works


def test_what_was_used_says_when(client: Client, deployment: Deployment, stack: RunningStack) -> None:
    made = client.keys.create("used", scopes=["models:read"])
    assert made.key.last_used_at is None
    with Client(stack.base_url, made.secret) as used:
        used.models()
    told = client.keys.get(made.key.id).last_used_at
    assert told is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", told)


def test_keys_expire_by_default_and_tokens_do_not(client: Client) -> None:
    key, token = (
        client.keys.create("key", scopes=["infer"]).key,
        client.keys.create("token", model="keys").key,
    )
    assert key.expires_at is not None
    assert token.expires_at is None
    assert client.keys.create("for ever", scopes=["infer"], expires_in_days="never").key.expires_at is None
    with pytest.raises(InvalidRequest, match="expires_in_days"):
        client.keys.create("too long", scopes=["infer"], expires_in_days=limits.KEY_DAYS_MAX + 1)
    with pytest.raises(InvalidRequest, match="scopes"):
        client.keys.create("nothing")


def test_the_pattern_for_scanners_finds_keys(client: Client, stack: RunningStack) -> None:
    published = client.limits()["keys"]
    text = f"curl -H 'Authorization: Bearer {stack.api_key}' https://example.com"
    assert re.findall(published["pattern"], text) == [stack.api_key]
    assert re.findall(published["pattern"], "mr_something else, amr_" + "a" * 36) == []
    assert published["revoked_seconds_max"] == limits.TOKEN_CACHE_SECONDS


def test_the_command_line_takes_a_key_through_its_life(
    command_line: CommandLine, stack: RunningStack, deployment: Deployment
) -> None:
    made = json.loads(
        command_line.run("keys", "create", "site", "--model", "keys", "--expires-in", "30", "--json").stdout
    )
    secret, key = made["secret"], made["key"]
    shown = command_line.run("keys", "list").stdout
    assert secret not in shown
    assert key["hint"] in shown
    listed = json.loads(command_line.run("keys", "list", "--model", "keys", "--json").stdout)
    assert key["id"] in [one["id"] for one in listed]

    explained = command_line.run("keys", "explain", "--key-stdin", typed=f"{secret}\n").stdout
    assert "Run the model keys, and no other" in explained
    rotated = command_line.run("keys", "rotate", "site", "--overlap", "1h")
    new_secret, told, old = rotated.stdout.splitlines()
    assert (new_secret.startswith("mr_"), new_secret != secret) == (True, True)
    assert "shown once" in told
    assert key["hint"] in old

    revoked = command_line.run("keys", "revoke", key["id"], "--yes").stdout
    assert "five seconds" in revoked
    refused = command_line.run("keys", "explain", "--key-stdin", typed=f"{secret}\n", code=1).stdout
    assert "revoked on" in refused
    typo = command_line.run("keys", "explain", "--key-stdin", typed=f"{secret[:-1]}\n", code=1).stdout
    assert "mistyped" in typo
    missing = command_line.run("keys", "revoke", "nobody", "--yes", code=1).stderr
    assert 'no key "nobody"' in missing


def test_what_cannot_be_made_up_for_is_asked_about(command_line: CommandLine, client: Client) -> None:
    made: NewKey = client.keys.create("kept", scopes=["infer"])
    asked = command_line.run_on_terminal("keys", "revoke", "kept", typed="n\n", code=1)
    assert "Nothing was revoked" in asked.stderr
    assert client.keys.get(made.key.id).state == "live"


def test_two_keys_of_one_name_are_told_apart_by_id(client: Client) -> None:
    first = client.keys.create("twin", scopes=["infer"])
    second = client.keys.create("twin", scopes=["infer"])
    with pytest.raises(Exception, match="2 keys are called"):
        client.keys.revoke("twin")
    client.keys.revoke(first.key.id)
    assert client.keys.get("twin") == second.key, "the one that works"
    assert client.keys.get(second.secret) == second.key
    with pytest.raises(ApiError, match="refused"):
        client.keys.get(first.secret)
