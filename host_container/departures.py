"""Deleted versions leave this host: no new requests at once, then memory, then disk.

Also what was deleted while the host was away, with the files that an earlier process left.
"""

from __future__ import annotations

import asyncio
from typing import Final

from chalicelib.contract.hotstate import HotState
from host_container.artifacts import Artifacts
from host_container.replicas import Replicas

_OVERLAP_SECONDS: Final = 60.0
"""What was dropped while it was asked may be told late."""


class Departures:
    """Owned by the event loop."""

    def __init__(self, hot: HotState, replicas: Replicas, artifacts: Artifacts) -> None:
        self._hot = hot
        self._replicas = replicas
        self._artifacts = artifacts
        self._since = 0.0
        self._leaving: frozenset[str] = frozenset()

    def forgotten(self) -> None:
        """The hot state was flushed, its clock may be another one: everything has to be asked again."""
        self._since = 0.0

    async def follow(self) -> None:
        """Ask what was deleted, and let go of it as far as nobody uses it. Raises DependencyFailed."""
        dropped = await asyncio.to_thread(self._hot.dropped_since, self._since)
        self._since = max(0.0, dropped.now - _OVERLAP_SECONDS)
        self._leaving |= self._replicas.drop(dropped.version_ids)
        if self._leaving:
            used = self._replicas.leaving
            self._leaving = used | await asyncio.to_thread(self._artifacts.drop, self._leaving)
