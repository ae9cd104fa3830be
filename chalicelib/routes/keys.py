"""API keys and model tokens."""

from __future__ import annotations

import msgspec

from chalicelib import keyviews, views
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal, require
from chalicelib.contract.messages import Scope
from chalicelib.explaining import ExplainKey, asked_for
from chalicelib.keys import NewKey, RotateKey
from chalicelib.wiring import control_plane as plane

route = Routes()


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further token of a model."""

    name: str = ""


@route("GET", "/v1/keys", scope=Scope.KEYS)
def list_keys(principal: Principal, after: str = "") -> keyviews.KeysPage:
    """Your API keys and model tokens, the newest first."""
    return keyviews.keys(plane().keys.list(principal, after=after), plane().keys.now())


@route("POST", "/v1/keys", scope=Scope.KEYS, status=201, audit="key.create", secret=True)
def create_key(principal: Principal, asked: Asked, body: NewKey) -> keyviews.NewSecret:
    """Make an API key or a model token. Its secret is shown once."""
    return keyviews.issued(plane().keys.create(principal, body, seed=asked.seed), plane().keys.now())


@route("POST", "/v1/keys/explain")
def explain_key(asked: Asked, body: ExplainKey) -> keyviews.ExplainedKey:
    """What a key may do, and why it is refused if it is: the key that the body shows, or one of your own."""
    shown = asked_for(body)
    if shown is not None:
        return keyviews.explained(plane().explaining.shown(shown), plane().keys.now())
    principal = plane().guards.authenticate(asked)
    require(principal, Scope.KEYS)
    return keyviews.explained(plane().explaining.own(principal, str(body.id)), plane().keys.now())


@route("GET", "/v1/keys/{key_id}", scope=Scope.KEYS)
def get_key(principal: Principal, key_id: str) -> keyviews.Key:
    """One key."""
    return keyviews.key(plane().keys.get(principal, key_id), plane().keys.now())


@route("DELETE", "/v1/keys/{key_id}", scope=Scope.KEYS, audit="key.revoke")
def revoke_key(principal: Principal, key_id: str) -> None:
    """Revoke a key. It is refused everywhere within five seconds."""
    plane().keys.revoke(principal, key_id)


@route("POST", "/v1/keys/{key_id}/rotate", scope=Scope.KEYS, status=201, audit="key.rotate", secret=True)
def rotate_key(principal: Principal, asked: Asked, key_id: str, body: RotateKey) -> keyviews.RotatedKey:
    """Give a key a new secret with the same rights. The old one works beside it until the overlap ends."""
    rotated = plane().keys.rotate(principal, key_id, body, seed=asked.seed)
    return keyviews.rotated(rotated, plane().keys.now())


@route("GET", "/v1/models/{model_id}/tokens", scope=Scope.KEYS)
def list_tokens(principal: Principal, model_id: str, after: str = "") -> keyviews.KeysPage:
    """A model's tokens, the newest first."""
    listed = plane().keys.list(principal, model_id=model_id, after=after)
    return keyviews.keys(listed, plane().keys.now())


@route("POST", "/v1/models/{model_id}/tokens", scope=Scope.KEYS, status=201, audit="key.create", secret=True)
def issue_token(principal: Principal, asked: Asked, model_id: str, body: NewToken) -> views.IssuedModelToken:
    """Make a token that may only infer this model. It is shown once."""
    made = plane().keys.create(principal, NewKey(name=body.name, model_id=model_id), seed=asked.seed)
    return views.issued_token(made.token, made.plain)
