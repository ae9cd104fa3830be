"""What is answered again under an Idempotency-Key, and to whom: real stores behind the API's own boundary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from chalice.app import Chalice
from chalice.test import Client

from chalicelib import keyviews
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal, require
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.messages import Scope
from chalicelib.http import Boundary
from chalicelib.keys import NewKey
from chalicelib.wiring import ControlPlane, new_id

ALL = [Scope.INFER, Scope.MODELS_READ, Scope.KEYS]
PASSWORD = "tide-oak-88-lamp"


class Secret(msgspec.Struct):
    password: str


class Doors:
    """A few routes over one control plane, and what they did."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.gone: list[str] = []
        app = Chalice(app_name="doors")
        boundary = Boundary(app, new_id=new_id, guards=lambda: plane.guards)
        boundary.mount(self.routes())
        self._client = Client(app)

    def routes(self) -> Routes:
        route = Routes()

        @route("DELETE", "/things/{name}", scope=Scope.MODELS_READ)
        def remove(_principal: Principal, name: str) -> None:
            self.gone.append(name)

        @route("POST", "/keys", scope=Scope.KEYS, status=201, secret=True)
        def create(principal: Principal, asked: Asked, body: NewKey) -> keyviews.NewSecret:
            made = self.plane.keys.create(principal, body, seed=asked.seed)
            return keyviews.issued(made, self.plane.keys.now())

        @route("POST", "/password")
        def password(principal: Principal, body: Secret) -> Secret:
            require(principal, Scope.KEYS)
            return body

        return route

    def send(self, key: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "once"}
        content = b"" if body is None else msgspec.json.encode(body)
        return self._client.http.request(method, path, headers=headers, body=content)


@pytest.fixture
def doors(plane: ControlPlane) -> Doors:
    return Doors(plane)


@pytest.fixture
def key_of(plane: ControlPlane, alice: Principal) -> Callable[..., str]:
    """One more of alice's, with these scopes."""
    return lambda *scopes: plane.keys.create(alice, NewKey(scopes=scopes)).plain


def test_what_stands_in_the_path_makes_it_another_request(doors: Doors, key_of: Callable[..., str]) -> None:
    """Or the second thing would be said to be gone, and stay."""
    key = key_of(*ALL)
    assert doors.send(key, "DELETE", "/things/a").status_code == 204
    assert doors.send(key, "DELETE", "/things/a").status_code == 204
    assert doors.send(key, "DELETE", "/things/b").status_code == 409
    assert doors.gone == ["a"]


def test_who_may_do_less_is_not_told_what_was_answered(doors: Doors, key_of: Callable[..., str]) -> None:
    body = {"password": PASSWORD}
    assert doors.send(key_of(*ALL), "POST", "/password", body).status_code == 200
    refused = doors.send(key_of(Scope.INFER), "POST", "/password", body)
    assert (refused.status_code, PASSWORD in str(refused.json_body)) == (409, False)
    assert doors.send(key_of(*ALL), "POST", "/password", body).status_code == 200, "another key that may"


@pytest.mark.parametrize("asked", [["infer"], ["infer", "keys"]])
def test_a_key_that_was_not_told_is_not_given_to_who_asks_for_another(
    doors: Doors, key_of: Callable[..., str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made while the hot state was away: it must not come back as one that may do less."""

    def away(*_: object) -> None:
        raise DependencyFailed("away")

    strong, weak = key_of(*ALL), key_of(Scope.INFER, Scope.KEYS)
    with monkeypatch.context() as patch:
        patch.setattr(doors.plane.hot, "put_tokens", away)
        assert doors.send(strong, "POST", "/keys", {"scopes": ALL}).status_code == 503
    for key in (strong, weak):
        reply = doors.send(key, "POST", "/keys", {"scopes": asked})
        if reply.status_code == 201:
            assert reply.json_body["key"]["scopes"] == asked
            authorization = f"Bearer {reply.json_body['secret']}"
            assert doors.plane.auth.authenticate(authorization).scopes == set(asked)


def test_no_hash_of_a_body_is_kept_that_a_password_could_be_guessed_by(
    doors: Doors, plane: ControlPlane, key_of: Callable[..., str]
) -> None:
    doors.send(key_of(*ALL), "POST", "/password", {"password": PASSWORD})
    [kept] = plane.store._attempts.find()
    scopes = " ".join(sorted(ALL))
    body = msgspec.json.encode({"password": PASSWORD}).decode()
    guesses = [
        b"\n".join(part.encode() for part in parts if part)
        for parts in (("POST", "/password", body), ("POST", "/password", scopes, body))
    ]
    assert kept["request"] not in {hashlib.sha256(guess).hexdigest() for guess in guesses}
