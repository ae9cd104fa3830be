"""Connections for asyncio: a pool for each event loop, closed when the loop shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from weakref import WeakKeyDictionary

import httpx


class Pools:
    """Made anew for each event loop, since connections belong to the one that opened them."""

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._open: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None]]
        ] = WeakKeyDictionary()

    async def pool(self) -> httpx.AsyncClient:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            http = self._make()
            self._open[loop] = http, self._until_shutdown(loop, http)
            await anext(self._open[loop][1])
        return self._open[loop][0]

    async def _until_shutdown(
        self, loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient
    ) -> AsyncGenerator[None]:
        """A loop ends the generators begun on it before it closes, as `asyncio.run` has it do."""
        try:
            yield
        finally:
            del self._open[loop]
            await http.aclose()
