"""Lines between real processes, each through a proxy that a test can cut, lead elsewhere or tear."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from infra.local.ports import LOOPBACK
from tests.support.faultyproxy import FaultyProxy, Line


class Link(FaultyProxy):
    """A line that also loses packets, tears at a chosen reply, and may lead to another server.

    Attributes:
        loss: the share of what passes that comes `delay` seconds later, as TCP does it after a loss.
        tears_at: the reply of the server, counted from now, that is lost with its connection; once.
        replies: how many chunks of them have arrived.
        instead: bytes that arrive as others of the same length.
    """

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        super().__init__(upstream)
        self.loss = 0.0
        self.tears_at: int | None = None
        self.replies = 0
        self.instead: Mapping[bytes, bytes] = {}
        self._random = random.Random(seed)
        self._counting = threading.Lock()

    @property
    def upstream(self) -> int:
        """The port it leads to."""
        return self._upstream

    def lead_to(self, upstream: int) -> None:
        """New connections go there, and the old ones end."""
        self._upstream, self.line = upstream, Line.CUT
        while self.open:
            time.sleep(0.01)
        self.line = Line.PASS

    def _arrives(self, *, reply: bool) -> bool:
        if reply:
            self._tear()
        if self.loss and self._random.random() < self.loss:
            time.sleep(self.delay)
        arrives = super()._arrives(reply=reply)
        self.replies += reply and arrives
        return arrives

    def _tear(self) -> None:
        """Raises OSError, which ends the connection, when it is this reply's turn."""
        with self._counting:
            if self.tears_at is None:
                return
            self.tears_at -= 1
            if self.tears_at > 0:
                return
            self.tears_at = None
        raise ConnectionResetError

    def _changed(self, received: bytes) -> bytes:
        for before, after in self.instead.items():
            received = received.replace(before, after)
        return received


@contextmanager
def linked(upstream: int, *, seed: int = 0) -> Iterator[Link]:
    """Nothing of it is left behind."""
    link = Link(upstream, seed=seed)
    thread = threading.Thread(target=link.serve)
    thread.start()
    try:
        yield link
    finally:
        link.close()
        thread.join()


def through(url: str, link: Link) -> str:
    """The same address by way of the link."""
    parts = urlsplit(url)
    who, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{who}{at}{LOOPBACK}:{link.port}").geturl()


def port_of(url: str) -> int:
    """Skips the test when no link can lead there: it passes on to ports of this machine, and knows no TLS."""
    parts = urlsplit(url)
    if parts.hostname not in (LOOPBACK, "localhost") or parts.scheme in ("https", "rediss"):
        pytest.skip(f"cannot stand before {parts.scheme}://{parts.hostname}")
    assert parts.port is not None
    return parts.port
