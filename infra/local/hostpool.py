"""How many hosts run here: the coordinator's wish is read, and followed to the letter.

Only hosts that the wish names are ended. One is started, under the lowest free number, where fewer run than
there should be beside those. While Redis is away, or says nothing, all stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import CapacityStatus, CapacityWish, HotState
from infra.local.process import ChildSpec
from infra.local.steps import Change, Member

_POLL_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 5.0
_REDIS_SECONDS_MAX: Final = 0.25
"""The stack's only thread waits for it."""


class HostPool:
    """Follows the wish in Redis for a `Pool`, and tells there what runs.

    `spec`: of the host with this number. `hosts_max`: no more are started, whatever is wished.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        spec: Callable[[int], ChildSpec],
        hosts_max: int,
        clock: Callable[[], float],
    ) -> None:
        client = redis.Redis.from_url(
            redis_url,
            socket_timeout=_REDIS_SECONDS_MAX,
            socket_connect_timeout=_REDIS_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
        self._hot = HotState(client)
        self._spec = spec
        self._hosts_max = hosts_max
        self._clock = clock
        self._epoch = 0
        self._asked_at = -_POLL_SECONDS
        self._told_at = -_TELL_SECONDS
        self._told = CapacityStatus()
        self._began = False

    def follow(self, members: Sequence[Member]) -> Change:
        """What is to change, at most twice a second."""
        now = self._clock()
        if now - self._asked_at < _POLL_SECONDS:
            return Change()
        self._asked_at = now
        try:
            wish = self._asked(status_of(members), now)
        except DependencyFailed:
            return Change()
        if wish is None or wish.epoch < self._epoch:
            return Change()
        self._epoch = wish.epoch
        numbers = numbers_to_start(wish, members, hosts_max=self._hosts_max)
        return Change(end=frozenset(wish.ending), start=tuple(map(self._spec, numbers)))

    def _asked(self, status: CapacityStatus, now: float) -> CapacityWish | None:
        """A wish that was there before is of an earlier run, for hosts that are no more."""
        if not self._began:
            self._hot.forget_capacity_wish()
            self._began = True
        if status != self._told or now - self._told_at >= _TELL_SECONDS:
            self._hot.put_capacity_status(status)
            self._told, self._told_at = status, now
        return self._hot.capacity_wish()


def host_name(number: int) -> str:
    return f"host-{number}"


def status_of(members: Sequence[Member]) -> CapacityStatus:
    def named(*, ready: bool) -> tuple[str, ...]:
        return tuple(sorted(one.name for one in members if one.ready is ready and not one.ending))

    return CapacityStatus(
        running=named(ready=True),
        starting=named(ready=False),
        ending=tuple(sorted(one.name for one in members if one.ending)),
    )


def numbers_to_start(wish: CapacityWish, members: Sequence[Member], *, hosts_max: int) -> tuple[int, ...]:
    """Of the hosts that are missing: never a number whose host is still there, or is to end."""
    ending = frozenset(wish.ending)
    staying = [one for one in members if not one.ending and one.name not in ending]
    missing = min(wish.hosts, hosts_max) - len(staying)
    taken = ending.union(one.name for one in members)
    free = (number for number in count(1) if host_name(number) not in taken)
    return tuple(islice(free, max(0, missing)))
