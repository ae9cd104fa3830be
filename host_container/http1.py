"""The little of HTTP/1.1 that a host speaks: requests read with httptools, answers written as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httptools

from chalicelib.contract import limits
from chalicelib.contract.encodings import too_large
from chalicelib.contract.errors import HeadersTooLarge, InvalidRequest, ModelRocketError

JSON: Final = "application/json"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Request:
    """One request, growing while it is read. Header names are lower case.

    Attributes:
        caller: whose it is towards others, set by who finds out.
        room: with whom and how many bytes were reserved for its body.
    """

    path: bytes = b""
    method: bytes = b""
    keep_alive: bool = True
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    caller: str = ""
    room: tuple[str, int] | None = None


class RequestReader:
    """Turns bytes into requests. `feed` raises InvalidRequest (or a kind) when the bytes are no good.

    `request` is the one being read, whose body will have `body_bytes` at most. httptools calls the `on_*`
    methods; what they raise comes out of `feed`.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self.request = Request()
        self.body_bytes = 0
        self._header_bytes = 0
        self._filled = 0
        self._complete: list[Request] = []
        self.in_headers = False
        self.in_body = False
        self.expects_continue = False

    def feed(self, data: bytes) -> list[Request]:
        """The requests that became complete."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise InvalidRequest("Only plain HTTP/1.1 is spoken here.") from error
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, ModelRocketError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise InvalidRequest("This is not HTTP/1.1.") from error
        if self.in_headers:  # a header that never ends is not reported until it does
            self._count(len(data))
        complete, self._complete = self._complete, []
        return complete

    def reserve(self) -> None:
        """The memory for all of the body being read, at once: one that grows is copied again and again.

        One that comes in chunks, and so does not say how long it is, goes on growing.
        """
        if b"transfer-encoding" in self.request.headers:
            return
        whole = bytearray(self.body_bytes)
        whole[: self._filled] = self.request.body
        self.request.body = whole

    def on_message_begin(self) -> None:
        self.request = Request()
        self._header_bytes = self._filled = 0
        self.in_headers = True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self.request.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        self.request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        request = self.request
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive()
        self.in_headers, self.in_body = False, True
        length = request.headers.get(b"content-length", b"")
        self.body_bytes = int(length) if length.isdigit() else 0
        if b"transfer-encoding" in request.headers:
            self.body_bytes = limits.BODY_BYTES_MAX
        if self.body_bytes > limits.BODY_BYTES_MAX:
            raise too_large()
        self.expects_continue = request.headers.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, chunk: bytes) -> None:
        end = self._filled + len(chunk)
        if end > limits.BODY_BYTES_MAX:
            raise too_large()
        self.request.body[self._filled : end] = chunk
        self._filled = end

    def on_message_complete(self) -> None:
        self.in_body = False
        self.expects_continue = False
        self._complete.append(self.request)
        self.request = Request()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > limits.HEADER_BYTES_MAX:
            raise HeadersTooLarge(f"The headers are larger than {limits.HEADER_BYTES_MAX} bytes.")


@dataclass(frozen=True, slots=True)
class Response:
    """What a caller is told. `content_type` is not among the headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    content_type: str = JSON

    def response(self, *, keep_alive: bool) -> bytes:
        return response(
            self.status,
            self.body,
            headers=self.headers,
            keep_alive=keep_alive,
            content_type=self.content_type,
        )


def response(
    status: int, body: bytes, *, headers: Mapping[str, str], keep_alive: bool, content_type: str = JSON
) -> bytes:
    """Head and body."""
    lines = [
        _STATUS_LINES[status],
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n",
        *(f"{name}: {value}\r\n" for name, value in headers.items()),
        "\r\n" if keep_alive else "connection: close\r\n\r\n",
    ]
    return "".join(lines).encode("latin-1", "replace") + body


_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
