"""Bodies that come compressed, with a limit on what comes out of them."""

from __future__ import annotations

import zlib
from typing import Final, TypeVar

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, PayloadTooLarge, UnsupportedEncoding

Body = TypeVar("Body", bytes, bytearray)
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_PLAIN: Final = frozenset({"", "identity"})
_COMPRESSED: Final = frozenset({"gzip", "deflate"})


def too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"A request body has at most {limits.BODY_BYTES_MAX} bytes.")


def decoded(body: Body, encoding: str) -> bytes | Body:
    """The body as it was before its Content-Encoding.

    Raises UnsupportedEncoding, PayloadTooLarge, InvalidRequest.
    """
    encoding = encoding.lower()
    if encoding in _PLAIN:
        return body
    if encoding not in _COMPRESSED:
        raise UnsupportedEncoding("Send the body as it is, or with Content-Encoding: gzip or deflate.")
    inflating = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflating.decompress(body, limits.BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise InvalidRequest("The body is not what its Content-Encoding says.") from error
    if len(plain) > limits.BODY_BYTES_MAX:
        raise too_large()
    if not inflating.eof or inflating.unused_data:
        raise InvalidRequest("The compressed body is cut short, or something follows it.")
    return plain
