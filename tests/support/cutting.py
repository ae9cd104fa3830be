"""A TCP proxy that cuts every connection once, in the middle of what is sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.faultyproxy import FaultyProxy, serving


class CuttingProxy(FaultyProxy):
    """`sent` bytes have gone to the port it passes on to; `cuts` connections were cut.

    When `cut_after` bytes have gone, all connections end at once. Later ones are left alone.
    """

    def __init__(self, upstream: int, *, cut_after: int) -> None:
        super().__init__(upstream)
        self._cut_after = cut_after
        self._lock = threading.Lock()
        self._spared: set[socket.socket] = set()
        self.sent = 0
        self.cuts = 0

    def _pass_on(self, caller: socket.socket) -> None:
        if self._over:
            self._spared.add(caller)
        super()._pass_on(caller)

    @property
    def _over(self) -> bool:
        return self.sent >= self._cut_after

    def _is_cut(self, caller: socket.socket) -> bool:
        cut = self._over and caller not in self._spared
        with self._lock:
            self.cuts += cut
        return cut

    def _passed(self, size: int, *, reply: bool) -> None:
        if not reply:
            with self._lock:
                self.sent += size


@contextmanager
def cutting_proxy(upstream: int, *, cut_after: int) -> Iterator[CuttingProxy]:
    """Nothing of it is left behind."""
    with serving(CuttingProxy(upstream, cut_after=cut_after)) as proxy:
        yield proxy
