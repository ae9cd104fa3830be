"""What a dispatch says of inputs and answers that go by way of the store, in one signed header.

    inputs_url                       the inputs are there, not in the body
    answer_url                       store the answer that you hold of this request there
    answer_id, answer_url, seconds   accept at once, answer later: in the hot state, or there if it is large

A host only ever fetches or stores what such a header names, and only at its own store's address.
"""

from __future__ import annotations

import hmac
from typing import Final

import msgspec

HEADER: Final = "X-Rocket-Transfer"
INPUTS_FROM: Final = "X-Rocket-Inputs-From"
"""A caller's: the id of the payload that is the body."""
INLINE_MAX: Final = "X-Rocket-Answer-Bytes-Max"
"""On a dispatch: a larger answer cannot pass its caller. The host holds it and says how large it is:"""
HELD: Final = "X-Rocket-Answer-Held"
PREFIX: Final = "payloads/"
"""Of the keys in the store."""
NO_SUCH_PAYLOAD: Final = (
    "There is no such payload. It is not yours, its upload has not ended well, or it is over: begin another "
    "one with POST /v1/payloads."
)
_DOMAIN: Final = b"transfer|"
_ESCAPED: Final = (b'"', b"\\", b"\n")
_NOT_ASCII: Final = bytes(range(128, 256))


class Transfer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one request.

    Attributes:
        answer_id: what the answer is told under.
        seconds: what a host has for it; `version` is the number of the one that is to answer.
        token_id, model_id: whose usage it is, which the host counts; `callers_id` as there.
    """

    request_id: str
    inputs_url: str = ""
    answer_url: str = ""
    answer_id: str = ""
    seconds: float = 0.0
    version: int = 0
    token_id: str = ""
    model_id: str = ""
    callers_id: bool = False

    def sign(self, key: bytes) -> str:
        """The header's value."""
        text = msgspec.json.encode(self).decode()
        return f"{text}|{_mac(key, text.encode())}"


def read_transfer(header: bytes, key: bytes) -> Transfer | None:
    """None when it is not one of ours. The caller compares the request's id with the ticket's."""
    text, _, mac = header.rpartition(b"|")
    if not hmac.compare_digest(_mac(key, text).encode(), mac):
        return None
    return msgspec.json.decode(text, type=Transfer)


def passes(body: bytes, inline_bytes_max: int, *, binary: bool) -> bool:
    """Whether an answer fits where so many raw bytes fit in base64. Text goes as a JSON string instead."""
    if binary or len(body) * 6 <= inline_bytes_max:
        return len(body) <= inline_bytes_max
    escapes = sum(map(body.count, _ESCAPED)) + 2 * (len(body) - len(body.translate(None, _NOT_ASCII)))
    return len(body) + escapes <= inline_bytes_max * 4 // 3


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, _DOMAIN + text, "sha256").hex()
