"""Frames between front and workers, however the stream cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.errors import InferenceFailed, InvalidTensor, ModelRocketError
from host_container.frames import (
    HEAD,
    Asked,
    BrokenFrames,
    Failure,
    Form,
    Frame,
    FrameReader,
    Kind,
    frame,
    run_head,
)

payloads = st.lists(st.binary(max_size=300), max_size=12)
MAX = 1_000


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(position % (len(stream) + 1) for position in cuts)})
    return [stream[start:end] for start, end in pairwise(edges)]


def fed_directly(reader: FrameReader, piece: bytes) -> list[Frame]:
    """As a worker does it: what belongs to a frame in the making is read straight into it."""
    frames: list[Frame] = []
    while piece:
        space = reader.space()
        if space is None:
            return frames + reader.feed(piece)
        count = min(len(space), len(piece))
        space[:count] = piece[:count]
        frames += reader.took(count)
        piece = piece[count:]
    return frames


@given(payloads, st.lists(st.integers(0, 10_000), max_size=30), st.booleans())
def test_every_frame_arrives_whole_and_in_order(sent: list[bytes], cuts: list[int], directly: bool) -> None:
    stream = b"".join(
        frame(Kind.ANSWER, payload, slot=number, identity=2**40 + number, stamp=number / 3)
        for number, payload in enumerate(sent)
    )
    reader = FrameReader(payload_bytes_max=MAX)
    got = []
    for piece in cut(stream, cuts):
        frames = fed_directly(reader, piece) if directly else reader.feed(piece)
        got += [(one.slot, one.identity, one.stamp, bytes(one.payload)) for one in frames]
    assert got == [(number, 2**40 + number, number / 3, payload) for number, payload in enumerate(sent)]


def test_a_run_says_how_its_body_is_to_be_read() -> None:
    asked = Asked(b"{}binary", Form.V2, header_length=2)
    head = run_head(asked, len(asked.body), slot=3, identity=4, deadline=5.5)
    [one] = FrameReader(payload_bytes_max=MAX).feed(head + asked.body)
    assert (one.kind, one.form, one.header_length) == (Kind.RUN, Form.V2, 2)
    assert (one.slot, one.identity, one.stamp, bytes(one.payload)) == (3, 4, 5.5, b"{}binary")


def test_a_frame_that_claims_too_much_ends_the_conversation() -> None:
    head = HEAD.pack(MAX + 1, Kind.ANSWER, 0, 0, 0, 0, 0.0)
    with pytest.raises(BrokenFrames):
        FrameReader(payload_bytes_max=MAX).feed(head)


@given(st.binary(max_size=500))
def test_noise_is_frames_or_refused_and_never_kept_beyond_the_limit(noise: bytes) -> None:
    reader = FrameReader(payload_bytes_max=MAX)
    try:
        for one in reader.feed(noise):
            assert len(one.payload) <= MAX
    except BrokenFrames:
        pass


def test_an_error_crosses_over_as_it_was() -> None:
    error = InvalidTensor("wrong", input="x", expected="float32 [2]", got="float32 [3]")
    again = Failure.of(error).error()
    assert (type(again), again.message, again.details) == (InvalidTensor, "wrong", error.details)


@pytest.mark.parametrize("code", ["unauthenticated", "not_found", "rate_limited", "no such code"])
def test_a_worker_cannot_speak_for_the_platform(code: str) -> None:
    again = Failure(code, "m" * 10_000, {"retry_after": "9", "request_id": "x", "input": "x"}).error()
    assert type(again) is InferenceFailed
    assert len(again.message) <= 2_000
    assert again.details == {"input": "x"}
    assert isinstance(again, ModelRocketError) and again.retry_after is None
