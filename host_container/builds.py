"""Has prepared forms made: of a version when it is prepared, and of versions that were loaded slowly.

The preparing host waits for the form and measures it. Another host serves its first load from the
uploaded file and makes its own form in the background; the next load finds it. Owned by the event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from contextlib import ExitStack
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError, NoCapacity
from chalicelib.contract.messages import VersionRecord
from host_container.artifacts import Artifact, Artifacts
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, run_build
from host_container.prepared import LOAD_SECONDS_MIN, Built

_WAITING_MAX: Final = 256
"""Beyond it a version is not queued: its next load asks again."""
_REFUSED_MAX: Final = 4096
_NICE: Final = 19
"""Of what is built in the background."""
_GROWTH_MAX: Final = 2
"""Folding constants may make a form larger than its model; a form this much larger is not worth it."""


class Builds:
    """What is to be made. `close` ends what goes on."""

    def __init__(
        self,
        artifacts: Artifacts,
        bounds: ExaminationLimits,
        *,
        events: EventLog,
        load_seconds_min: float = LOAD_SECONDS_MIN,
    ) -> None:
        self._artifacts = artifacts
        self._bounds = bounds
        self._events = events
        self._load_seconds_min = load_seconds_min
        self._waiting: OrderedDict[str, VersionRecord] = OrderedDict()
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._working: asyncio.Task[None] | None = None

    def loaded_plainly(self, record: VersionRecord, *, load_seconds: float) -> None:
        """A version was loaded from the uploaded file: make its form, if that pays."""
        version_id = record.version_id
        if load_seconds < self._load_seconds_min or version_id in self._refused:
            return
        if len(self._waiting) < _WAITING_MAX:
            self._waiting.setdefault(version_id, record)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="build prepared forms")

    async def build(self, artifact: Artifact, *, load_seconds: float, nice: int = 0) -> Built:
        """Make its form and keep it on this host's disk, if that pays; what came of it.

        `load_seconds`: how long the uploaded file took to load.
        """
        if load_seconds < self._load_seconds_min:
            return Built(reason=self._needless(load_seconds))
        try:
            built = await self._built(artifact, nice=nice)
        except NoCapacity as error:  # of the disk, now
            built = Built(reason=error.message)
        except (ModelRocketError, OSError, ValueError) as error:
            built = Built(reason=str(error))
            self._refuse(artifact)
        else:
            if built.reason is not None:
                self._refuse(artifact)
        fields = {"load_ms": built.load_ms, "prepack_gain": built.prepack_gain}
        self._events.write("form_built", version=artifact.version_id, reason=built.reason, **fields)
        return built

    def _needless(self, load_seconds: float) -> str:
        if self._load_seconds_min == math.inf:
            return "forms are made for CPUs, and this host runs models on a GPU"
        return f"it loads in {load_seconds * 1000:.1f} ms, and there is nothing to gain"

    async def close(self) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            version_id = next(iter(self._waiting))
            await self.build(self._waiting[version_id], load_seconds=math.inf, nice=_NICE)
            del self._waiting[version_id]

    async def _built(self, artifact: Artifact, *, nice: int) -> Built:
        bytes_max = _GROWTH_MAX * artifact.bytes_in_all + limits.MIB
        with ExitStack() as held:
            path = await asyncio.to_thread(held.enter_context, self._artifacts.held(artifact))
            folder = held.enter_context(self._artifacts.workspace())
            built = await run_build(path, folder, self._bounds, bytes_max=bytes_max, nice=nice)
            if built.reason is None:
                await asyncio.to_thread(self._artifacts.keep_prepared, artifact, folder, built)
        return built

    def _refuse(self, artifact: Artifact) -> None:
        """Not to be tried again by this process."""
        self._refused[artifact.version_id] = None
        if len(self._refused) > _REFUSED_MAX:
            self._refused.popitem(last=False)
