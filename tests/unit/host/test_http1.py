"""Bytes become requests."""

from __future__ import annotations

import pytest

from host_container.http1 import Request, RequestReader

_HEAD = b"POST /infer HTTP/1.1\r\n"
_BODY = bytes(range(256)) * 40


def test_a_body_that_has_room_is_written_where_it_stays() -> None:
    reader = RequestReader()
    assert not reader.feed(_HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY[:100])
    reader.reserve()
    place = reader.request.body
    assert len(place) == len(_BODY), "all of it, before all has come"
    (request,) = feed_in_pieces(reader, _BODY[100:])
    assert request.body is place
    assert request.body == _BODY


@pytest.mark.parametrize("reserve", [False, True])
def test_a_body_may_come_in_chunks_and_another_request_behind_it(reserve: bool) -> None:
    reader = RequestReader()
    chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (_BODY[:100], _BODY[100:])]
    assert not reader.feed(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks[0])
    if reserve:
        reader.reserve()
    behind = _HEAD + b"Content-Length: 3\r\n\r\nabc"
    first, second = feed_in_pieces(reader, chunks[1] + b"0\r\n\r\n" + behind)
    assert [bytes(first.body), bytes(second.body)] == [_BODY, b"abc"]


def feed_in_pieces(reader: RequestReader, data: bytes, size: int = 1000) -> list[Request]:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return [request for piece in pieces for request in reader.feed(piece)]
