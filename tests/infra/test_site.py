"""The web UI's files beside the API: from a folder, through granian, around a toy app."""

from __future__ import annotations

import gzip
import http.client
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.ports import free_port
from infra.local.process import ChildSpec, running
from infra.local.site import Served, Site
from infra.local.stack import answers_healthz
from infra.siteheaders import OVER_HTTPS, SECURITY
from tests.infra.test_gateway import Answer, call
from tests.support.stack import REPOSITORY

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
INDEX = b'<!doctype html><script type="module" src="/assets/main-4f2a.js"></script>' + b" " * 600
SCRIPT = b"console.log('a page');" * 200
SECRET = b"a secret beside the site"


def built(parent: Path) -> Path:
    """A site's folder with things around it that are nobody's business."""
    folder = parent / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / ".vite").mkdir()
    (parent / "secret.txt").write_bytes(SECRET)
    (folder / ".vite" / "manifest.json").write_bytes(SECRET)
    (folder / ".env").write_bytes(SECRET)
    (folder / "assets" / "link.txt").symlink_to(parent / "secret.txt")
    (folder / "linked").symlink_to(parent)
    (folder / "index.html").write_bytes(INDEX)
    (folder / "favicon.svg").write_bytes(b"<svg/>")
    (folder / "assets" / "main-4f2a.js").write_bytes(SCRIPT)
    (folder / "assets" / "dot-9c1d.png").write_bytes(os.urandom(900))
    return folder


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    parent = tmp_path_factory.mktemp("site")
    port = free_port(random.Random())
    arguments = (str(port), "tests.infra.toy_app:app", str(built(parent)))
    spec = ChildSpec(
        name="gateway",
        command=(sys.executable, "-m", "infra.local.gateway", *arguments),
        environment={"PATH": "/usr/bin:/bin"},
        log_file=parent / "gateway.log",
        working_directory=REPOSITORY,
        ready=lambda: answers_healthz(port),
    )
    with running([spec]):
        yield port


@pytest.mark.parametrize(
    ("path", "kind", "cached"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/favicon.svg", "image/svg+xml", "public, max-age=3600"),
        ("/assets/main-4f2a.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/dot-9c1d.png", "image/png", "public, max-age=31536000, immutable"),
    ],
)
def test_files_are_served_as_what_they_are(port: int, path: str, kind: str, cached: str) -> None:
    answer = call(port, "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["cache-control"] == cached
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/models/0a1b", "/keys", "/models/0a1b/", "/playground/a.b", "/m/%C3%A9?x=1"]
)
def test_paths_that_a_page_makes_get_the_page(port: int, path: str) -> None:
    answer = call(port, "GET", path, headers=HTML)
    assert (answer.status, answer.body) == (200, INDEX)
    assert "Accept" in answer.headers["vary"].split(", ")
    assert call(port, "GET", path).status == 404  # a program that lost its way hears so
    assert call(port, "GET", path).json["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/./secret.txt",
        "/linked/secret.txt",
        "/assets/link.txt",
        "/.env",
        "/%2eenv",
        "/.vite/manifest.json",
        "/assets/main-4f2a.js%00.txt",
        "/assets/gone-0000.js",
        "/etc/passwd",
    ],
)
def test_nothing_but_the_sites_own_files_is_served(port: int, path: str) -> None:
    for headers in ({}, HTML):
        answer = raw(port, path, headers)
        assert SECRET not in answer.body
        assert answer.status == 404 or answer.body == INDEX
    if "/." in path or path.startswith(("/assets/", "/%2e", "//")):
        assert raw(port, path, HTML).status == 404


