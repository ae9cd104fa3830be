"""The token format, and the tickets hosts check."""

from __future__ import annotations

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.contract.tokens import (
    TOKEN_PATTERN,
    Ticket,
    is_well_formed,
    new_token,
    read_ticket,
    token_hint,
    token_sha256,
)

KEY = b"k" * 32
TICKET = Ticket("req-1", "tenant", "version", "boot", 1_700_000_000_000)


def test_new_tokens_are_well_formed_and_all_different() -> None:
    tokens = {new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(is_well_formed(token) for token in tokens)


@given(st.integers(0, 38), st.sampled_from("0aZ_-é"))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    token = "mr_0123456789ABCDEFGHIJKLMNOPQRST"
    token = next(candidate for candidate in _with_every_checksum(token))
    changed = token[:position] + character + token[position + 1 :]
    assert is_well_formed(changed) == (changed == token)


def _with_every_checksum(head: str) -> list[str]:
    from chalicelib.contract import tokens

    return [head + tokens._checksum(head)]


@pytest.mark.parametrize(
    "text",
    ["", "mr_", "mr_short", "xx_" + "a" * 36, new_token() + "a", new_token()[:-1]],
    ids=["empty", "prefix", "short", "other prefix", "longer", "cut off"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert not is_well_formed(text)


def test_secret_scanners_find_a_token_in_text() -> None:
    token = new_token()
    assert re.findall(TOKEN_PATTERN, f'key = "{token}"  # mr_too_short') == [token]


def test_hash_and_hint_do_not_give_the_token_away() -> None:
    token = new_token()
    assert token_sha256(token) == token_sha256(token)
    assert token not in token_sha256(token)
    assert len(token_hint(token)) < 10


def test_a_ticket_comes_back_as_it_was_signed() -> None:
    assert read_ticket(TICKET.sign(KEY), KEY) == TICKET
    compared = replace(TICKET, trial=7, mirror_version_id="other", drift_tolerance=0.25)
    assert read_ticket(compared.sign(KEY), KEY) == compared


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_ticket_is_refused(position: int, character: str) -> None:
    signed = TICKET.sign(KEY)
    position %= len(signed)
    forged = signed[:position] + character + signed[position + 1 :]
    assert forged == signed or read_ticket(forged, KEY) is None


@pytest.mark.parametrize("header", ["", "|", "a|b|c|d|e|f", "||||" * 50, "a|b|c|d|1|0||0.0|", "a|b|c|d|1|é"])
def test_garbage_is_no_ticket(header: str) -> None:
    assert read_ticket(header, KEY) is None


def test_another_key_is_refused() -> None:
    assert read_ticket(TICKET.sign(KEY), b"other" * 8) is None


@given(st.binary(min_size=1, max_size=100))
def test_a_ticket_is_signed_with_hmac_sha_256(key: bytes) -> None:
    text, _, mac = TICKET.sign(key).rpartition("|")
    assert mac == hmac.digest(key, text.encode(), "sha256").hex()
