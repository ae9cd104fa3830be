"""The web UI's files beside the API, from memory: what `make site` has built.

A path is looked up among those of the files that were found, and never made into one of a file: there is
nothing to climb out of. What is no file and no path of the API's is the page's own business, for who wants
HTML: it gets `index.html`, which knows what to show at /models/….

Files are read when the gateway starts, and again where they have changed since.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.siteheaders import HASHED, OVER_HTTPS, SECURITY, cache_control

Headers = list[tuple[str, str]]
BUILT: Final = Path(__file__).resolve().parents[2] / "frontend" / "dist"
"""Where `make site` puts them."""
METHODS: Final = frozenset({"GET", "HEAD"})
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404
_LOOK_SECONDS: Final = 1.0
"""How often it is looked whether files have changed."""
_INDEX: Final = "/index.html"
_ROUTE: Final = re.compile(r"/|(?:/(?!\.)[^/\\\x00-\x1f\x7f]+)+/?")
"""A path that a page may have made: no segment is empty or begins with a dot."""
_NEVER: Final = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*")
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_ANY_TYPE: Final = "application/octet-stream"
_PACKED: Final = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt", ".webmanifest"})
_UNBUILT: Final = b"""<!doctype html>
<html lang="en"><title>ModelRocket</title>
<h1>The API is here, the web UI is not built</h1>
<p>Build it with <code>make site</code>, which needs Node 20.19 or newer, and load this page again.</p>
</html>
"""

Found = Mapping[str, tuple[int, int, int]]
"""Files by their path in the folder: what changes when they do."""


@dataclass(frozen=True, slots=True)
class Served:
    """An answer: to HEAD its body is left out by who sends it."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class _Encoded:
    content: bytes
    headers: tuple[tuple[str, str], ...]
    etag: str


@dataclass(frozen=True, slots=True)
class _File:
    """`packed`: by gzip; None where that makes it no smaller."""

    plain: _Encoded
    packed: _Encoded | None


class Site:
    """Safe to use from many threads.

    `folder`: where the files are, or will be. `api`: the API's paths; what begins as one of them is its own.
    """

    def __init__(self, folder: Path, *, api: Iterable[str], monotonic: Callable[[], float]) -> None:
        self._folder = folder
        self._api = frozenset(map(_beginning, api))
        self._monotonic = monotonic
        self._looking = threading.Lock()
        self._found: Found = {}
        self._files: Mapping[str, _File] = {}
        self._look_again = -1.0
        self._current()

    def answer(self, environ: Mapping[str, Any]) -> Served | None:
        """None where it is for the API to answer. The method is one of `METHODS`."""
        path: str = environ["PATH_INFO"]
        if _beginning(path) in self._api:
            return None
        files = self._current()
        found = files.get(_INDEX if path == "/" else path)
        if found is None and _is_page(path, environ):
            found = files.get(_INDEX)
            if found is None:
                return _unbuilt(environ)
        return None if found is None else _served(found, environ)

    def _current(self) -> Mapping[str, _File]:
        """All files by path, as they were a moment ago. One caller looks for all."""
        if self._monotonic() >= self._look_again and self._looking.acquire(blocking=False):
            try:
                found = dict(_find(self._folder))
                if found != self._found:
                    self._files, self._found = _read_all(self._folder, found), found
                self._look_again = self._monotonic() + _LOOK_SECONDS
            finally:
                self._looking.release()
        return self._files


def _beginning(path: str) -> str:
    """`/v1/models` → v1."""
    return path[1:].partition("/")[0]


def _is_page(path: str, environ: Mapping[str, Any]) -> bool:
    wants_html = "text/html" in environ.get("HTTP_ACCEPT", "")
    return wants_html and not path.startswith(HASHED) and _ROUTE.fullmatch(path) is not None


def _find(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Whole files in it: none that is hidden, and no link, which could lead anywhere."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where, name)
            if name.startswith(".") or path.is_symlink():
                continue
            try:
                status = path.stat()
            except OSError:  # it is being built anew
                continue
            key = "/" + path.relative_to(folder).as_posix()
            yield key, (status.st_mtime_ns, status.st_size, status.st_ino)


def _read_all(folder: Path, found: Found) -> dict[str, _File]:
    files = {}
    for path in found:
        try:
            content = (folder / path[1:]).read_bytes()
        except OSError:  # gone since: the next look will say so
            continue
        files[path] = _file(path, content)
    return files


def _file(path: str, content: bytes) -> _File:
    suffix = os.path.splitext(path)[1]
    packed = gzip.compress(content, 9, mtime=0) if suffix in _PACKED else content
    name = hashlib.sha256(content).hexdigest()[:32]
    told = [
        ("Content-Type", _TYPES.get(suffix, _ANY_TYPE)),
        ("Cache-Control", cache_control(path)),
        ("Vary", "Accept, Accept-Encoding" if path == _INDEX else "Accept-Encoding"),
        *SECURITY.items(),
    ]
    return _File(
        plain=_encoded(content, f'"{name}"', told),
        packed=_encoded(packed, f'"{name}-gzip"', [*told, ("Content-Encoding", "gzip")])
        if len(packed) < len(content)
        else None,
    )


def _encoded(content: bytes, etag: str, told: Headers) -> _Encoded:
    return _Encoded(content, (*told, ("ETag", etag)), etag)


def _served(file: _File, environ: Mapping[str, Any]) -> Served:
    takes_packed = _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
    encoded = file.packed if file.packed is not None and takes_packed else file.plain
    headers = [*encoded.headers, *_transport(environ)]
    if _is_known(encoded.etag, environ.get("HTTP_IF_NONE_MATCH", "")):
        return Served(_NOT_MODIFIED, headers, b"")
    return _whole(_OK, headers, encoded.content)


def _unbuilt(environ: Mapping[str, Any]) -> Served:
    told = [("Content-Type", _TYPES[".html"]), ("Cache-Control", "no-store"), ("Vary", "Accept")]
    return _whole(_NOT_FOUND, [*told, *SECURITY.items(), *_transport(environ)], _UNBUILT)


def _whole(status: int, headers: Headers, body: bytes) -> Served:
    """It says its length itself: HEAD is told it too."""
    return Served(status, [*headers, ("Content-Length", str(len(body)))], body)


def _transport(environ: Mapping[str, Any]) -> Headers:
    return list(OVER_HTTPS.items()) if environ.get("wsgi.url_scheme") == "https" else []


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows it (RFC 9110, 12.5.3)."""
    named = (one.partition(";") for one in accepted.lower().split(","))
    weights = {name.strip(): weight for name, _, weight in named}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and _NEVER.fullmatch(weight) is None


def _is_known(etag: str, header: str) -> bool:
    """Whether an If-None-Match header names it, or everything (RFC 9110, 13.1.2)."""
    named = {one.strip().removeprefix("W/") for one in header.split(",")}
    return etag in named or "*" in named
