"""Whose address a request has behind CloudFront, and who is believed about it."""

from __future__ import annotations

import pytest

from chalicelib import edge

KEY = "K7" * 32
EDGE = "130.176.100.154"
ADA = "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        pytest.param(f"{ADA}, {EDGE}", ADA, id="as both append"),
        pytest.param(f"{ADA},{EDGE}", ADA, id="without spaces"),
        pytest.param(ADA, ADA, id="were API Gateway to append nothing"),
        pytest.param(f"198.51.100.1, {ADA}, {EDGE}", ADA, id="a caller forges one"),
        pytest.param(f"{EDGE}, {EDGE}, 10.0.0.1, {ADA}, {EDGE}", ADA, id="and knows the edge's"),
        pytest.param(f"{', '.join(['198.51.100.1'] * 500)}, {ADA}, {EDGE}", ADA, id="or forges many"),
        pytest.param(f"unknown, <script>, {ADA}, {EDGE}", ADA, id="or what is no address"),
        pytest.param(f"198.51.100.1, 192.0.2.9, {ADA}, {EDGE}", ADA, id="its own proxies say so too"),
        pytest.param(f"2001:db8::7, {EDGE}", "2001:db8::7", id="IPv6"),
        pytest.param(f"::ffff:203.0.113.7, {EDGE}", "::ffff:203.0.113.7", id="IPv4 in IPv6"),
        pytest.param(f"{ADA}:443, {EDGE}", EDGE, id="a port, which CloudFront never writes"),
        pytest.param(f"[2001:db8::7]:443, {EDGE}", EDGE, id="brackets"),
        pytest.param(f"ada.example.org, {EDGE}", EDGE, id="a name"),
        pytest.param(f", {EDGE}", EDGE, id="nothing before it"),
        pytest.param(EDGE, EDGE, id="the edge alone"),
        pytest.param("", EDGE, id="no header"),
        pytest.param(",,,", EDGE, id="commas"),
        pytest.param(f"{ADA}, {EDGE}, ", EDGE, id="nothing after it"),
        pytest.param("\0" * 8000, EDGE, id="garbage"),
        pytest.param("1.2.3.4.5", EDGE, id="no address"),
        pytest.param("0x7f.1", EDGE, id="an address that only some read"),
    ],
)
def test_the_address_is_the_one_that_cloudfront_appended(forwarded: str, address: str) -> None:
    assert edge.address(EDGE, forwarded) == address


def test_an_edge_may_have_an_address_of_ipv6() -> None:
    assert edge.address("2600:9000::1", "2001:db8::7, 2600:9000::1") == "2001:db8::7"


@pytest.mark.parametrize("shown", ["", KEY[:-1], KEY + "K", KEY.lower(), "é" * 32, "\ud800", " " + KEY, "*"])
def test_only_the_key_is_the_key(shown: str) -> None:
    assert edge.is_key(KEY, KEY)
    assert not edge.is_key(shown, KEY)


def test_where_there_is_none_no_key_is_right() -> None:
    assert not edge.is_key("", None)
    assert not edge.is_key("None", None)
