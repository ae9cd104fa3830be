"""What an e-mail address and a password may be."""

from __future__ import annotations

import pytest

from chalicelib.contract.errors import InvalidRequest
from chalicelib.passwords import check_password, normalised, read_email


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada.Lovelace+x@Example.ORG ", "ada.lovelace+x@example.org"),
        ("o'neil@a-b.example", "o'neil@a-b.example"),
        ("me@localhost", "me@localhost"),
    ],
)
def test_an_address_is_read_in_one_form(given: str, read: str) -> None:
    assert read_email(given) == read


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@@example.org",
        "ada@example..org",
        "ada@-example.org",
        "ada @example.org",
        "ada@example.org\nBcc: all@example.org",
        "ada@exämple.org",
        "a" * 65 + "@example.org",
        "ada@" + "a." * 130 + "org",
        "\x00@example.org",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^email: "):
        read_email(given)


@pytest.mark.parametrize(
    ("password", "says"),
    [
        pytest.param("Ab3$xy7&q", "at least 10", id="nine characters"),
        pytest.param("x1" * 129, "at most 256", id="too long"),
        pytest.param("Password123", "first that anybody", id="common, in other case"),
        pytest.param("qwertyuiop", "first that anybody", id="a row of the keyboard"),
        pytest.param("aaaabbbbcccc", "first that anybody", id="few characters"),
        pytest.param("bcdefghijklm", "first that anybody", id="a row of letters"),
        pytest.param("876543210/.-", "first that anybody", id="a row downwards"),
        pytest.param("xx-Lovelace-1815", "e-mail address", id="the address in it"),
        pytest.param("ＰＡＳＳＷＯＲＤ１２３", "first that anybody", id="common, in wide letters"),  # noqa: RUF001
    ],
)
def test_a_weak_password_is_refused_and_not_repeated(password: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as raised:
        check_password(password, email="lovelace@example.org")
    assert password not in raised.value.message


@pytest.mark.parametrize(
    "password",
    ["tide-oak-88", "  spaces count  ", "ключ-под-ковриком", "0123456789ab", "joggers run"],
)
def test_a_password_needs_no_kinds_of_characters(password: str) -> None:
    check_password(password, email="jo@example.org")


def test_a_password_is_the_same_however_a_keyboard_composes_it() -> None:
    assert normalised("e\u0301tude pour piano") == normalised("\u00e9tude pour piano")
