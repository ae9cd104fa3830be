"""How many hosts there should be, how many there are, and how long one takes to come.

    mr:capacity         CapacityWish    written by the coordinator; followed by whoever starts hosts on this
                                        machine, and read by gateways
    mr:capacity:status  CapacityStatus  written by whoever starts hosts on this machine; expires
    mr:capacity:boot    Boot            measured by the coordinator
    mr:wake             list of one     the coordinator is to look at once

A wish is absolute: it may be read twice, or late, and asks for nothing more than the first time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import redis

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.hotstate.coordination import FENCE, fenced
from chalicelib.contract.hotstate.fleet import read_heartbeat
from chalicelib.contract.messages import Count, Heartbeat, HostState, decode, encode

_STATUS_SECONDS: Final = 15
"""Who starts hosts and has said nothing for so long is taken to be away."""
_WAKE_WAIT_SECONDS_MAX: Final = 0.5
"""Of one blocking read: the client's own limit must be longer."""
_SAMPLE_SHARE: Final = 0.3
"""Of the newest boot in the moving average."""
_OVERDUE_SECONDS: Final = 2.0
"""What is said of a host that should be there by now."""

_PUBLISH: Final = FENCE + "redis.call('SET', KEYS[1], ARGV[2])"

_WAKE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('RPUSH', KEYS[1], 1)
end
"""


class CapacityWish(msgspec.Struct, frozen=True):
    """How many hosts there should be beside those in `ending`, which may be stopped now; nobody else may."""

    hosts: Count
    ending: tuple[str, ...]
    epoch: Count


class CapacityStatus(msgspec.Struct, frozen=True):
    """Host ids, each in one of them: ready, started and not ready yet, told to end and not gone yet."""

    running: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()


class Boot(msgspec.Struct, frozen=True):
    """What is known of how long a host takes to come.

    Attributes:
        seconds: from the wish to the first heartbeat that says ready, a moving average; 0 for not measured.
        began: since when one is awaited, by the server's clock; 0 when none is.
        ready: how many were ready then.
    """

    seconds: float = 0.0
    began: float = 0.0
    ready: int = 0

    def seen(self, *, now: float, ready: int, wished: int) -> Boot:
        """After a look that found so many hosts ready."""
        came = self.began and ready > self.ready
        seconds = _averaged(self.seconds, now - self.began) if came else self.seconds
        return Boot(seconds, began=self.began or now, ready=ready) if wished > ready else Boot(seconds)


class Outlook(msgspec.Struct, frozen=True):
    """What is to be expected where there is no host: `waited` seconds of a boot have passed."""

    boot_seconds: float
    waited: float

    @property
    def seconds(self) -> float:
        """Until there is one. Whatever the server's clock did: no longer than a boot takes."""
        return max(_OVERDUE_SECONDS, self.boot_seconds - max(0.0, self.waited))


class Capacity(Connected):
    """What the coordinator wishes, and what came of it."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._publish = self._redis.register_script(_PUBLISH)
        self._wake = self._redis.register_script(_WAKE)

    def publish_capacity(self, hosts: int, ending: Sequence[str], *, epoch: int) -> None:
        """Raises StaleEpoch where another coordinator has taken over."""
        wish = CapacityWish(hosts, tuple(sorted(ending)), epoch)
        with fenced():
            self._publish(keys=[keys.CAPACITY], args=[epoch, encode(wish)])
        self.watch_boots()

    def capacity_wish(self) -> CapacityWish | None:
        with translated():
            return decode(self._text(keys.CAPACITY), CapacityWish)

    def forget_capacity_wish(self) -> None:
        """It was for hosts that are no more."""
        with translated():
            self._redis.delete(keys.CAPACITY)

    def put_capacity_status(self, status: CapacityStatus) -> None:
        with translated():
            self._redis.set(keys.CAPACITY_STATUS, encode(status), ex=_STATUS_SECONDS)

    def capacity_status(self) -> CapacityStatus | None:
        """None where nobody says that it starts hosts."""
        with translated():
            return decode(self._text(keys.CAPACITY_STATUS), CapacityStatus)

    def watch_boots(self) -> None:
        """Measure how long hosts take to come: to be called at every look at the fleet."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time().mget(keys.CAPACITY, keys.CAPACITY_BOOT).hvals(keys.HOSTS)
            (seconds, micros), (raw_wish, raw_boot), raw_hosts = pipe.execute()
        wish, boot = decode(raw_wish, CapacityWish), decode(raw_boot, Boot) or Boot()
        if wish is None:
            return
        now = seconds + micros / 1e6
        ready = sum(_is_ready(read_heartbeat(raw), now) for raw in raw_hosts)
        seen = boot.seen(now=now, ready=ready, wished=wish.hosts)
        if seen != boot:
            with translated():
                self._redis.set(keys.CAPACITY_BOOT, encode(seen))

    def outlook(self) -> Outlook | None:
        """None where nobody starts hosts."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time().mget(keys.CAPACITY, keys.CAPACITY_STATUS, keys.CAPACITY_BOOT)
            (seconds, micros), (wish, status, raw_boot) = pipe.execute()
        boot = decode(raw_boot, Boot) or Boot()
        if wish is None and status is None:
            return None
        waited = seconds + micros / 1e6 - boot.began if boot.began else 0.0
        return Outlook(boot.seconds or limits.BOOT_SECONDS_DEFAULT, waited=waited)

    def wake(self) -> None:
        """The coordinator is to look at once."""
        with translated():
            self._wake(keys=[keys.WAKE])

    def wait_for_wake(self, seconds: float) -> bool:
        """Whether somebody woke this coordinator before the time was over. Raises DependencyFailed."""
        rounds = max(1, math.ceil(seconds / _WAKE_WAIT_SECONDS_MAX))
        with translated():
            return any(self._redis.blpop([keys.WAKE], timeout=seconds / rounds) for _ in range(rounds))

    def _text(self, name: str) -> bytes | None:
        """None also for what is no text."""
        (found,) = self._redis.mget(name)
        return found if isinstance(found, bytes) else None


def _is_ready(host: Heartbeat | None, now: float) -> bool:
    return host is not None and host.state is HostState.READY and now - host.at <= limits.HOST_DEAD_SECONDS


def _averaged(average: float, sample: float) -> float:
    """What took absurdly long was waited for, not booted."""
    sample = min(max(0.0, sample), limits.BOOT_SECONDS_MAX)
    return sample if math.isclose(average, 0.0) else average + _SAMPLE_SHARE * (sample - average)