def raw(port: int, path: str, headers: dict[str, str]) -> Answer:
    """The path as it is: nobody tidies it up on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return Answer(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, deflate, br, zstd", True),
        ("*", True),
        ("br;q=1.0, gzip;q=0.2", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("identity, *;q=0", False),
        ("gzip;q=nonsense", True),
    ],
)
def test_gzip_is_for_who_takes_it(port: int, accepted: str, packed: bool) -> None:
    answer = call(port, "GET", "/assets/main-4f2a.js", headers={"Accept-Encoding": accepted})
    body = gzip.decompress(answer.body) if packed else answer.body
    assert body == SCRIPT
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_what_gzip_makes_no_smaller_is_left_alone(port: int) -> None:
    answer = call(port, "GET", "/assets/dot-9c1d.png", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_what_is_known_is_not_sent_again(port: int) -> None:
    path, packing = "/assets/main-4f2a.js", {"Accept-Encoding": "gzip"}
    plain, packed = call(port, "GET", path), call(port, "GET", path, headers=packing)
    etags = plain.headers["etag"], packed.headers["etag"]
    assert len(set(etags)) == 2
    for known in (etags[1], f'"other", W/{etags[1]}', "*"):
        again = call(port, "GET", path, headers={**packing, "If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert (again.headers["etag"], again.headers["vary"]) == (etags[1], "Accept-Encoding")
        assert again.headers["cache-control"] == packed.headers["cache-control"]
    for other in (etags[0], '"other"', etags[1].strip('"')):
        assert call(port, "GET", path, headers={**packing, "If-None-Match": other}).body == packed.body


def test_head_answers_as_get_without_the_body(port: int) -> None:
    got, head = call(port, "GET", "/favicon.svg"), call(port, "HEAD", "/favicon.svg")
    assert (head.status, head.body) == (200, b"")
    varying = {"date", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in got.headers.items() if name not in varying
    }


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/assets/main-4f2a.js", "/models/0a1b"])
def test_every_answer_of_the_site_is_guarded(port: int, path: str) -> None:
    answer = call(port, "GET", path, headers=HTML)
    assert {name: answer.headers.get(name.lower()) for name in SECURITY} == dict(SECURITY)
    assert "strict-transport-security" not in answer.headers
    again = call(port, "GET", path, headers={**HTML, "If-None-Match": "*"})
    assert {name: again.headers.get(name.lower()) for name in SECURITY} == dict(SECURITY)
    assert "'unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/seen", 200),
        ("GET", "/seen/more", 404),
        ("GET", "/healthz/", 200),
        ("POST", "/", 404),
        ("POST", "/models/0a1b", 404),
        ("DELETE", "/favicon.svg", 404),
        ("OPTIONS", "/favicon.svg", 404),
    ],
)
def test_the_api_answers_as_without_a_site(port: int, method: str, path: str, status: int) -> None:
    answer = call(port, method, path, headers=HTML)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.headers).isdisjoint(name.lower() for name in SECURITY)


# Without a server.


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def asked(site: Site, path: str = "/", **environ: Any) -> Served:
    served = site.answer({"PATH_INFO": path, "HTTP_ACCEPT": "text/html", **environ})
    assert served is not None
    return served


def test_without_a_build_a_page_says_how_to_make_one(tmp_path: Path) -> None:
    site = Site(tmp_path / "dist", api=["/healthz"], monotonic=Clock())
    for path in ("/", "/models/0a1b"):
        said = asked(site, path)
        assert said.status == 404
        assert b"make site" in said.body
        assert set(SECURITY.items()) <= set(said.headers)
        assert ("Cache-Control", "no-store") in said.headers
    assert site.answer({"PATH_INFO": "/", "HTTP_ACCEPT": "*/*"}) is None


def test_a_build_is_noticed_and_so_is_its_end(tmp_path: Path) -> None:
    clock = Clock()
    site = Site(tmp_path / "dist", api=[], monotonic=clock)
    assert asked(site).status == 404
    folder = built(tmp_path)
    clock.seconds += 2
    assert asked(site).body == INDEX
    (folder / "index.html").write_bytes(b"<!doctype html>another")
    clock.seconds += 2
    assert asked(site).body == b"<!doctype html>another"
    (folder / "index.html").unlink()
    clock.seconds += 2
    assert asked(site).status == 404


def test_only_over_https_is_it_asked_for(tmp_path: Path) -> None:
    site = Site(built(tmp_path), api=[], monotonic=Clock())
    over_https = asked(site, **{"wsgi.url_scheme": "https"})
    assert set(OVER_HTTPS.items()) <= set(over_https.headers)
    assert set(OVER_HTTPS.items()).isdisjoint(asked(site, **{"wsgi.url_scheme": "http"}).headers)
