"""Inputs and answers that are too large for a request: by way of the store, under keys nobody can guess.

    begin    a grant to store inputs           → an id that an inference names instead of them
    source   what a host is told of such an id → a URL at the store, for some minutes
    place    where a host stores an answer that its caller's connection does not take

An id says when it is over, and its key begins with its tenant: foreign, late and missing look the same.
A host fetches or stores only what is named in a header that is signed with the dispatch key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from chalicelib.contract import limits, transfers
from chalicelib.contract.errors import NotFound, PayloadTooLarge
from chalicelib.contract.metadata import HEADER_LENGTH
from chalicelib.contract.transfers import HEADER, Transfer
from chalicelib.ports import HostReply, PayloadStore, UploadPart

RESULT_FROM: Final = "X-Rocket-Result-From"
"""On an answer whose body says where the answer is: how many bytes that has."""
DAYS: Final = 1
"""After which the store deletes what is over, where it does so by itself."""
_ID: Final = re.compile(r"[0-9a-f]{40}")
_EXPIRY_DIGITS: Final = 8
_RANDOM_BYTES: Final = 16
_PLACE_SECONDS: Final = int(2 * limits.ANSWER_SECONDS_MAX)


class BeginPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Announces inputs that are too large for a request. `model`: the id of the model that is to run them."""

    model: str
    bytes: Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class BegunPayload:
    """What an inference names the inputs by, and how they are stored; the grant ends after some seconds."""

    id: str
    upload: UploadPart
    expires_in: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What ids and signatures are made from."""

    key: bytes
    unix: Callable[[], float]
    random: Callable[[int], bytes]


class Payloads:
    """The use cases of payloads. Whose they are has been found out before."""

    def __init__(self, store: PayloadStore, origin: Origin) -> None:
        self._store = store
        self._origin = origin

    def begin(self, tenant: str, size: int) -> BegunPayload:
        """Raises PayloadTooLarge."""
        if size > limits.PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge(
                f"The inputs have {size} bytes, {limits.PAYLOAD_BYTES_MAX} are allowed. "
                "Send fewer rows at once."
            )
        payload_id = self.new_id()
        seconds = limits.PAYLOAD_URL_SECONDS
        upload = self._store.presign_put(_key(tenant, payload_id), size=size, seconds=seconds)
        return BegunPayload(payload_id, upload, seconds)

    def keep(self, tenant: str, inputs: bytes) -> str:
        """Inputs that came with a request which is answered later; their id."""
        payload_id = self.new_id()
        self._store.put(_key(tenant, payload_id), inputs)
        return payload_id

    def check(self, tenant: str, payload_id: str) -> None:
        """Raises NotFound where there is no such payload."""
        if self._store.stored(self._found(tenant, payload_id)) is None:
            raise no_such_payload()

    def source(self, tenant: str, payload_id: str) -> str:
        """A URL; who fetches it finds out whether anything is there. Raises NotFound for what is no id."""
        key = self._found(tenant, payload_id)
        return self._store.presign_get_inside(key, seconds=limits.PAYLOAD_URL_SECONDS)

    def place(self, tenant: str, answer_id: str) -> str:
        """A URL for the answer with this id; for the same id the same place."""
        return self._store.presign_put_any(_answer_key(tenant, answer_id), seconds=_PLACE_SECONDS)

    def answer(self, tenant: str, answer_id: str) -> bytes | None:
        """What a host has stored there."""
        return self._store.get(_answer_key(tenant, answer_id))

    def signed(self, transfer: Transfer) -> dict[str, str]:
        """The header for a host."""
        return {HEADER: transfer.sign(self._origin.key)}

    def result_from(self, tenant: str, answer_id: str, reply: HostReply, *, size: int) -> HostReply:
        """An answer that says where the host's is: `{"result_from": {…}}`."""
        seconds = limits.PAYLOAD_URL_SECONDS
        told: dict[str, Any] = {
            "url": self._store.presign_get(_answer_key(tenant, answer_id), seconds=seconds),
            "expires_in": seconds,
            "bytes": size,
            "content_type": reply.headers.get("content-type", "application/json"),
        }
        headers = dict(reply.headers)
        json_bytes = headers.pop(HEADER_LENGTH.lower(), None)
        if json_bytes is not None:
            told["json_bytes"] = int(json_bytes)
        headers |= {"content-type": "application/json", RESULT_FROM.lower(): str(size)}
        return HostReply(reply.status, json.dumps({"result_from": told}).encode(), headers)

    def sweep(self) -> int:
        """Delete what is over, where the store does not do so by itself; how many went."""
        over = datetime.fromtimestamp(self._origin.unix() - limits.PAYLOAD_SECONDS, UTC)
        return self._store.delete_older(transfers.PREFIX, than=over, limit=limits.PAYLOADS_SWEPT_MAX)

    def let_expire(self) -> bool:
        """Ask the store to delete what is over. False where it cannot."""
        return self._store.expire(transfers.PREFIX, days=DAYS)

    def new_id(self) -> str:
        """128 bits at random."""
        expires = int(self._origin.unix()) + limits.PAYLOAD_SECONDS
        return f"{expires:0{_EXPIRY_DIGITS}x}{self._origin.random(_RANDOM_BYTES).hex()}"

    def _found(self, tenant: str, payload_id: str) -> str:
        """Its key. Raises NotFound."""
        if not is_id(payload_id) or int(payload_id[:_EXPIRY_DIGITS], 16) < self._origin.unix():
            raise no_such_payload()
        return _key(tenant, payload_id)


def is_id(text: str) -> bool:
    """It has the form of one."""
    return _ID.fullmatch(text) is not None


def no_such_payload() -> NotFound:
    """The same for what never came, is over, or is somebody else's."""
    return NotFound(transfers.NO_SUCH_PAYLOAD)


def _key(tenant: str, payload_id: str) -> str:
    return f"{transfers.PREFIX}{tenant}/{payload_id}"


def _answer_key(tenant: str, answer_id: str) -> str:
    return f"{transfers.PREFIX}{tenant}/{answer_id}.answer"
