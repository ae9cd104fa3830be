"""Bodies that come compressed, with a limit on what comes out of them."""

from __future__ import annotations

import zlib
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, UnsupportedEncoding
from host_container.http1 import too_large

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_PLAIN: Final = frozenset({b"", b"identity"})
_COMPRESSED: Final = frozenset({b"gzip", b"deflate"})


def decoded(body: bytearray, encoding: bytes) -> bytes | bytearray:
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
