"""What a signed header says, and which answers pass Lambda."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.answers import prefers_later
from chalicelib.contract import limits
from chalicelib.contract.transfers import Transfer, passes, read_transfer

KEY = b"k" * 32
LAMBDA_BYTES_MAX = 6 * 1024 * 1024 - 100_000
"""What Lambda takes of an answer in all, less its headers and the JSON around the body."""
_ALPHABETS = ("0123456789.,-[] ", '"abc\\\n', "äöü", "日本語", "😀", '"')


@given(st.text(), st.text(), st.floats(0, 900))
def test_a_signed_header_says_what_was_signed(request_id: str, url: str, seconds: float) -> None:
    transfer = Transfer(request_id, inputs_url=url, seconds=seconds)
    header = transfer.sign(KEY).encode()
    assert read_transfer(header, KEY) == transfer
    assert read_transfer(header, b"x" * 32) is None
    assert read_transfer(header[:-1], KEY) is None
    assert read_transfer(b"{}" + header, KEY) is None


@pytest.mark.parametrize("alphabet", _ALPHABETS)
@pytest.mark.parametrize("size", [0.2, 0.4, 0.7, 0.9, 1.0, 1.3, 1.4])
def test_what_passes_fits_into_lambdas_answer(alphabet: str, size: float) -> None:
    """Text goes as a JSON string, perhaps with everything but ASCII escaped; bytes in base64."""
    wanted = int(size * limits.RESPONSE_BYTES_LAMBDA_MAX)
    text = "".join(random.Random(0).choices(alphabet, k=1000))
    text *= wanted // len(text.encode())
    body = text.encode()
    if passes(body, limits.RESPONSE_BYTES_LAMBDA_MAX, binary=False):
        assert len(json.dumps(text)) <= LAMBDA_BYTES_MAX
    fits = passes(body, limits.RESPONSE_BYTES_LAMBDA_MAX, binary=True)
    assert fits is (len(body) <= limits.RESPONSE_BYTES_LAMBDA_MAX)
    assert not fits or len(base64.b64encode(body)) <= LAMBDA_BYTES_MAX


def test_numbers_pass_as_text_that_would_not_as_bytes() -> None:
    numbers = b"[0.25,1.5]" * (limits.RESPONSE_BYTES_LAMBDA_MAX // 8)
    assert passes(numbers, limits.RESPONSE_BYTES_LAMBDA_MAX, binary=False)
    assert not passes(numbers, limits.RESPONSE_BYTES_LAMBDA_MAX, binary=True)


@pytest.mark.parametrize(
    ("header", "later"),
    [
        (None, False),
        ("", False),
        ("respond-async", True),
        ("Respond-Async; foo=1", True),
        ("wait=10, respond-async", True),
        ("respond-asynchronously", False),
        ("return=minimal", False),
    ],
)
def test_a_preference_is_read_as_rfc_7240_has_it(header: str | None, later: bool) -> None:
    assert prefers_later(header) is later
