"""The format of API keys and model tokens, their hash at rest, and dispatch tickets.

A token is `mr_`, 30 random base62 characters (178 bits) and the CRC-32 of what
comes before in 6 base62 characters, as GitHub's are: a typo is refused before
any lookup, and secret scanners can recognise one by `TOKEN_PATTERN`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from functools import lru_cache
from typing import Final

import msgspec

PREFIX: Final = "mr_"
TOKEN_PATTERN: Final = r"\bmr_[0-9A-Za-z]{36}\b"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_RANDOM_LENGTH: Final = 30
_ENTROPY_BYTES: Final = 32
_CHECKSUM_LENGTH: Final = 6
_SHAPE: Final = re.compile(r"mr_[0-9A-Za-z]{36}")
_MOST_OF_ONE: Final = re.compile(r"mr_[0-9A-Za-z]{16,}")
HINT_LENGTH: Final = 8


def new_token() -> str:
    """A fresh token; the caller shows it once and keeps only `token_sha256` of it."""
    return token_of(secrets.token_bytes(_ENTROPY_BYTES))


def token_of(entropy: bytes) -> str:
    """The token that 32 bytes make, which nobody else may know: the same ones always make the same."""
    if len(entropy) != _ENTROPY_BYTES:
        raise ValueError(f"a token is made of {_ENTROPY_BYTES} bytes, not of {len(entropy)}")
    head = PREFIX + _base62(int.from_bytes(entropy), _RANDOM_LENGTH)
    return head + _checksum(head)


def is_well_formed(token: str) -> bool:
    """Whether prefix, length, alphabet and checksum fit. Says nothing about validity."""
    if _SHAPE.fullmatch(token) is None:
        return False
    head, checksum = token[:-_CHECKSUM_LENGTH], token[-_CHECKSUM_LENGTH:]
    return hmac.compare_digest(_checksum(head), checksum)


def token_sha256(token: str) -> str:
    """Lower-case hex SHA-256: all that is stored. A fast hash is right for 178 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_hint(token: str) -> str:
    """Enough of a token for its owner to recognise it in a list."""
    return token[:HINT_LENGTH] + "…"


def without_tokens(text: str) -> str:
    """For what is kept of what callers say: no token, nor most of one."""
    return _MOST_OF_ONE.sub("mr_…", text)


def _checksum(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    """Its last digits, so many of them: an even number."""
    pairs = []
    for _ in range(length // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))


class Ticket(msgspec.Struct, frozen=True):
    """What one dispatch to a host is good for.

    Attributes:
        request_id: of the caller's request.
        tenant: who is served.
        version_id: which version may run.
        boot_id: of the host process meant; another process refuses.
        deadline_ms: Unix time in ms after which nobody waits for the answer.
        trial: the trial that this run is counted under; 0 while the model has no candidate.
        mirror_version_id: the version that runs the same inputs, only to be compared; empty for none.
        drift_tolerance: see `Guard`; for the comparison.
    """

    request_id: str
    tenant: str
    version_id: str
    boot_id: str
    deadline_ms: int
    trial: int = 0
    mirror_version_id: str = ""
    drift_tolerance: float = 0.0

    def sign(self, key: bytes) -> str:
        """The header value: the fields and their HMAC-SHA-256."""
        text = (
            f"{self.request_id}|{self.tenant}|{self.version_id}|{self.boot_id}|{self.deadline_ms}"
            f"|{self.trial}|{self.mirror_version_id}|{self.drift_tolerance}"
        )
        return text + "|" + _mac(key, text)


_FIELDS: Final = len(Ticket.__struct_fields__)


def read_ticket(header: str, key: bytes) -> Ticket | None:
    """The ticket, or None when it is not one of ours. The caller checks boot id and deadline."""
    text, _, mac = header.rpartition("|")
    values = text.split("|")
    if len(values) != _FIELDS or not hmac.compare_digest(_mac(key, text).encode(), mac.encode()):
        return None
    request_id, tenant, version_id, boot_id, deadline_ms, trial, mirror_version_id, tolerance = values
    return Ticket(
        request_id,
        tenant,
        version_id,
        boot_id,
        int(deadline_ms),
        int(trial),
        mirror_version_id,
        float(tolerance),
    )


def _mac(key: bytes, text: str) -> str:
    begun = _keyed(key).copy()
    begun.update(text.encode())
    return begun.hexdigest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """To be copied: the key and the algorithm are prepared once, not for each of a process's tickets."""
    return hmac.new(key, digestmod="sha256")
