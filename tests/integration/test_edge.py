"""Limits by address, and the audit log, of callers who share one of CloudFront's addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.gatewayloop import event
from chalicelib.contract import limits
from chalicelib.wiring import ControlPlane, control_plane
from infra.local.embedded import EmbeddedServers
from tests.support.stores import new_database

KEY = "k3" * 32
EDGE = "130.176.100.154"
ADA, EVE = "203.0.113.7", "198.51.100.66"
PASSWORD = "tide-oak-88-lamp"


@pytest.fixture
def plane(
    servers: EmbeddedServers, raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ControlPlane]:
    """The application's own, as a function has it."""
    environ = {
        **servers.connections.control_plane("gateway"),
        "MODELROCKET_MONGO_URL": servers.connections.mongo_stack_url,
        "MODELROCKET_MONGO_DATABASE": new_database(),
        "MODELROCKET_DISPATCH_KEY": "5a" * 32,
        "MODELROCKET_EDGE_KEY": KEY,
        "MODELROCKET_PUBLIC_URL": "https://models.example.com",
        "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
        "MODELROCKET_SIGN_UP": "open",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    control_plane.cache_clear()
    built = control_plane()
    built.store.create_indexes()
    yield built
    control_plane.cache_clear()


def send(path: str, body: dict[str, Any], *, caller: str, key: str | None = KEY) -> Any:
    """Through CloudFront with its key; with another or none as somebody sends it who asks API Gateway."""
    from app import app

    sent = event(path, json.dumps(body))
    sent["requestContext"]["identity"]["sourceIp"] = EDGE
    sent["headers"]["X-Forwarded-For"] = f"{ADA}, {caller}, {EDGE}"
    if key is not None:
        sent["headers"]["X-ModelRocket-Edge-Key"] = key
    return app(sent, None)


def guess(caller: str, key: str | None = KEY) -> int:
    tried = {"email": "ada@example.org", "password": "not-that-one-88"}
    return int(send("/v1/sessions", tried, caller=caller, key=key)["statusCode"])


def test_f74_a_guesser_behind_cloudfront_is_told_apart_from_everybody_else(plane: ControlPlane) -> None:
    ada = {"email": "ada@example.org", "password": PASSWORD}
    made = send("/v1/accounts", ada | {"name": "Ada"}, caller=ADA)
    assert made["statusCode"] == 201, made
    guesses = [guess(EVE) for _ in range(limits.LOG_INS_AT_ONCE + 1)]
    assert guesses == [401] * limits.LOG_INS_AT_ONCE + [429]
    assert send("/v1/sessions", ada, caller=ADA)["statusCode"] == 201
    account = json.loads(made["body"])["account"]["id"]
    begun, created = plane.store.audit_page(account, before=None, action="", object_id="", limit=9)
    assert [begun.address, created.address] == [ADA, ADA]


@pytest.mark.parametrize("key", [None, KEY[:-1] + "4"])
def test_f74_without_the_key_another_address_is_no_other_caller(plane: ControlPlane, key: str | None) -> None:
    del plane
    guesses = [guess(f"192.0.2.{number}", key) for number in range(limits.LOG_INS_AT_ONCE + 1)]
    assert guesses == [401] * limits.LOG_INS_AT_ONCE + [429]
