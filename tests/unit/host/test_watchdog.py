"""A host whose event loop is stuck says so, though the loop cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Heartbeat, HostState
from host_container.presence import Address, Presence
from host_container.watchdog import Watchdog
from tests.support.waiting import eventually
from tests.unit.test_choice import host

Scene = Callable[[Watchdog, Presence], Awaitable[None]]


def play(hot: HotState, scene: Scene) -> None:
    async def main() -> None:
        presence = Presence(Address("a", "127.0.0.1", 1), new_id=lambda: "boot-a", now=time.monotonic())
        presence.state = HostState.READY
        watchdog = Watchdog(hot, presence, clock=time.monotonic)
        watchdog.start(asyncio.get_running_loop())
        try:
            await scene(watchdog, presence)
        finally:
            watchdog.stop()

    asyncio.run(main())


def told(hot: HotState) -> Heartbeat:
    (heartbeat,) = hot.hosts()[1]
    return heartbeat


def test_f32_a_loop_that_is_stuck_is_told_of_and_makes_the_host_unready(hot: HotState) -> None:
    async def scene(watchdog: Watchdog, presence: Presence) -> None:
        hot.beat(watchdog.beat(host("a")))
        before = presence.ready, presence.status
        time.sleep(limits.LOOP_LAG_SECONDS_MAX + 1)  # what is stuck
        assert (before, (presence.ready, presence.status)) == ((True, "ready"), (False, "lagging"))
        assert told(hot).loop_lag_seconds > limits.LOOP_LAG_SECONDS_MAX
        await eventually(lambda: presence.ready, what="the loop to have come round")
        hot.beat(watchdog.beat(host("a")))
        assert told(hot).loop_lag_seconds < limits.LOOP_LAG_SECONDS_MAX

    play(hot, scene)


def test_a_loop_that_is_only_busy_is_ready(hot: HotState) -> None:
    async def scene(watchdog: Watchdog, presence: Presence) -> None:
        for _ in range(4):
            time.sleep(limits.LOOP_LAG_SECONDS_MAX / 4)
            await asyncio.sleep(0)
        assert presence.ready
        assert hot.hosts()[1] == ()

    play(hot, scene)
