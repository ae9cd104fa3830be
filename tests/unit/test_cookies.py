"""The session's cookie, and which pages may use it."""

from __future__ import annotations

import pytest

from chalicelib import cookies
from chalicelib.contract.errors import PermissionDenied

SITE = "https://rocket.example"
LOCAL = "http://127.0.0.1:5000"
OWN = {"origin": SITE, "sec-fetch-site": "same-origin", "x-rocket-request": "1"}


def test_over_https_only_this_host_can_set_it_and_scripts_cannot_read_it() -> None:
    kept = cookies.keep_session("s3cret", SITE)
    assert kept.startswith("__Host-modelrocket=s3cret; ")
    assert {"Path=/", "HttpOnly", "Secure", "SameSite=Strict"} <= set(kept.split("; "))
    assert "Domain" not in kept


def test_on_ones_own_machine_it_works_without_https() -> None:
    kept = cookies.keep_session("s3cret", LOCAL)
    assert kept.startswith("modelrocket=s3cret; ")
    assert "Secure" not in kept
    assert {"HttpOnly", "SameSite=Strict"} <= set(kept.split("; "))


def test_logging_out_makes_the_browser_forget_it() -> None:
    assert cookies.drop_session(SITE).startswith("__Host-modelrocket=; Path=/; Max-Age=0; ")


@pytest.mark.parametrize(
    ("header", "url", "secret"),
    [
        pytest.param("__Host-modelrocket=abc", SITE, "abc", id="alone"),
        pytest.param("a=1; __Host-modelrocket=abc; b=2", SITE, "abc", id="among others"),
        pytest.param("modelrocket=abc", LOCAL, "abc", id="locally"),
        pytest.param("modelrocket=abc", SITE, None, id="without the prefix, over https"),
        pytest.param("__Host-modelrocket=a; __Host-modelrocket=b", SITE, None, id="one of two was planted"),
        pytest.param("", SITE, None, id="none"),
        pytest.param(";;=;__Host-modelrocket", SITE, "", id="rubbish"),
        pytest.param("a=1; \xa0__Host-modelrocket=a", SITE, None, id="not the prefix, to a browser"),
        pytest.param("a=1;\t__Host-modelrocket=abc \t; b", SITE, "abc", id="blanks"),
    ],
)
def test_the_secret_is_read_from_its_own_cookie(header: str, url: str, secret: str | None) -> None:
    assert cookies.session_secret({"cookie": header}, url) == secret


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="both headers"),
        pytest.param({"sec-fetch-site": ""}, id="an older browser"),
        pytest.param({"origin": ""}, id="without an origin"),
    ],
)
def test_our_own_page_may_change_things(changed: dict[str, str]) -> None:
    cookies.check_own_page(OWN | changed, SITE)


@pytest.mark.parametrize("url", [f"{SITE}/api", f"{SITE}:443", "https://ROCKET.example"])
def test_our_own_page_is_known_by_its_host_however_the_address_is_written(url: str) -> None:
    cookies.check_own_page(OWN, url)
    with pytest.raises(PermissionDenied):
        cookies.check_own_page(OWN | {"origin": "https://rocket.example:444"}, url)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"x-rocket-request": ""}, id="a form"),
        pytest.param({"origin": "https://evil.example"}, id="another site"),
        pytest.param({"origin": "https://rocket.example.evil.example"}, id="another site that looks like it"),
        pytest.param({"origin": "http://rocket.example"}, id="without https"),
        pytest.param({"origin": "https://rocket.example:444"}, id="another port"),
        pytest.param({"origin": "null"}, id="a sandboxed frame"),
        pytest.param({"origin": "https://[::1"}, id="no address"),
        pytest.param({"sec-fetch-site": "same-site"}, id="a sibling"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="cross-site"),
        pytest.param({"origin": "", "sec-fetch-site": ""}, id="it does not say"),
    ],
)
def test_no_other_page_may(changed: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied):
        cookies.check_own_page(OWN | changed, SITE)


def test_ones_own_machine_has_more_than_one_name_but_one_port() -> None:
    cookies.check_not_foreign({"origin": "http://localhost:5000"}, LOCAL)
    for origin in ("http://localhost:5001", "https://localhost:5000", "http://rebound.example:5000"):
        with pytest.raises(PermissionDenied):
            cookies.check_not_foreign({"origin": origin}, LOCAL)
    with pytest.raises(PermissionDenied):
        cookies.check_not_foreign({"origin": "http://localhost"}, "https://rocket.example")


def test_who_is_no_browser_needs_no_origin_to_log_in() -> None:
    cookies.check_not_foreign({}, SITE)
