"""A large `POST /inference` body is read without a look at its numbers, and means what a parser says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.errors import InvalidRequest
from chalicelib.contract.inference import read_inference

_LARGE = " " * 20_000
_MODEL = "1d60896a-8d60-4d60-8d60-1d60896a8d60"
_PIECES = (
    *("{", "}", "[", "]", ",", ":", " ", "1", "-2.5e3", "null", "{}", "[]", "\\", '"'),
    *('"token"', '"model"', '"inputs"', '"a"', '"b"', '"ü"', '"x\\"y"'),
    *('"token": "t"', '"model": "m"', '"inputs": {', '"a": [', '"b": [1, [2]]', "]}}", "]}", "}}"),
)
_WHOLE = (
    '{"token": "t", "model": "m", "inputs": {"a": [1, 2], "b": [[3]]}}',
    '{"model": "m", "token": "t", "inputs": {"a": [1]}}\n',
    '{"model": "m", "inputs": {"a": [1], "b": [{}]}}',
)


def _oracle(text: str) -> tuple[str, str | None, object] | None:
    """What a parser of the whole body finds; None where it is no request."""
    try:
        value = json.loads(text, object_pairs_hook=dict)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("model"), str) or "inputs" not in value:
        return None
    token = value.get("token")
    return (value["model"], token, value["inputs"]) if token is None or isinstance(token, str) else None


def _read(text: str) -> tuple[str, str | None, object] | None:
    try:
        body = read_inference(bytearray(text.encode()))
        return body.model, body.token, json.loads(bytes(body.inputs))
    except (InvalidRequest, ValueError):  # the second is the worker's to say
        return None


@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_any_pieces_mean_what_a_parser_says(pieces: list[str]) -> None:
    text = '{"token": "t", "model": "m", "inputs": {"a": [' + _LARGE + "".join(pieces)
    assert _read(text) == _oracle(text)


@given(st.sampled_from(_WHOLE), st.data())
def test_a_body_with_something_put_in_or_left_out_means_what_a_parser_says(
    whole: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 12)))
    text = whole[:start] + data.draw(st.sampled_from(("", *_PIECES))) + whole[end:]
    text = text.replace("[", "[" + _LARGE, 1)
    assert _read(text) == _oracle(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": {"a": [LARGE1]}, "token": "t", "model": "M"}',
        '{"token": "t", "model": "M", "inputs": {"a": [LARGE1]}, "token": "other"}',
        '{"token": "t", "model": "M", "inputs": {"a": [LARGE1]}, "inputs": {"b": [2]}}',
        '{"token": "t", "model": "M", "inputs": {"a": ["LARGE"]}}',
        '{"token": "\\u0074", "model": "M", "inputs": {"a": [LARGE1]}}',
        '{"token": null, "model": "M", "inputs": {"a": [LARGE1]}}',
    ],
)
def test_other_orders_are_read_as_well(text: str) -> None:
    text = text.replace("M", _MODEL).replace("LARGE", _LARGE)
    assert _read(text) == _oracle(text) is not None


@pytest.mark.parametrize("token", [b"\xff", b"\xc3"])
def test_a_token_that_is_no_text_is_refused(token: bytes) -> None:
    head = b'{"token": "' + token + b'", "model": "m", "inputs": {"a": ['
    with pytest.raises(InvalidRequest):
        read_inference(head + _LARGE.encode() + b"1]}}")
