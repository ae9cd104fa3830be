"""`POST /inference` as both doors read it: the gateway's and the host's own. Pure.

What is wrong with a request is said here, so that a caller hears the same from either.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from chalicelib.contract.messages import ModelRecord, TokenRecord, VersionRecord
from chalicelib.contract.tokens import is_well_formed, token_sha256

NO_MODEL: Final = "-"
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.REQUEST_ID_LENGTH_MAX}}}")
_SHOWN_LENGTH_MAX: Final = 40


class InferenceBody(msgspec.Struct, frozen=True):
    """`POST /inference`. The inputs stay bytes: only a worker reads them."""

    model: str
    inputs: msgspec.Raw
    token: str | None = None


_BODY: Final = msgspec.json.Decoder(InferenceBody)


def read_inference(body: bytes | bytearray) -> InferenceBody:
    """Raises InvalidRequest."""
    try:
        return _BODY.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f'{error}. Expected {{"token": "…", "model": "…", "inputs": {{"modelInput": […]}}}}'
        ) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error


def bearer(authorization: str | None) -> str | None:
    """The credential of an `Authorization: Bearer` header, or None when there is none."""
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        return None
    return credential.strip()


def credential_sha256(plain: str | None) -> str:
    """What a credential is looked up by. Raises Unauthenticated where it cannot be one."""
    if not plain:
        raise Unauthenticated('Send the model\'s token, as "token" in the body or as Authorization: Bearer.')
    if not is_well_formed(plain):
        raise Unauthenticated("This is not a token: it may be cut off or mistyped.")
    return token_sha256(plain)


def model_key(model_id: str) -> str:
    """The id, or what no model is called where it is not one."""
    return model_id if _UUID.fullmatch(model_id) else NO_MODEL


def authorised(token: TokenRecord | None, model: ModelRecord | None) -> VersionRecord:
    """The version to run, if this credential may run it. Foreign and missing look the same.

    Raises Unauthenticated, NotFound, PermissionDenied, Conflict.
    """
    if token is None or token.revoked:
        raise Unauthenticated("This token is not valid.")
    if model is None or model.deleted or model.tenant != token.tenant:
        raise NotFound("There is no such model.")
    if token.model_id not in (None, model.model_id):
        raise PermissionDenied("This token is for another model.")
    if model.active is None:
        raise Conflict(
            "No version of this model is ready. Its versions say why: GET /v1/models/{id}/versions"
        )
    return model.active


def is_request_id(text: str) -> bool:
    """Whether a caller's own X-Request-Id is harmless."""
    return _REQUEST_ID.fullmatch(text) is not None


def read_deadline(text: str | None) -> float:
    """Seconds the caller gives: X-Deadline-Ms, at most (and by default) the platform's own budget."""
    if text is None:
        return limits.DEADLINE_SECONDS_DEFAULT
    return min(read_number(text, name="X-Deadline-Ms") / 1000, limits.DEADLINE_SECONDS_DEFAULT)


def read_number(text: str, *, name: str) -> int:
    """A non-negative whole number from a path, query or header, or InvalidRequest."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(2**31)):
        raise InvalidRequest(f"{name}: a whole number expected, got {text[:_SHOWN_LENGTH_MAX]!r}")
    return int(text)
