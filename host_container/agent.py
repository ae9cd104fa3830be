"""Speaks for this host to the control plane, through the hot state: heartbeats, replicas, assignments,
what was seen of versions on trial, what was used at its own door and of its memory, and what was deleted.

Nothing waits for it: while the hot state is away the host serves what it has, and
everything is told again when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HeartbeatReply, HotState
from chalicelib.contract.messages import Heartbeat, HostState
from host_container.departures import Departures
from host_container.events import EventLog
from host_container.load import Loads
from host_container.notices import Notices
from host_container.presence import Presence
from host_container.replicas import Replicas
from host_container.tally import Tally
from host_container.usage import Meter
from host_container.watchdog import Watchdog

_JITTER: Final = 0.2


@dataclass(slots=True, kw_only=True)
class Agent:
    """Owned by the event loop.

    Attributes:
        in_flight: how many requests are being answered now.
        slots: how many this host runs well at once.
        random: for jitter, so that hosts do not beat in step.
    """

    hot: HotState
    presence: Presence
    replicas: Replicas
    notices: Notices
    tally: Tally
    meter: Meter
    departures: Departures
    watchdog: Watchdog
    loads: Loads
    slots: float
    in_flight: Callable[[], int]
    events: EventLog
    random: Random
    clock: Callable[[], float]
    _connected: bool = field(default=False, init=False)
    _counted_at: float | None = field(default=None, init=False)
    _prefetching: asyncio.Task[None] | None = field(default=None, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def serve(self) -> None:
        """Beat until stopped; the first beat that arrives makes the host ready."""
        telling = asyncio.create_task(self._tell_changes())
        try:
            while not self._stopping.is_set():
                if await self.beat() and self.presence.state is HostState.LAUNCHING:
                    self.presence.state = HostState.READY
                    continue
                await self._pause()
        finally:
            telling.cancel()
            if self._prefetching is not None:
                self._prefetching.cancel()

    def stop(self) -> None:
        """Let `serve` return once no beat is under way, so that none comes after the last one."""
        self._stopping.set()

    async def beat(self) -> bool:
        """Say how we are and hear what we are to hold. False when nobody listened."""
        self.presence.alive(self.clock())
        self._count_memory()
        try:
            load = self.loads.since_heard(self.clock())
            reply = await asyncio.to_thread(self.hot.beat, self._heartbeat(), load, number=self.loads.number)
            self.loads.heard()
            if reply.assignments is None and self.replicas.wanted:
                await self._remind()
            if not reply.known:
                self.notices.forgotten()
                self.departures.forgotten()
            self.replicas.check_stored()
            await self.notices.tell()
        except DependencyFailed as error:
            self._note_connected(False, error.message)
            return False
        self._note_connected(True, "")
        self._converge(reply)
        with contextlib.suppress(DependencyFailed):  # the next beat does it
            await self._tell_counts()
            await self._tell_usage()
            await self.departures.follow()
        return True

    async def leave(self) -> None:
        """Be gone, as far as the hot state can be told."""
        self.notices.drop_all()
        with contextlib.suppress(DependencyFailed):  # then it notices by our silence
            await self.notices.tell()
            await asyncio.to_thread(self.hot.forget_host, self.presence.address.host_id)
            await self._tell_counts()
            await self._tell_usage()

    async def _remind(self) -> None:
        """Before anybody takes this host for an empty one. Raises DependencyFailed."""
        host_id, wanted = self.presence.address.host_id, self.replicas.wanted
        await asyncio.to_thread(self.hot.remind_of_assignments, host_id, wanted)

    async def _pause(self) -> None:
        seconds = limits.HEARTBEAT_SECONDS * self.random.uniform(1 - _JITTER, 1 + _JITTER)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _tell_changes(self) -> None:
        while True:
            await self.notices.changed.wait()
            with contextlib.suppress(DependencyFailed):  # the next beat tells
                await self.notices.tell()

    async def _tell_counts(self) -> None:
        """What is told is forgotten; what may not have been is kept. Raises DependencyFailed."""
        while (taken := self.tally.take()) is not None:
            trial, sums = taken
            try:
                await asyncio.to_thread(self.hot.count_rollout, trial.model_id, trial.number, sums)
            except DependencyFailed:
                self.tally.give_back(trial, sums)
                raise

    async def _tell_usage(self) -> None:
        """As often as it takes, each batch counted once. Raises DependencyFailed."""
        while (batch := self.meter.batch()) is not None:
            await asyncio.to_thread(
                self.hot.tell_usage,
                self.meter.source,
                batch.number,
                sums=batch.sums,
                outcomes=batch.outcomes,
            )
            self.meter.told(batch)

    def _count_memory(self) -> None:
        """Now and then: what is loaded now stands for the time since the last time."""
        now = self.clock()
        if self._counted_at is None:
            self._counted_at = now
        elif now - self._counted_at >= limits.MEMORY_COUNTED_SECONDS:
            self.meter.hold(self.replicas.held(), seconds=now - self._counted_at)
            self._counted_at = now

    def _converge(self, reply: HeartbeatReply) -> None:
        """Prefetch in the background, one round at a time."""
        if self.presence.state is not HostState.READY or reply.assignments is None:
            return
        self.replicas.assigned(reply.assignments)
        if self._prefetching is None or self._prefetching.done():
            self._prefetching = asyncio.create_task(self._prefetch())

    async def _prefetch(self) -> None:
        with contextlib.suppress(DependencyFailed):  # the next beat tries again
            await self.replicas.prefetch()

    def _heartbeat(self) -> Heartbeat:
        heartbeat = Heartbeat(
            host_id=self.presence.address.host_id,
            boot_id=self.presence.boot_id,
            address=self.presence.address.ip,
            port=self.presence.address.port,
            state=self.presence.state,
            memory_bytes_max=self.replicas.bytes_max,
            memory_bytes_used=self.replicas.bytes_used,
            in_flight=self.in_flight(),
            versions_ready=self.replicas.ready,
            slots=self.slots,
        )
        return self.watchdog.beat(heartbeat)

    def _note_connected(self, connected: bool, message: str) -> None:
        """Log changes only: an outage is one line, not one every two seconds."""
        if connected != self._connected:
            self.events.write("hot_state", connected=connected, message=message)
        self._connected = connected
