"""`POST /inference` as both doors read it: the gateway's and the host's own. Pure.

What is wrong with a request is said here, so that a caller hears the same from either.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from chalicelib.contract.messages import ModelRecord, Scope, TokenRecord
from chalicelib.contract.tokens import is_well_formed, token_sha256

NO_MODEL: Final = "-"
QUARANTINED: Final = (
    "The active version of this model is quarantined for some minutes: it ended its process twice. "
    "Upload a version that does not."
)
_NOT_VALID: Final = "This token is not valid."
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STICKY_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{limits.STICKY_KEY_LENGTH_MAX}}}")
_REQUEST_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.REQUEST_ID_LENGTH_MAX}}}")
_SHOWN_LENGTH_MAX: Final = 40


_NO_INPUTS: Final = msgspec.Raw()


class InferenceBody(msgspec.Struct, frozen=True):
    """`POST /inference`. The inputs stay bytes: only a worker reads them.

    `inputs_from`: the id of a payload that they are in, where there are none here.
    """

    model: str
    inputs: msgspec.Raw = _NO_INPUTS
    token: str | None = None
    inputs_from: str | None = None


_BODY: Final = msgspec.json.Decoder(InferenceBody)
_PLAIN_BYTES_MIN: Final = 16 * 1024
_HEAD_BYTES_MAX: Final = 4 * 1024
_TEXT: Final = rb'"([^"\\\x00-\x1f]*)"'
_COLON: Final = rb"[ \t\n\r]*:[ \t\n\r]*"
_COMMA: Final = rb"[ \t\n\r]*,[ \t\n\r]*"
_BEFORE_INPUTS: Final = re.compile(
    rb"[ \t\n\r]*\{[ \t\n\r]*"
    rb'(?:"token"%(colon)b%(text)b%(comma)b"model"%(colon)b%(text)b'
    rb'|"model"%(colon)b%(text)b(?:%(comma)b"token"%(colon)b%(text)b)?)'
    rb'%(comma)b"inputs"%(colon)b(?=\{)' % {b"text": _TEXT, b"colon": _COLON, b"comma": _COMMA}
)
_FIRST_INPUT: Final = re.compile(rb"\{[ \t\n\r]*(?=\")")
_NUMBERS: Final = re.compile(_TEXT + _COLON + rb"\[")
_END: Final = re.compile(rb"(\})[ \t\n\r]*\}[ \t\n\r]*\Z")
_TAIL_BYTES: Final = 64
_EXPECTED: Final = 'Expected {"token": "…", "model": "…", "inputs": {"modelInput": […]}}'


def read_inference(body: bytes | bytearray) -> InferenceBody:
    """Raises InvalidRequest."""
    return (_read_numbers(body) if len(body) >= _PLAIN_BYTES_MIN else None) or _read(body)


def _read_numbers(body: bytes | bytearray) -> InferenceBody | None:
    """A large body in the usual order whose inputs are lists of numbers, without looking at each number.

    Every quote after `"inputs": {` begins a name whose value is a list. So nothing after the inputs is an
    object with names in it, and where the body ends in two braces, these close the inputs and the body.
    Whether it is JSON at all is for the worker to say, as of any other inputs.
    """
    head = _BEFORE_INPUTS.match(body, 0, _HEAD_BYTES_MAX)
    first = _FIRST_INPUT.match(body, head.end(), head.end() + _HEAD_BYTES_MAX) if head else None
    end = _END.search(body, max(0, len(body) - _TAIL_BYTES))
    if head is None or first is None or end is None or not _only_numbers(body, first.end()):
        return None
    token, model = (head[1], head[2]) if head[1] is not None else (head[4], head[3])
    inputs = msgspec.Raw(memoryview(body)[head.end() : end.end(1)])
    try:
        return InferenceBody(model.decode(), inputs, None if token is None else token.decode())
    except UnicodeDecodeError:
        return None


def _only_numbers(body: bytes | bytearray, quote: int) -> bool:
    for _ in range(limits.TENSORS_MAX):
        name = _NUMBERS.match(body, quote, quote + _HEAD_BYTES_MAX)
        if name is None:
            return False
        quote = body.find(b'"', name.end())
        if quote < 0:
            return True
    return False


def _read(body: bytes | bytearray) -> InferenceBody:
    try:
        read = _BODY.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}. {_EXPECTED}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    if read.inputs_from is None and read.inputs is _NO_INPUTS:
        raise InvalidRequest(f"Object missing required field `inputs`. {_EXPECTED}")
    if read.inputs_from is not None and read.inputs is not _NO_INPUTS:
        raise InvalidRequest("There are both inputs and inputs_from: send one of them.")
    return read


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


def authorised(token: TokenRecord | None, model: ModelRecord | None, *, now: float) -> ModelRecord:
    """The model, if this credential may run it; it has an active version. Foreign and missing look the same.

    `now` is Unix time in seconds, by the clock of the hot state. Whose token went with its model hears
    that the model is gone, not that the token is.

    Raises Unauthenticated, NotFound, PermissionDenied, Conflict.
    """
    if token is None:
        raise Unauthenticated(_NOT_VALID)
    if not (token.revoked and _deleted_with(token, model)):
        valid(token, now=now)
    if Scope.INFER not in token.scopes:
        raise PermissionDenied('This key may not run models: it has no scope "infer".')
    if model is None or model.deleted or model.tenant != token.tenant:
        raise NotFound("There is no such model.")
    if token.model_id not in (None, model.model_id):
        raise PermissionDenied("This token is for another model.")
    if model.active is None:
        raise Conflict(
            "No version of this model is ready. Its versions say why: GET /v1/models/{id}/versions"
        )
    return model


def valid(token: TokenRecord, *, now: float) -> None:
    """Raises Unauthenticated where it was revoked or has expired."""
    if token.revoked:
        raise Unauthenticated(_NOT_VALID)
    if token.expires_at is not None and now >= token.expires_at:
        raise Unauthenticated("This token has expired. Ask its owner for a new one.")


def read_sticky_key(text: str | None) -> str | None:
    """X-Sticky-Key: requests with the same one are answered by the same version. Raises InvalidRequest."""
    if not text:
        return None
    if _STICKY_KEY.fullmatch(text) is None:
        raise InvalidRequest(
            f"X-Sticky-Key: at most {limits.STICKY_KEY_LENGTH_MAX} printable ASCII characters expected"
        )
    return text


def _deleted_with(token: TokenRecord, model: ModelRecord | None) -> bool:
    return model is not None and model.deleted and token.model_id == model.model_id


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
